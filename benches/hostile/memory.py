"""What the scripts of the abuse list do to the broker's memory: while they run, and after they have gone."""

import socket
import ssl
import threading
import time

from .broker import Broker, connect_packet, dial, packet, receive, text
from .stalled import STAGES, Crowd
from .storms import Plain

MIB = 1024 * 1024
# What one connection may hold besides what the configuration names: buffers of the socket's task, TLS, tables of its own.
PEER = 64 * 1024


class Script:
    def __init__(self, row, what, run, caps, more=""):
        self.row, self.what, self.run, self.caps, self.more = row, what, run, caps, more


def measure(binary, seconds):
    print(
        "\n| row | script | before | at most, twice | base + caps + 20 % | afterwards, twice | within |\n|---|---|---|---|---|---|---|"
    )
    for script in SCRIPTS:
        with Broker(binary, f"{OPEN}{script.more}") as broker:
            work(broker, 1)
            base = broker.resident()
            allowed = (base + script.caps) * 1.2
            most, after = [], []
            # Twice: what the allocator keeps for the next time is used then, what leaks is lost twice.
            for _ in range(2):
                watch = Watch(broker)
                script.run(broker, seconds)
                watch.stop()
                work(broker, 2)
                most.append(watch.most)
                after.append(broker.resident())
            verdict = "yes" if max(most) <= allowed else "**no**"
            each = lambda values: ", ".join(f"{value / MIB:.0f}" for value in values)
            print(
                f"| {script.row} | {script.what} | {base / MIB:.0f} | {each(most)} | {allowed / MIB:.0f} | {each(after)} | {verdict} |",
                flush=True,
            )


class Watch(threading.Thread):
    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker, self.most, self.going = broker, broker.resident(), True
        self.start()

    def run(self):
        while self.going:
            self.most = max(self.most, self.broker.resident())
            time.sleep(0.02)

    def stop(self):
        self.going = False
        self.join()


def work(broker, seconds):
    """A few clients come and go: the allocator gives back what is free while somebody works, not while all is quiet."""
    until, context = time.monotonic() + seconds, ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while time.monotonic() < until:
        with context.wrap_socket(dial(broker.ports["tls"])) as peer:
            peer.sendall(b"\xc0\x00")
            receive(peer, 1)
        for number in range(5):
            peer = entered(broker, f"worker{number}", "work")
            peer.setblocking(True)
            peer.sendall(packet(0x32, text("work") + b"\x00\x02" + b"x" * 500))
            receive(peer, 8)
            peer.close()
        time.sleep(0.05)


def announced(broker, seconds):
    """A length of 256 MiB and one byte of it; a CONNECT that drips."""
    peers = []
    for number in range(1000):
        for start in (b"\x10\xff\xff\xff\x7f\x00", b"\x10\x80"):
            peer = dial(broker.ports["tcp"], f"127.5.{number % 200}.1")
            peer.send(start)
            peers.append(peer)
    time.sleep(seconds)
    leave(peers)


def stalled(broker, seconds):
    crowd = Crowd(broker.ports, STAGES[3])
    until = time.monotonic() + seconds
    crowd.fill(2000)
    while time.monotonic() < until:
        crowd.fill(50)
        time.sleep(0.1)
    leave([key.fileobj for key in crowd.peers.get_map().values()])


def fragments(broker, seconds):
    """A head without an end, a message of one-byte fragments, and pings, from 100 peers each."""
    head = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    floods = [b"X-%d: 0123456789\r\n" % 1 * 1000, b"\x00\x81\0\0\0\0x" * 2000, b"\x89\x80\0\0\0\0" * 2000]
    peers = []
    for number in range(300):
        peer = dial(broker.ports["ws"], f"127.5.{number % 200}.1")
        peer.sendall(head if number % 3 == 0 else head + b"\r\n")
        if number % 3:
            receive(peer, 30)
        peer.setblocking(False)
        if number % 3 == 1:
            peer.send(b"\x02\x81\0\0\0\0\x10")
        peers.append((peer, floods[number % 3]))
    flood(peers, seconds)


def unread(broker, seconds):
    """200 clients publish, ping and subscribe to themselves, and read nothing."""
    noise = packet(0x32, text("noise") + b"\x00\x02" + b"x" * 100) + b"\xc0\x00"
    flood([(entered(broker, f"deaf{number}", "noise"), noise * 200) for number in range(200)], seconds)


def unreleased(broker, seconds):
    """Every packet identifier of QoS 2 and never a PUBREL, from 100 clients."""
    every = b"".join(packet(0x34, text("q") + identifier.to_bytes(2, "big") + b"x" * 1000) for identifier in range(1, 65536, 64))
    flood([(entered(broker, f"half{number}"), every) for number in range(100)], seconds)


def properties(broker, seconds):
    """Packets of a hundred thousand tiny properties, from 100 clients."""
    body = text("t") + b"\x00\x01" + b"\x80\x80\x06" + b"\x26\0\0\0\0" * 20000
    flood([(entered(broker, f"many{number}", version=5), packet(0x32, body)) for number in range(100)], seconds)


def farmed(broker, _):
    """One user makes sessions that last, queues for them, and retained messages."""
    farmer = entered(broker, "farmer")
    farmer.setblocking(True)
    for number in range(2000):
        peer = dial(broker.ports["open"])
        peer.sendall(connect_packet(f"farm{number}", clean=False) + packet(0x82, b"\x00\x01" + text("crop") + b"\x01"))
        receive(peer, 4)
        peer.close()
    for number in range(20000):
        farmer.sendall(packet(0x31, text(f"field/{number}") + b"x" * 1000))
        if number % 10 == 0:
            farmer.sendall(packet(0x32, text("crop") + b"\x00\x01" + b"x" * 1000))
            receive(farmer, 4)
    for number in range(20000):
        farmer.sendall(packet(0x31, text(f"field/{number}")))
    farmer.sendall(b"\xc0\x00")
    receive(farmer, 2)
    farmer.close()
    # They expire.
    time.sleep(8)


