"""Logins that fail, as many a second as somebody likes: wrong passwords, certificates and tokens."""

import base64
import json
import selectors
import socket
import ssl
import statistics
import subprocess
import time

from .broker import Broker, aside, connect_packet, login, ms, openssl, p99, receive, retreat
from .echo import Echo

ADDRESSES = 50
# Bans and queues are measured here, not the rate of connections.
OPEN = "global: { rate: 100000/s, burst: 100000 }, per_ip: { rate: 1000/s, burst: 1000 }"


def measure(binary, seconds):
    seconds = max(seconds, 10)
    print(
        "\n| wrong, a second from 50 addresses | bans | good login p50, p99: known | a stranger's | QoS 1 round trip p99, quiet | then | offered a second | answered, most of one address | CPU a try |"
        "\n|---|---|---|---|---|---|---|---|---|"
    )
    for kind, rate, failures in [
        ("password", 200, "{ per_ip: off, per_user: off }"),
        ("password", 1000, "{ per_ip: off, per_user: off }"),
        ("password", 200, "{ per_ip: 10, per_user: 20 }"),
        ("certificate", 200, "{ per_ip: off, per_user: off }"),
        ("certificate", 200, "{ per_ip: 10, per_user: 20 }"),
        ("token", 200, "{ per_ip: off, per_user: off }"),
        ("token", 200, "{ per_ip: 10, per_user: 20 }"),
    ]:
        with Broker(binary, f"limits: {{ failures: {failures}, connections: {{ {OPEN} }} }}\n") as broker:
            storm(broker, kind, rate, "off" if "off" in failures else "on", seconds)


def storm(broker, kind, rate, bans, seconds):
    good = KINDS[kind](broker)
    assert good.login("127.0.0.1") is not None, f"the good {kind} is refused"
    echo = Echo(broker.ports["open"])
    time.sleep(0.5)
    echo.take()
    time.sleep(seconds / 4)
    quiet, before = p99(echo.take()), broker.cpu()
    crowd = aside(guess, kind, broker.ports, str(broker.folder), rate, seconds)
    time.sleep(1)
    echo.take()
    known, strangers, until, turn = [], [], time.monotonic() + seconds - 2, 0
    while time.monotonic() < until:
        turn += 1
        fresh = f"127.4.{turn // 200}.{turn % 200 + 1}"
        for logins, source in [(known, "127.0.0.1"), (strangers, fresh)]:
            logins.append(good.login(source))
            time.sleep(0.05)
    then = p99(echo.take())
    told = json.loads(crowd.communicate()[0])
    echo.stop()
    # The good logins' own cost is in it: the figure is an upper bound.
    cost = (broker.cpu() - before) / told["offered"]
    print(
        f"| {rate} {kind}s | {bans} | {shown(known)} | {shown(strangers)} | {ms(quiet)} | {ms(then)} | {told['offered'] / seconds:.0f} "
        f"| {told['judged']}, {told['most']} | {ms(cost)} |",
        flush=True,
    )


def shown(logins):
    good = [elapsed for elapsed in logins if elapsed is not None]
    refused = f", {len(logins) - len(good)} of {len(logins)} refused" if len(good) < len(logins) else ""
    return f"{ms(statistics.median(good))}, {ms(p99(good))}{refused}" if good else f"all {len(logins)} refused"


def guess(kind, ports, folder, rate, seconds):
    """An open loop: what has not been answered keeps nobody from trying again."""
    retreat()
    tries = KINDS[kind].wrong(ports, folder)
    peers, offered, judged, began = selectors.DefaultSelector(), 0, [0] * ADDRESSES, time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        while offered < elapsed * rate:
            number, offered = offered % ADDRESSES, offered + 1
            peer = tries.begin(f"127.3.0.{number + 1}")
            if peer is not None:
                peers.register(peer, selectors.EVENT_READ | selectors.EVENT_WRITE, (number, time.monotonic(), tries.steps(peer)))
        for key, _ in peers.select(0.005):
            number, since, steps = key.data
            done = next(steps, "gone")
            if done is not None:
                judged[number] += done == "judged"
                peers.unregister(key.fileobj)
                key.fileobj.close()
            elif tries.waits(key.fileobj):
                peers.modify(key.fileobj, selectors.EVENT_READ, key.data)
    print(json.dumps({"offered": offered, "judged": sum(judged), "most": max(judged)}))


