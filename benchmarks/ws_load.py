"""The load on WebSockets: ping-pong over many connections, each answer compared in full.

It must cost less per message than the fastest server, so it is one loop over epoll: no event loop,
no parser. What a server must answer is known to the byte; ``startswith`` compares a part of it in
place, at the speed of memory.

The sockets block. Epoll says when one is readable, and a frame is gone when ``send`` returns, with
the kernel's own time limit for a server that does not read.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator
from itertools import cycle, islice

from benchmarks.failures import BenchmarkFailure
from benchmarks.load import Load
from benchmarks.ws_frames import PONG, Message, client_frame

_STALL_SECONDS = 5.0
_SEND_BUFFER = 262144  # a message of 64 KiB goes out in one go
_PING_HEAD = b"\x89"
_ANY_MASK = b"mask"


class Line:
    """One connection: the answer it waits for, and how much of that is missing."""

    __slots__ = ("answer", "missing", "receive", "send", "sent", "turns")

    def __init__(self, connection: socket.socket, turns: Iterator[Message]) -> None:
        connection.settimeout(None)
        limit = struct.pack("ll", int(_STALL_SECONDS), int(_STALL_SECONDS % 1 * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.receive = connection.recv
        self.send = connection.send
        self.turns = turns
        self.answer = b""
        self.missing = 0
        self.sent = 0.0

    def ask(self, now: float) -> None:
        message = next(self.turns)
        self.answer = message.answer
        self.missing = len(message.answer)
        self.sent = now
        if self.send(message.frame) != len(message.frame):
            raise BenchmarkFailure(f"errors under load: nothing read for {_STALL_SECONDS:.0f} s")

    def take(self, data: bytes) -> bool:
        """Compare what came with its part of the answer; true when the answer is whole."""
        if not data:
            raise BenchmarkFailure("errors under load: closed a connection")
        have = len(self.answer) - self.missing
        if not have:
            data = self._without_pings(data)
        if not self.answer.startswith(data, have):
            raise BenchmarkFailure(f"errors under load: wrong answer ({data[:8].hex(' ')} ...)")
        self.missing -= len(data)
        return not self.missing

    def _without_pings(self, data: bytes) -> bytes:
        """Between two answers a server may ask whether we are there: say so, keep the rest."""
        while data.startswith(_PING_HEAD):
            data = self._filled(data, 2)
            size = 2 + data[1]
            data = self._filled(data, size)
            self.send(client_frame(PONG, data[2:size], _ANY_MASK))
            data = data[size:]
        return data

    def _filled(self, data: bytes, size: int) -> bytes:
        missing = size - len(data)
        return data + self.receive(missing, socket.MSG_WAITALL) if missing > 0 else data


def exchange(
    connections: list[socket.socket], messages: tuple[Message, ...], seconds: float
) -> Load:
    """Ask for some seconds and wait for what is still due: each message has its answer."""
    lines = {
        connection.fileno(): Line(connection, islice(cycle(messages), number, None))
        for number, connection in enumerate(connections)
    }
    start = time.perf_counter()
    with select.epoll(len(lines)) as poller:
        for descriptor in lines:
            poller.register(descriptor, select.EPOLLIN)
        try:
            latencies = _ping_pong(lines, poller, start + seconds)
        except OSError as error:
            raise BenchmarkFailure(f"errors under load: {error!r}") from error
    passed = time.perf_counter() - start
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * part)] * 1e3 for part in (0.5, 0.99))
    return Load(len(latencies), passed, p50, p99)


def _ping_pong(lines: dict[int, Line], poller: "select.epoll", until: float) -> list[float]:
    """Return how long each answer took. Local names and few calls: this is the generator's cost."""
    latencies: list[float] = []
    clock = time.perf_counter
    due = len(lines)
    for line in lines.values():
        line.ask(clock())
    while due:
        events = poller.poll(_STALL_SECONDS, len(lines))
        if not events:
            raise BenchmarkFailure(f"errors under load: no answer within {_STALL_SECONDS:.0f} s")
        for descriptor, _ in events:
            line = lines[descriptor]
            data = line.receive(line.missing)
            if data != line.answer and not line.take(data):
                continue
            now = clock()
            latencies.append(now - line.sent)
            if now < until:
                line.ask(now)
            else:
                due -= 1
    return latencies
