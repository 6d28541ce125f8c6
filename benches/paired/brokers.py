"""How each broker is configured and started."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

RUMQTTD_VERSION = "0.20.0"

MOSQUITTO = """\
user root
persistence false
log_type none
allow_anonymous true
listener {tcp} 127.0.0.1
listener {tls} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
listener {mtls} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
listener {crl} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
crlfile {folder}/ca.crl
"""

# As a user has it: access control, limits and audit are on. Only the rates are above what a storm of one address may do by default.
WARDGATE = """\
node: bench
data_dir: {data}
listeners:
  tcp:
    bind: 127.0.0.1:{tcp}
    transport: tcp
    authenticate: [anonymous]
    max_connections: 50000
  tls:
    bind: 127.0.0.1:{tls}
    transport: tcp
    tls: {{ certificate: {folder}/server.pem, private_key: {folder}/server.key }}
    authenticate: [anonymous]
    max_connections: 50000
  mtls:
    bind: 127.0.0.1:{mtls}
    transport: tcp
    tls: {{ certificate: {folder}/server.pem, private_key: {folder}/server.key, client_auth: required, client_ca: [{folder}/ca.pem] }}
    authenticate: [certificate]
    max_connections: 50000
  crl:
    bind: 127.0.0.1:{crl}
    transport: tcp
    tls: {{ certificate: {folder}/server.pem, private_key: {folder}/server.key, client_auth: required, client_ca: [{folder}/ca.pem], crl: [{folder}/ca.crl] }}
    authenticate: [certificate]
    max_connections: 50000
policies: [{data}/policies]
mqtt: {{ max_subscriptions_per_client: 20000 }}
store: {{ kind: memory }}
admin: {{ bind: "127.0.0.1:{admin}", tls: {{ certificate: {folder}/server.pem, private_key: {folder}/server.key }} }}
audit: {{ path: {data}/audit, max_size: 256MiB }}
limits:
  connections:
    global: {{ rate: 100000/s, burst: 100000, max: 100000 }}
    per_ip: {{ rate: 100000/s, burst: 100000, max: 50000 }}
    per_user: {{ max: 50000 }}
    handshakes: {{ concurrent: 1024, timeout: 10s }}
  messages:
    per_client: {{ rate: 10000000/s, burst: 20000000, when_exceeded: pause }}
    per_user: {{ rate: 100000000/s, burst: 200000000 }}
  bytes:
    per_client: {{ rate: 10GiB/s, burst: 20GiB }}
  state: {{ sessions_per_user: 50000 }}
"""

POLICIES = """\
version: 1
policies:
  - id: bench
    who: { auth: [anonymous, certificate] }
    allow:
      - publish: "bench/#"
      - subscribe: "bench/#"
  - id: never-secret
    who: { any: true }
    deny:
      - publish: "secret/#"
      - subscribe: "secret/#"
  - id: own-name
    who: { auth: certificate, cert.organizational_unit: sensors }
    allow:
      - publish: "telemetry/${cert.common_name}/#"
        qos: [0, 1]
        retain: false
      - subscribe: "commands/${client_id}/+"
"""

RUMQTTD = """\
id = 0
[router]
id = 0
max_connections = 20000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v4.1]
name = "tcp"
listen = "127.0.0.1:{tcp}"
next_connection_delay_ms = 1
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
[v4.2]
name = "tls"
listen = "127.0.0.1:{tls}"
next_connection_delay_ms = 1
    [v4.2.tls]
    certpath = "{folder}/server.pem"
    keypath = "{folder}/server.key"
    [v4.2.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
"""


# No broker: what TLS alone costs.
BARE = """\
{folder}
{tls}
{mtls}
"""


@dataclass
class Running:
    pid: int
    ports: dict

    def url(self, transport):
        scheme = "mqtt://127.0.0.1" if transport == "tcp" else "mqtts://localhost"
        return f"{scheme}:{self.ports[transport]}"


@dataclass
class Broker:
    name: str
    configuration: str
    command: list
    transports: tuple = ("tcp", "tls", "mtls", "crl")
    files: dict = field(default_factory=dict)
    # rumqttd tells the format by the ending.
    ending: str = "conf"
    # What else it can be measured by, where it is no broker.
    figures: str = ""

    @contextlib.contextmanager
    def start(self, folder):
        ports = {name: free_port() for name in ("tcp", "tls", "mtls", "crl", "admin")}
        data = folder / self.name
        shutil.rmtree(data, ignore_errors=True)
        for path, text in self.files.items():
            (data / path).parent.mkdir(parents=True, exist_ok=True)
            (data / path).write_text(text)
        data.mkdir(exist_ok=True)
        configuration = data / f"broker.{self.ending}"
        configuration.write_text(self.configuration.format(folder=folder, data=data, **ports))
        log = open(data / "log", "w")
        process = subprocess.Popen([*self.command, str(configuration)], stdout=log, stderr=log)
        try:
            wait_for(process, ports[self.transports[0]], data / "log")
            yield Running(process.pid, ports)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def bare(root):
    manifest = root / "benches" / "bare" / "Cargo.toml"
    target = root / "target" / "bare"
    subprocess.run(["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest), "--target-dir", str(target)], check=True)
    return Broker("bare", BARE, [str(target / "release" / "bare")], transports=("tls", "mtls"), figures="broker_ms_per_connection")


def known(wardgate, root, install_rumqttd):
    brokers = [Broker("wardgate", WARDGATE, [wardgate, "serve", "--config"], files={"policies/bench.yaml": POLICIES})]
    mosquitto = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if mosquitto:
        brokers.append(Broker("mosquitto", MOSQUITTO, [mosquitto, "-c"]))
    else:
        print("no mosquitto: it is in Debian's package mosquitto", file=sys.stderr)
    cache = root / "benches" / ".cache"
    rumqttd = cache / "bin" / "rumqttd"
    if install_rumqttd and not rumqttd.exists():
        install = ["cargo", "install", "rumqttd", "--version", RUMQTTD_VERSION, "--locked", "--root", str(cache)]
        subprocess.run(install, check=True)
    if rumqttd.exists():
        # Its mutual TLS names a tenant; the rows of connections do not ask it for that.
        brokers.append(Broker("rumqttd", RUMQTTD, [str(rumqttd), "-c"], transports=("tcp", "tls"), ending="toml"))
    return brokers


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(process, port, log):
    for _ in range(200):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            time.sleep(0.3)
            return
        time.sleep(0.05)
    raise SystemExit(f"the broker does not serve:\n{Path(log).read_text()[-2000:]}")