class Plain:
    """A wrong CONNECT over plain TCP."""

    def __init__(self, port, connect):
        self.port, self.connect, self.sent = port, connect, set()

    def begin(self, source):
        peer = socket.socket()
        peer.setblocking(False)
        peer.bind((source, 0))
        peer.connect_ex(("127.0.0.1", self.port))
        return peer

    def waits(self, peer):
        return peer in self.sent

    def steps(self, peer):
        """At each event: None while it goes on, then how it ended."""
        try:
            peer.send(self.connect)
            self.sent.add(peer)
            yield None
            answer = peer.recv(4)
        except OSError:
            answer = b""
        self.sent.discard(peer)
        yield "judged" if answer[3:] in (b"\x04", b"\x05") else "refused"


class Shaking(Plain):
    """A TLS handshake with a wrong certificate."""

    def __init__(self, port, context):
        super().__init__(port, connect_packet("x"))
        self.context = context

    def begin(self, source):
        peer = super().begin(source)
        return self.context.wrap_socket(peer, do_handshake_on_connect=False)

    def steps(self, peer):
        try:
            while True:
                try:
                    peer.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self.sent.add(peer)
                    yield None
                except ssl.SSLWantWriteError:
                    yield None
            # TLS 1.3: the verdict on the certificate comes after our own last word.
            while True:
                try:
                    peer.recv(1)
                    break
                except ssl.SSLWantReadError:
                    self.sent.add(peer)
                    yield None
            ended = "refused"
        except ssl.SSLError as error:
            # An alert is a verdict; whoever is banned is closed before TLS.
            ended = "judged" if "ALERT" in (error.reason or "") else "refused"
        except OSError:
            ended = "refused"
        self.sent.discard(peer)
        yield ended


class Password:
    def __init__(self, broker):
        self.port, self.password = broker.ports["tcp"], broker.password

    def login(self, source):
        elapsed, code = login(self.port, "admin", self.password, source)
        return elapsed if code == 0 else None

    def wrong(ports, _):
        return Plain(ports["tcp"], connect_packet("x", "admin", "wrong"))


class Token:
    def __init__(self, broker):
        self.port = broker.ports["jwt"]
        self.token = token({"sub": "pump", "exp": int(time.time()) + 3600}, broker.folder / "token.key")

    def login(self, source):
        elapsed, code = login(self.port, "pump", self.token, source)
        return elapsed if code == 0 else None

    def wrong(ports, _):
        claims = {"sub": "pump", "exp": int(time.time()) + 3600}
        signed = token(claims, None)
        return Plain(ports["jwt"], connect_packet("x", "pump", signed))


class Certificate:
    def __init__(self, broker):
        self.port = broker.ports["mtls"]
        issue(broker.binary, broker.folder, broker.folder)
        other = broker.folder / "other"
        subprocess.run([broker.binary, "init", "--dir", other], check=True, capture_output=True)
        issue(broker.binary, other, other)
        self.context = context(broker.folder)

    def login(self, source):
        began = time.perf_counter()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 15, (source, 0)) as plain:
                with self.context.wrap_socket(plain) as peer:
                    peer.sendall(connect_packet(f"c{began}"))
                    answer = receive(peer, 4)
        except OSError:
            return None
        return time.perf_counter() - began if answer[3:] == b"\x00" else None

    def wrong(ports, folder):
        return Shaking(ports["mtls"], context(f"{folder}/other"))


KINDS = {"password": Password, "certificate": Certificate, "token": Token}


def issue(binary, folder, out):
    subprocess.run([binary, "ca", "issue", "pump", "--dir", folder, "--out", out], check=True, capture_output=True)


def context(folder):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(f"{folder}/pump.pem", f"{folder}/pump.key")
    return context


def token(claims, key):
    """Signed with ES256, or by nobody."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "ES256", "typ": "JWT"}, claims)]
    signed = b".".join(parts)
    if key is None:
        # Numbers that could be a signature: the whole check is made.
        signature = (b"\x00" + b"\x5a" * 31) * 2
    else:
        der = openssl("dgst", "-sha256", "-sign", key, given=signed)
        r_length = der[3]
        r, s = der[4 : 4 + r_length], der[6 + r_length :]
        signature = r.lstrip(b"\0").rjust(32, b"\0") + s.lstrip(b"\0").rjust(32, b"\0")
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
