"""TLS in real server processes: handshakes that stall or are broken, the log, and the end."""

import contextlib
import json
import signal
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.certificates import HELLO, Authority, Issued
from tests.h2_clients import H2Client
from tests.processes import (
    DEADLINE,
    Process,
    get,
    many_files,
    read_all,
    read_until,
    wait_until,
)
from tests.tls_site import ADDRESS, PIECE, ask_securely, first_flight, odd_name, secured

APP = "tests.tls_site:app"
MIB = 1 << 20
STALLED = 1000
BROKEN = 200
# How much longer than anything that is waited for an end may take: the machine may be busy.
MARGIN = 6.0


@pytest.fixture(scope="module")
def issued(authority: Authority) -> list[Issued]:
    """Two: the server chooses by name."""
    return [authority.issue(HELLO, ADDRESS), authority.issue("other.test")]


@pytest.fixture
def options(issued: list[Issued], loop_name: str) -> list[str]:
    """For a process with TLS, in each event loop."""
    chosen = ["--loop", loop_name, "--access-log", ""]
    for each in issued:
        chosen += ["--certfile", each.certificate, "--keyfile", each.key]
    return chosen


@pytest.fixture(scope="module")
def client(authority: Authority) -> ssl.SSLContext:
    return authority.client()


def inspect(server: Process, client: ssl.SSLContext) -> dict[str, int]:
    """What there is in the server's process now."""
    answer, _ = ask_securely(server.address, client, "/inspect")
    counts: dict[str, int] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return counts


def send_and_leave(server: Process, data: bytes) -> None:
    """Send it, wait until the server closes."""
    with server.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            read_all(sock)


# Uploads


def test_an_upload_is_not_in_memory(options: list[str], client: ssl.SSLContext) -> None:
    """The application takes 64 KiB at a time; event loops read four times as much."""
    pieces = 1024
    head = f"POST /digest HTTP/1.1\r\nHost: test\r\nContent-Length: {pieces * len(PIECE)}\r\n\r\n"
    with Process(APP, *options) as server:
        ask_securely(server.address, client)
        before = server.memory
        server.reset_peak()
        with secured(server.address, client) as sock:
            sock.sendall(head.encode("ascii"))
            for _ in range(pieces):
                sock.sendall(PIECE)
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.peak - before < 4 * MIB


# Handshakes that come to nothing


# The state of a handshake is not the loop's business: one of each is enough.
@pytest.mark.parametrize(("loop_name", "sent"), [("asyncio", 100), ("uvloop", 1 << 14)])
def test_handshakes_that_stall(options: list[str], client: ssl.SSLContext, sent: int) -> None:
    """In none of their states do they hold up anybody, or stay for longer than they may."""
    hello = first_flight(client)[:sent]
    limit = ("--tls-handshake-timeout", "7", "--max-connections", "2000")
    with many_files(2 * STALLED), Process(APP, *options, *limit) as server:
        ask_securely(server.address, client)
        before = inspect(server, client)
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(server.connect()) for _ in range(STALLED)]
            for sock in socks:
                sock.sendall(hello)
            started = time.perf_counter()
            counts = inspect(server, client)
            assert time.perf_counter() - started < 6
            assert counts["Connection"] >= STALLED
            assert counts["tasks"] == before["tasks"]
            for sock in socks:  # all are closed, without a word if there was none
                sock.settimeout(DEADLINE)
                with contextlib.suppress(ConnectionResetError):
                    read_all(sock)
            assert inspect(server, client) == before
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        said = "the TLS handshake took too long (--tls-handshake-timeout)"
        assert server.stderr.count(said) == 6  # five, and the last of all others
        assert "Traceback" not in server.stderr


def test_broken_handshakes_give_few_lines(options: list[str], client: ssl.SSLContext) -> None:
    hello = first_flight(client)
    kinds = [
        get("/"),
        b"\x80\x2e\x01\x00\x02",
        b"\x00" * 100,
        b"\x16\x03\x01" + b"\xff" * 5000,
        hello[:20],
        hello + b"\x15\x03\x03\x00\x02\x02\x28",
        hello + hello,
        hello + get("/"),
        odd_name(client),
    ]
    with Process(APP, *options) as server:
        ask_securely(server.address, client)
        before, lines = inspect(server, client), server.stderr.count("\n")
        for number in range(BROKEN):
            send_and_leave(server, kinds[number % len(kinds)])
        # This one does not like what it is shown.
        stranger = ssl.create_default_context()
        for _ in range(10):
            with pytest.raises(ssl.SSLCertVerificationError):
                ask_securely(server.address, stranger)
        assert ask_securely(server.address, client)[0].endswith(b"hello")
        wait_until(lambda: inspect(server, client) == before)
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert server.stderr.count("\n") - lines < 30, server.stderr
        assert "Traceback" not in server.stderr
        assert "Exception ignored" not in server.stderr
        assert "Error" not in server.stderr
        assert "TLS with 127.0.0.1:" in server.stderr


