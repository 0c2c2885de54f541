"""The client that checks over plain HTTP/1.1: one connection or a crowd of idle ones, no load."""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from benchmarks.cases import Exchange
from benchmarks.failures import BenchmarkFailure
from benchmarks.process import RunningServer
from benchmarks.servers import HOST

_START_SECONDS = 20.0
_POLL_SECONDS = 0.001
_ANSWER_SECONDS = 5.0


class Checker(Protocol):
    """Asks one server what a case asks; a wrong answer is a failure."""

    def ask(self) -> None:
        """Once, on a new connection. A server that cannot be reached is an ``OSError``."""

    def probe(self) -> None:
        """More than once on one connection: right answers, and the connection is kept."""


def wait_until_ready(server: RunningServer, checker: Checker) -> float:
    """Try until the right answer comes; return the seconds since the start."""
    deadline = server.spawned + _START_SECONDS
    reason = ""
    while time.monotonic() < deadline:
        try:
            checker.ask()
            return time.monotonic() - server.spawned
        except OSError as error:
            server.check_alive()
            reason = str(error)
            time.sleep(_POLL_SECONDS)
    words = f"{reason}; {server.last_words()}"
    raise BenchmarkFailure(f"no answer within {_START_SECONDS:.0f} s: {words}")


class PlainChecker:
    """The one for HTTP/1.1 without TLS: cheap, because it also tells when a server has started."""

    def __init__(self, port: int, exchange: Exchange) -> None:
        self._port = port
        self._exchange = exchange

    def ask(self) -> None:
        with _connected(self._port) as connection:
            try:
                check(connection, self._exchange)
            except http.client.HTTPException as error:
                raise ConnectionError(repr(error)) from error

    def probe(self) -> None:
        with _connected(self._port) as connection:
            for turn in ("first", "second"):
                try:
                    check(connection, self._exchange)
                except (OSError, http.client.HTTPException) as error:
                    raise BenchmarkFailure(f"probe, {turn} request: {error!r}") from error


def check(connection: http.client.HTTPConnection, exchange: Exchange) -> None:
    """One exchange; a wrong status or body is a failure, not a slow success."""
    connection.request(exchange.method, "/", exchange.body, dict(exchange.headers))
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise BenchmarkFailure(f"probe: status {response.status} in place of 200")
    if body != exchange.expected:
        size = f"{len(body)} bytes, expected {len(exchange.expected)}"
        raise BenchmarkFailure(f"probe: wrong body ({size})")


@contextmanager
def crowd(open_one: Callable[[], socket.socket], number: int) -> Iterator[list[socket.socket]]:
    """Open connections one after the other; at the end all of them must still be open."""
    with ExitStack() as stack:
        opened: list[socket.socket] = []
        for _ in range(number):
            try:
                opened.append(stack.enter_context(open_one()))
            except OSError as error:
                raise BenchmarkFailure(f"stalled after {len(opened)} connections") from error
        yield opened
        closed = sum(not _is_open(one) for one in opened)
        if closed:
            raise BenchmarkFailure(f"closed {closed} of {number} connections")


@contextmanager
def _connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)
    try:
        connection.connect()
        connection.auto_open = 0  # a connection the server closed must not be opened anew
        yield connection
    finally:
        connection.close()


def used_connection(port: int, exchange: Exchange) -> socket.socket:
    """By hand: http.client would keep a buffer per connection, and 5,000 of them add up."""
    connection = socket.create_connection((HOST, port), timeout=_ANSWER_SECONDS)
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(exchange.expected):
            data = connection.recv(65536)
            if not data:
                raise ConnectionResetError("closed before the whole answer")
            answer += data
    except OSError:
        connection.close()
        raise
    return connection


def _is_open(connection: socket.socket) -> bool:
    """Nothing to read is what an idle connection has; an end of file is readable."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False