def scan(broker, seconds):
    """Addresses, names and identifiers that were never seen before, through a proxy."""
    count, until = 0, time.monotonic() + 4 * seconds
    while time.monotonic() < until:
        peers = []
        for _ in range(200):
            count += 1
            peer = Plain(broker.ports["proxied"], b"").begin("127.1.0.1")
            address = f"{count >> 16 & 255 | 16}.{count >> 8 & 255}.{count & 255}.9"
            peer.setblocking(True)
            peer.settimeout(5)
            try:
                peer.sendall(f"PROXY TCP4 {address} 192.0.2.1 1 1\r\n".encode() + connect_packet(f"c{count}", f"u{count}"))
            except OSError:
                pass
            peers.append(peer)
        for peer in peers:
            receive(peer, 4)
        leave(peers)


def guesses(broker, seconds):
    """Wrong passwords as fast as the queue takes them."""
    wrong, until, peers = connect_packet("x", "admin", "wrong"), time.monotonic() + seconds, []
    while time.monotonic() < until:
        for number in range(50):
            peer = dial(broker.ports["tcp"], f"127.3.0.{number + 1}")
            peer.sendall(wrong)
            peers.append(peer)
        leave(peers[:-2000])
        peers = peers[-2000:]
        time.sleep(0.02)
    leave(peers)


def refusals(broker, seconds):
    """Connections from addresses that are refused: each is audited, and summed up."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        leave([Plain(broker.ports["tcp"], b"").begin(f"127.2.{number % 250}.1") for number in range(200)])


def bodies(broker, seconds):
    """Requests to the admin API whose bodies do not end."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    peers = []
    for _ in range(30):
        try:
            peer = context.wrap_socket(dial(broker.ports["admin"]))
            peer.sendall(head)
            peer.setblocking(False)
            peers.append((peer, b"4000\r\n" + b" " * 0x4000 + b"\r\n"))
        except OSError:
            continue
    flood(peers, seconds)


def entered(broker, client, subscribe=None, version=4):
    peer = dial(broker.ports["open"])
    connect = connect_packet(client)
    if version == 5:
        connect = packet(0x10, text("MQTT") + b"\x05\x02\x00\x00\x00" + text(client))
    peer.sendall(connect)
    receive(peer, 4 if version == 4 else 5)
    if subscribe:
        peer.sendall(packet(0x82, b"\x00\x01" + text(subscribe) + b"\x01"))
    peer.setblocking(False)
    return peer


def flood(peers, seconds):
    """Writes to each as much as goes, whole copies one after another, and never reads."""
    pending, until = {peer: (noise, 0) for peer, noise in peers}, time.monotonic() + seconds
    while pending and time.monotonic() < until:
        for peer, (noise, at) in list(pending.items()):
            try:
                at += peer.send(noise[at : at + 65536])
                pending[peer] = (noise, at % len(noise))
            except (BlockingIOError, ssl.SSLWantWriteError):
                continue
            except OSError:
                del pending[peer]
        time.sleep(0.001)
    leave([peer for peer, _ in peers])


def leave(peers):
    for peer in peers:
        peer.close()


OPEN = """admin: { bind: '127.0.0.1:0', tls: { certificate: certs/server.pem, private_key: certs/server.key } }
audit: { max_size: 64MiB }
"""
LIMITS = "limits: {{ connections: {{ global: {{ rate: 100000/s, burst: 100000 }}, per_ip: {{ rate: 100000/s, burst: 100000, max: 100000 }} }}{} }}\n"
QUEUE = "mqtt: { queue: { messages: 100, bytes: 128KiB }, session_expiry: { max: 5s } }\n"
RETAINED = ", state: { sessions_per_user: 500, retained: { messages: 10000, bytes: 8MiB, per_user: 10000 } }"
HANDSHAKES = 256
TABLES = 32 * MIB
HASHING = 256 * MIB

SCRIPTS = [
    Script("TRN-1", "2,000 peers announce 256 MiB or drip", announced, HANDSHAKES * PEER, more=LIMITS.format("")),
    Script("TRN-10", "2,000 peers stalled after TLS", stalled, HANDSHAKES * PEER, more=LIMITS.format("")),
    Script("TRN-11", "300 WebSockets: endless heads, one-byte fragments, pings", fragments, 300 * PEER, more=LIMITS.format("")),
    Script("TRN-14", "200 clients that never read", unread, 200 * (PEER + 128 * 1024), more=LIMITS.format("") + QUEUE),
    Script("LIM-3", "100 clients send packets of 20,000 properties", properties, 100 * (PEER + MIB), more=LIMITS.format("")),
    Script("LIM-4", "100 clients never release QoS 2", unreleased, 100 * PEER * 2, more=LIMITS.format("")),
    Script("LIM-5", "one user farms sessions, queues, retained messages", farmed, 500 * 128 * 1024 + 8 * MIB, more=LIMITS.format(RETAINED) + QUEUE),
    Script("LIM-6", "new addresses, names and identifiers through a proxy", scan, TABLES + HANDSHAKES * PEER, more=LIMITS.format("")),
    Script("IDN-12", "wrong passwords as fast as they are taken", guesses, HASHING, more=LIMITS.format(", failures: { per_ip: off, per_user: off }")),
    Script("LOG-2", "refused connections, all audited", refusals, 0, more=LIMITS.format(", deny: [127.2.0.0/16]")),
    Script("ADM-4", "30 bodies without an end", bodies, 30 * PEER, more=LIMITS.format("")),
]
