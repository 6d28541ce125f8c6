"""Peers that go as far as one stage of the handshake and no further."""

import selectors
import ssl
import time

from .broker import Broker, aside, connect_packet, dial, login, ms, p99, retreat
from .echo import Echo

STALLED = 2000
STAGES = ["TCP only", "half a PROXY header", "half a ClientHello", "after TLS", "half an upgrade", "half a CONNECT"]
# How many of those that were sent away come again each second.
RETURNING = 500


def measure(binary, seconds):
    print(
        f"\n| {STALLED} peers stalled at | good login p50, p99 | QoS 1 round trip p50, p99, quiet | then | KiB a peer | admitted dropped |"
        "\n|---|---|---|---|---|---|"
    )
    for stage in STAGES:
        with Broker(binary, "limits: { connections: { global: { rate: 100000/s, burst: 100000 } } }\n") as broker:
            login(broker.ports["tcp"], "admin", broker.password)
            echo = Echo(broker.ports["open"])
            time.sleep(0.5)
            echo.take()
            time.sleep(seconds / 2)
            quiet, before = echo.take(), broker.resident()
            crowd = aside(hold, broker.ports, stage)
            assert crowd.stdout.readline() == "all there\n"
            full = broker.resident()
            echo.take()
            logins, until = [], time.monotonic() + seconds
            while time.monotonic() < until:
                elapsed, code = login(broker.ports["tcp"], "admin", broker.password)
                logins.append(elapsed if code == 0 else 15)
                full = max(full, broker.resident())
                time.sleep(0.05)
            then = echo.take()
            crowd.kill()
            crowd.wait()
            echo.stop()
            kib = (full - before) / STALLED / 1024
            print(f"| {stage} | {both(logins)} | {both(quiet)} | {both(then)} | {kib:.1f} | {'yes' if echo.dropped else 'no'} |", flush=True)


def both(values):
    return f"{ms(p50(values))}, {ms(p99(values))}"


def p50(values):
    return sorted(values)[len(values) // 2]


def hold(ports, stage):
    """Holds the crowd until it is killed; whom the broker sends away comes again."""
    retreat()
    crowd = Crowd(ports, stage)
    crowd.fill(STALLED)
    print("all there", flush=True)
    while True:
        time.sleep(0.02)
        crowd.fill(RETURNING // 50)


class Crowd:
    def __init__(self, ports, stage):
        self.stage, self.ports, self.peers, self.count = stage, ports, selectors.DefaultSelector(), 0
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def fill(self, fresh):
        for key, _ in self.peers.select(0):
            self.peers.unregister(key.fileobj)
            key.fileobj.close()
        while len(self.peers.get_map()) < STALLED and fresh > 0:
            fresh -= 1
            self.count += 1
            try:
                peer = self.stall(f"127.1.{self.count // 200 % 50}.{self.count % 200 + 1}")
            except OSError:
                continue
            self.peers.register(peer, selectors.EVENT_READ)

    def stall(self, source):
        if self.stage == "TCP only":
            return dial(self.ports["tcp"], source)
        if self.stage == "half a PROXY header":
            # Only a trusted proxy may send one: three of them.
            peer = dial(self.ports["proxied"], f"127.1.0.{self.count % 3 + 1}")
            peer.sendall(b"PROXY TCP4 192.0.2.")
            return peer
        if self.stage == "half a ClientHello":
            peer = dial(self.ports["tls"], source)
            peer.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
            return peer
        if self.stage == "after TLS":
            peer = self.context.wrap_socket(dial(self.ports["tls"], source))
            peer.setblocking(False)
            # Session tickets come unasked.
            try:
                peer.recv(4096)
            except ssl.SSLWantReadError:
                pass
            return peer
        if self.stage == "half an upgrade":
            peer = dial(self.ports["ws"], source)
            peer.sendall(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgr")
            return peer
        peer = dial(self.ports["tcp"], source)
        peer.sendall(connect_packet("stalled", "admin", "x" * 40)[:30])
        return peer
