"""One Wardgate with a configuration of its own, and just enough MQTT 3.1.1 to load it from one process."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

POLICY = "version: 1\npolicies:\n  - { id: all, who: { any: true }, allow: [{ publish: '#' }, { subscribe: '#' }] }\n"
TICKS = os.sysconf("SC_CLK_TCK")


class Node:
    """A broker with the files of a first run, in a folder that goes when it does."""

    def __init__(self, binary, config, policy=POLICY, folder=None):
        self.binary = binary
        self.temporary = tempfile.TemporaryDirectory(prefix="wardgate-bench-", dir=folder)
        self.folder = Path(self.temporary.name) / "w"
        made = subprocess.run([binary, "init", "--dir", self.folder], capture_output=True, text=True, check=True)
        words = (made.stdout + made.stderr).split()
        self.password = next(word for word in words if word.count("-") >= 5 and "/" not in word).strip(".,:")
        (self.folder / "bench.yaml").write_text(policy)
        (self.folder / "bench.yaml").chmod(0o600)
        self.config = self.folder / "bench-node.yaml"
        self.config.write_text(config)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)
        self.temporary.cleanup()

    def start(self):
        """Seconds from exec until it listens."""
        file = self.folder / "ports.json"
        file.unlink(missing_ok=True)
        with open(self.folder / "log", "a") as log:
            began = time.perf_counter()
            self.process = subprocess.Popen([self.binary, "serve", "--config", self.config, "--port-file", file], stderr=log)
        while not file.exists():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.002)
        elapsed = time.perf_counter() - began
        self.ports = json.loads(file.read_text())
        return elapsed

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait()

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self, name="VmRSS"):
        """Bytes; `VmHWM`: the most it ever was."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2, "big") + value


def packet(first, body):
    length, encoded = len(body), b""
    while True:
        length, low = divmod(length, 128)
        encoded += bytes([low | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + encoded + body


def connect_packet(client, user=None, password=None, clean=True):
    flags = (2 if clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes([4, flags, 0, 0]) + text(client)
    body += text(user) if user is not None else b""
    body += text(password) if password is not None else b""
    return packet(0x10, body)


def subscribe_packet(topic_filter, qos):
    return packet(0x82, b"\x00\x01" + text(topic_filter) + bytes([qos]))


def publish_packet(topic, payload, identifier):
    """At QoS 1."""
    return packet(0x32, text(topic) + identifier.to_bytes(2, "big") + payload)


def dial(port, source="127.0.0.1", timeout=15):
    peer = socket.socket()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.settimeout(timeout)
    peer.bind((source, 0))
    peer.connect(("127.0.0.1", port))
    return peer


def receive(peer, wanted):
    """Shorter when the peer closes, or says nothing for as long as the socket waits."""
    got = b""
    while len(got) < wanted:
        try:
            part = peer.recv(wanted - len(got))
        except OSError:
            break
        if not part:
            break
        got += part
    return got


def admitted(port, client, clean=True, source="127.0.0.1"):
    peer = dial(port, source)
    peer.sendall(connect_packet(client, clean=clean))
    answer = receive(peer, 4)
    assert len(answer) == 4 and answer[3] == 0, f"{client}: CONNACK {answer.hex()}"
    return peer


def percentile(values, share):
    return sorted(values)[int(len(values) * share)] if values else float("nan")


def ms(seconds):
    return f"{seconds * 1000:.1f} ms"


def mib(size):
    return f"{size / 2**20:,.0f} MiB"
