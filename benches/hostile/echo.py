"""An admitted client that sends itself QoS 1 messages, one at a time, and times each round: what others feel of an attack."""

import sys
import threading
import time

from .broker import aside, connect_packet, dial, packet, receive, text


class Echo:
    """In a process of its own, so that it waits for the broker and never for the load."""

    def __init__(self, port):
        self.process = aside(run, port)
        self.lines, self.rounds, self.dropped = iter(self.process.stdout), [], False
        assert next(self.lines) == "ready\n"
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.lines:
            if line == "dropped\n":
                self.dropped = True
            else:
                self.rounds.append(float(line))

    def take(self):
        rounds, self.rounds = self.rounds, []
        return rounds

    def stop(self):
        self.process.kill()
        self.process.wait()


def run(port):
    peer = dial(port)
    peer.sendall(connect_packet("echo"))
    assert receive(peer, 4)[3] == 0
    peer.sendall(packet(0x82, b"\x00\x01" + text("echo") + b"\x01"))
    receive(peer, 5)
    print("ready", flush=True)
    publish = packet(0x32, text("echo") + b"\x00\x02" + b"x" * 16)
    while True:
        began = time.perf_counter()
        peer.sendall(publish)
        # PUBACK and our own message back, in either order.
        got = receive(peer, 4 + len(publish))
        if len(got) < 4 + len(publish):
            print("dropped", flush=True)
            return
        elapsed = time.perf_counter() - began
        at = got.index(b"\x00\x04echo") + 6
        peer.sendall(b"\x40\x02" + got[at : at + 2])
        sys.stdout.write(f"{elapsed}\n")
        sys.stdout.flush()
        time.sleep(0.002)
