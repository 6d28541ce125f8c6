"""A broker of its own, and just enough MQTT to be rude to it."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Broker:
    """A broker with the files of a first run and a configuration of its own."""

    LISTENERS = """listeners:
  tcp: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] }
  proxied: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password], proxy_protocol: { trusted: [127.1.0.0/30] } }
  tls: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password], tls: { certificate: certs/server.pem, private_key: certs/server.key } }
  mtls: { bind: '127.0.0.1:0', transport: tcp, authenticate: [certificate], tls: { certificate: certs/server.pem, private_key: certs/server.key, client_auth: required, client_ca: [ca/device-ca.pem] } }
  jwt: { bind: '127.0.0.1:0', transport: tcp, authenticate: [jwt] }
  ws: { bind: '127.0.0.1:0', transport: websocket, authenticate: [password] }
  open: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] }
authentication: { password: { file: users.yaml }, jwt: { keys: [{ alg: ES256, public_key_file: token.pub }] } }
policies: [bench.yaml]
store: { kind: memory }
data_dir: ./data
"""
    POLICY = "version: 1\npolicies:\n  - { id: all, who: { any: true }, allow: [{ publish: '#' }, { subscribe: '#' }] }\n"

    def __init__(self, binary, more="", policy=POLICY):
        self.temporary = tempfile.TemporaryDirectory(prefix="wardgate-abuse-")
        self.binary, self.folder = binary, Path(self.temporary.name) / "w"
        made = subprocess.run([binary, "init", "--dir", self.folder], capture_output=True, text=True, check=True)
        words = (made.stdout + made.stderr).split()
        self.password = next(word for word in words if word.count("-") >= 5 and "/" not in word).strip(".,:")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.folder / "token.key")
        openssl("ec", "-in", self.folder / "token.key", "-pubout", "-out", self.folder / "token.pub")
        (self.folder / "bench.yaml").write_text(policy)
        (self.folder / "bench.yaml").chmod(0o600)
        config = self.folder / "bench-node.yaml"
        config.write_text(self.LISTENERS + more)
        ports = self.folder / "ports.json"
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen([binary, "serve", "--config", config, "--port-file", ports], stderr=self.log)
        while not ports.exists():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.01)
        self.ports = json.loads(ports.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.temporary.cleanup()

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, input=given).stdout


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2, "big") + value


def connect_packet(client, user=None, password=None, clean=True):
    flags = (2 if clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes([4, flags, 0, 0]) + text(client)
    body += text(user) if user is not None else b""
    body += text(password) if password is not None else b""
    return packet(0x10, body)


def packet(first, body):
    length, encoded = len(body), b""
    while True:
        length, low = divmod(length, 128)
        encoded += bytes([low | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + encoded + body


def dial(port, source="127.0.0.1", timeout=15):
    peer = socket.socket()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.settimeout(timeout)
    peer.bind((source, 0))
    peer.connect(("127.0.0.1", port))
    return peer


def login(port, user, password, source="127.0.0.1"):
    """Seconds to CONNACK and its code; None: closed without one."""
    began = time.perf_counter()
    with dial(port, source) as peer:
        peer.sendall(connect_packet(f"c{began}", user, password))
        answer = receive(peer, 4)
    return time.perf_counter() - began, answer[3] if len(answer) == 4 else None


def receive(peer, wanted):
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


def retreat():
    """From here on this process runs only when nobody else wants a core: the load must not be what slows the broker."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def aside(work, *arguments):
    """Runs one of this package's loads as a process of its own: no interpreter is shared with whoever measures."""
    command = [sys.executable, "-c", f"from hostile import {work.__module__.split('.')[1]} as m; m.{work.__name__}(*__import__('json').loads(__import__('sys').argv[1]))"]
    folder = Path(__file__).resolve().parent.parent
    return subprocess.Popen([*command, json.dumps(arguments)], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def p99(values):
    return sorted(values)[int(len(values) * 0.99)] if values else float("nan")


def ms(seconds):
    return f"{seconds * 1000:.1f} ms"