@pytest.mark.parametrize(("loop_name", "verbosity"), [("asyncio", "0"), ("uvloop", "1")])
def test_names_that_are_no_ascii_give_few_lines(
    options: list[str], client: ssl.SSLContext, verbosity: str
) -> None:
    with Process(APP, *options, "--verbosity", verbosity) as server:
        for _ in range(20):
            send_and_leave(server, odd_name(client))
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert "Exception ignored" not in server.stderr
        assert "Traceback" not in server.stderr
        said = server.stderr.count("TLS with 127.0.0.1:")
        assert said == (6 if verbosity == "1" else 0)  # five, and the last of all others


# The end


@contextlib.contextmanager
def stopping(server: Process) -> Iterator[None]:
    """Ask it to stop; what comes next is done meanwhile; then it has stopped."""
    server.signal(signal.SIGTERM)
    yield
    assert server.exit_code() == 0, server.stderr
    assert "note: lifespan shutdown ends" in server.stderr
    assert "Traceback" not in server.stderr
    assert "Warning" not in server.stderr
    assert "Cancelling" not in server.stderr


def test_stop_with_connections_of_every_kind(options: list[str], authority: Authority) -> None:
    """Idle ones are closed with a word, busy ones answer, handshakes may come to their end."""
    client, http2 = authority.client(), authority.client(alpn=("h2",))
    with (
        Process(APP, *options, "--graceful-timeout", "20") as server,
        server.connect() as silent,
        server.connect() as half,
        secured(server.address, client) as fresh,
        secured(server.address, client) as idle,
        secured(server.address, client) as busy,
        secured(server.address, http2) as streams,
    ):
        half.sendall(first_flight(client)[:100])
        idle.sendall(get("/"))
        read_until(idle, b"hello")
        busy.sendall(get("/wait?1"))
        server.wait_for("note: waiting")
        h2 = H2Client(streams)
        stream = h2.open("/wait?1")
        wait_until(lambda: server.stderr.count("note: waiting") == 2)
        started = time.perf_counter()
        with stopping(server):
            assert read_all(idle) == read_all(fresh) == b""  # an end, said: else it raises
            answer = read_all(busy)
            assert b"\r\nconnection: close\r\n" in answer
            assert answer.endswith(b"waited")
            assert bytes(h2.answer(stream).body) == b"waited"
            for secure in (idle, fresh, busy, streams):
                secure.close()  # else the server waits for it, for a moment
            for sock in (silent, half):
                with contextlib.suppress(ConnectionResetError):
                    assert read_all(sock) == b""
        assert time.perf_counter() - started < 1 + MARGIN


def test_stop_with_a_handshake_that_stalls(options: list[str], client: ssl.SSLContext) -> None:
    """It has as long as anybody who has not asked for anything: not the whole grace time."""
    limits = ("--graceful-timeout", "20", "--tls-handshake-timeout", "20")
    with Process(APP, *options, *limits) as server, server.connect() as half:
        half.sendall(first_flight(client)[:100])
        wait_until(lambda: inspect(server, client)["Connection"] == 2)
        started = time.perf_counter()
        with stopping(server), contextlib.suppress(ConnectionResetError):
            assert read_all(half) == b""
        assert time.perf_counter() - started < MARGIN


def test_a_handshake_that_comes_in_at_the_end(options: list[str], client: ssl.SSLContext) -> None:
    with Process(APP, *options) as server, server.connect() as sock:
        wait_until(lambda: inspect(server, client)["Connection"] == 2)
        with stopping(server):
            wait_until(lambda: not is_open(server))
            with client.wrap_socket(sock, server_hostname=HELLO) as secure:
                secure.sendall(get("/"))
                answer = read_all(secure)
                assert b"\r\nconnection: close\r\n" in answer
                assert answer.endswith(b"hello")


def is_open(server: Process) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(server.address) == 0


def test_a_response_that_is_cut_does_not_look_whole(
    options: list[str], client: ssl.SSLContext
) -> None:
    with (
        Process(APP, *options, "--graceful-timeout", "0.5") as server,
        secured(server.address, client) as sock,
    ):
        sock.sendall(get("/stream").replace(b"1.1", b"1.0"))
        read_until(sock, b"data: now")
        server.signal(signal.SIGTERM)
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            read_all(sock)
        assert server.exit_code() == 0
        assert "Traceback" not in server.stderr
