"""A broker that has every way in, and how to be rude to it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from node import POLICY, Node, connect_packet, dial, ms, packet, percentile, receive, text

__all__ = ["Broker", "aside", "connect_packet", "dial", "login", "ms", "openssl", "p99", "packet", "receive", "retreat", "text"]

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


class Broker(Node):
    POLICY = POLICY

    def __init__(self, binary, more="", policy=POLICY):
        super().__init__(binary, LISTENERS + more, policy)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.folder / "token.key")
        openssl("ec", "-in", self.folder / "token.key", "-pubout", "-out", self.folder / "token.pub")


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, input=given).stdout


def login(port, user, password, source="127.0.0.1"):
    """Seconds to CONNACK and its code; None: closed without one."""
    began = time.perf_counter()
    with dial(port, source) as peer:
        peer.sendall(connect_packet(f"c{began}", user, password))
        answer = receive(peer, 4)
    return time.perf_counter() - began, answer[3] if len(answer) == 4 else None


def retreat():
    """From here on this process runs only when nobody else wants a core: the load must not be what slows the broker."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def aside(work, *arguments):
    """Runs one of this package's loads as a process of its own: no interpreter is shared with whoever measures."""
    command = [sys.executable, "-c", f"from hostile import {work.__module__.split('.')[1]} as m; m.{work.__name__}(*__import__('json').loads(__import__('sys').argv[1]))"]
    folder = Path(__file__).resolve().parent.parent
    return subprocess.Popen([*command, json.dumps(arguments)], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def p99(values):
    return percentile(values, 0.99)
