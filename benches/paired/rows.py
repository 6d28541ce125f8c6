"""What is measured, and the mark of each row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    name: str
    arguments: str
    mark: float
    best_peer: str
    transport: str = "tcp"
    figure: str = "broker_us_per_message"

    def command(self, seconds):
        command = self.arguments.split()
        if command[0] in ("throughput", "latency"):
            command += ["--duration", f"{seconds}s"]
        return command


PAIRS = "throughput --shape pairs --publishers 10 --window 100"
STORM = "connect --connections 5000 --concurrency 16"
MS = "broker_ms_per_connection"

ROWS = [
    Row("pairs QoS 0", f"{PAIRS} --qos 0", 0.40, "1.03 FlashMQ"),
    Row("pairs QoS 1", f"{PAIRS} --qos 1", 0.55, "1.42 FlashMQ"),
    Row("pairs QoS 2", f"{PAIRS} --qos 2", 1.0, "2.49 FlashMQ"),
    Row("pairs QoS 1, 1 KiB", f"{PAIRS} --qos 1 --payload 1024", 0.95, "1.75 FlashMQ"),
    Row("pairs QoS 1, TLS", f"{PAIRS} --qos 1", 0.75, "1.53 FlashMQ", "tls"),
    Row("fan-out 1 to 100, QoS 0", "throughput --shape fan-out --publishers 1 --subscribers 100 --window 50", 0.30, "0.64 rumqttd"),
    Row("fan-out 1 to 100, QoS 1", "throughput --shape fan-out --publishers 1 --subscribers 100 --window 50 --qos 1", 0.45, "0.92 rumqttd"),
    Row("fan-in 100 to 1, QoS 1", "throughput --shape fan-in --publishers 100 --subscribers 1 --window 9 --qos 1", 0.7, "2.33 FlashMQ"),
    Row("shared group of 4, QoS 1", "throughput --shape shared --publishers 10 --subscribers 4 --window 100 --qos 1", 0.8, "2.85 FlashMQ"),
    Row("400 pairs, window 1, QoS 1", "throughput --publishers 400 --window 1 --qos 1", 20, "25.5 FlashMQ"),
    Row("400 pairs, window 1, TLS", "throughput --publishers 400 --window 1 --qos 1", 30, "41.5 Mosquitto", "tls"),
    Row("100,000 wildcard filters", "throughput --shape wildcard --filters 100000 --window 100 --qos 0", 1.5, "4.67 FlashMQ"),
    Row("100,000 filters, 100 topics", "throughput --shape wildcard --filters 100000 --topics 100 --window 100 --qos 0", 0, "(for comparison)"),
    Row("100 wildcard filters", "throughput --shape wildcard --filters 100 --window 100 --qos 0", 0, "(for comparison)"),
    Row("connect TCP", STORM, 0.08, "0.051 Mosquitto", figure=MS),
    Row("connect TLS", STORM, 0.26, "0.385 rmqtt", "tls", MS),
    Row("connect mutual TLS", STORM, 0.43, "0.551 rmqtt", "mtls", MS),
    Row("connect mutual TLS, 10,000 revoked", STORM, 0.43, "", "crl", MS),
    Row("connect TLS, 500 at once", "connect --connections 10000 --concurrency 500", 0, "(none may fail)", "tls", MS),
    Row("connect TLS resumed", f"{STORM} --resume", 0.28, "0.382 rmqtt", "tls", MS),
    Row("idle TCP", "idle --connections 9000", 2500, "734 Mosquitto", figure="bytes_per_connection"),
    Row("idle TLS", "idle --connections 5000", 12000, "15,207 Mosquitto", "tls", "bytes_per_connection"),
    Row("latency TLS QoS 1 p50", "latency --qos 1 --rate 5000", 130, "132 Mosquitto", "tls", "p50_us"),
    Row("latency TLS QoS 1 p99", "latency --qos 1 --rate 5000", 700, "500 rmqtt", "tls", "p99_us"),
]
