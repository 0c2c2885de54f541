"""WebSockets and the ends of real server processes; the options of the command line at work."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.processes import Process, get, read_all, read_until, wait_until
from tests.ws_clients import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    close_frame,
    frame,
    handshake,
)

APP = "tests.ws_served:app"
STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT]
# Beside what an end has to wait for: the machine may be busy.
MARGIN = 3.0


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> list[str]:
    return ["--loop", request.param]


def peer(server: Process, path: str, *headers: str) -> Peer:
    """An open WebSocket."""
    return Peer(server.connect(), path, *headers)


@contextlib.contextmanager
def ending(server: Process, least: float, most: float) -> Iterator[None]:
    """What the block begins with ends the server well, after so many seconds."""
    started = time.perf_counter()
    yield
    assert server.exit_code(most) == 0, server.stderr
    assert least <= time.perf_counter() - started < most
    assert "note: lifespan shutdown ends" in server.stderr
    assert "Traceback" not in server.stderr
    assert "Warning" not in server.stderr


def refuses(server: Process) -> bool:
    """Whether it has stopped listening."""
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


# The end


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_client_is_told_1012_and_every_application_before_the_lifespan(
    loop: list[str], number: signal.Signals
) -> None:
    with Process(APP, *loop) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(peer(server, "/echo?0.2")) for _ in range(20)]
        for each in peers:
            each.send(TEXT, b"hello")
            assert each.read() == (TEXT, b"hello")
        with ending(server, 0.2, MARGIN):
            server.signal(number)
            for each in peers:
                assert each.read_close() == (1012, "")
                each.sock.sendall(close_frame(1012))
                each.read_end()
        before, _, behind = server.stderr.partition("note: lifespan shutdown begins")
        assert before.count("note: disconnect 1012\n") == 20
        assert before.count("note: cleaned up\n") == 20
        assert "disconnect" not in behind


def test_clients_that_do_not_do_their_part_delay_the_end_by_a_few_seconds() -> None:
    with (
        Process(APP, "--websocket-close-timeout", "1") as server,
        peer(server, "/echo") as silent,
        peer(server, "/flood"),  # it reads nothing
        peer(server, "/silent") as slow,
        peer(server, "/echo") as lasting,
    ):
        slow.sock.sendall(frame(BINARY, bytes(1000))[:500])
        go_round(server)
        # The clock may be late by a second; and who takes something yet is waited for once more.
        with ending(server, 1, 2 * 2 + MARGIN):
            server.signal(signal.SIGTERM)
            assert silent.read_close() == (1012, "")
            assert lasting.read_close() == (1012, "")
            lasting.sock.sendall(close_frame(1012))  # but it does not close the connection
        assert server.stderr.count("note: disconnect 1012\n") == 4


def go_round(server: Process) -> None:
    """A request and its answer, so that the server has been through its loop."""
    for _ in range(20):
        with server.connect() as sock:
            sock.sendall(get("/hello", "Connection: close"))
            assert read_all(sock).endswith(b"hello")


def test_an_application_that_goes_on_behind_the_disconnect_is_cancelled_after_the_grace_time(
    loop: list[str],
) -> None:
    with (
        Process(APP, *loop, "--graceful-timeout", "0.5") as server,
        peer(server, "/careless") as client,
        ending(server, 0.5, 0.5 + MARGIN),
    ):
        server.signal(signal.SIGTERM)
        assert client.read_close() == (1012, "")
        client.sock.sendall(close_frame(1012))
        client.read_end()
    assert "note: disconnect 1012\nnote: cancelled\n" in notes(server)


def test_an_application_that_never_receives_is_cancelled_and_left_behind() -> None:
    with (
        Process(APP, "--graceful-timeout", "0.2") as server,
        peer(server, "/deaf") as client,
    ):
        server.wait_for("note: deaf")
        with ending(server, 0.2, 2.2 + MARGIN):
            server.signal(signal.SIGTERM)
            assert client.read_close() == (1012, "")
            client.sock.sendall(close_frame(1012))
            client.read_end()
    assert "note: ignoring the cancellation" in server.stderr


def notes(server: Process) -> str:
    """What the applications have noted."""
    lines = server.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("note: "))


def test_the_second_signal_waits_for_no_application(loop: list[str]) -> None:
    with (
        Process(APP, *loop, "--graceful-timeout", "60") as server,
        peer(server, "/careless") as client,
        ending(server, 0, MARGIN),
    ):
        server.signal(signal.SIGTERM)
        assert client.read_close() == (1012, "")
        client.sock.sendall(close_frame(1012))
        client.read_end()
        server.wait_for("note: disconnect 1012")
        server.signal(signal.SIGTERM)
    assert "note: cancelled" in server.stderr


# Handshakes and the end


def test_a_handshake_that_is_accepted_during_the_end_is_closed_at_once(loop: list[str]) -> None:
    with Process(APP, *loop) as server, server.connect() as sock:
        sock.sendall(handshake("/undecided?0.3"))
        server.wait_for("note: undecided")
        with ending(server, 0, 0.3 + MARGIN):
            server.signal(signal.SIGTERM)
            head, _, rest = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            sock.sendall(close_frame(1012))
            assert rest + read_all(sock) == b"\x88\x02\x03\xf4"
            sock.close()
    assert "note: disconnect 1012" in server.stderr


def test_a_handshake_that_nobody_decides_on_is_a_503_at_the_end(loop: list[str]) -> None:
    with (
        Process(APP, *loop, "--graceful-timeout", "0.5") as server,
        server.connect() as sock,
    ):
        sock.sendall(handshake("/undecided?60"))
        server.wait_for("note: undecided")
        with ending(server, 0.5, 0.5 + MARGIN):
            server.signal(signal.SIGTERM)
            response = read_all(sock)
            assert response.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nconnection: close\r\n" in response
    assert "note: cancelled" in server.stderr


def test_who_has_just_connected_may_still_shake_hands(loop: list[str]) -> None:
    with Process("tests.patient:websocket", *loop) as server, server.connect() as sock:
        go_round(server)  # so the one before is accepted
        with ending(server, 0, 1 + MARGIN):
            server.signal(signal.SIGTERM)
            wait_until(lambda: refuses(server))
            late = Peer(sock, "/echo")
            assert late.read_close() == (1012, "")
            sock.sendall(close_frame(1012))
            late.read_end()
    assert "note: disconnect 1012" in server.stderr


# The command line


def test_an_old_websocket_is_closed_with_1001_and_an_undecided_application_is_a_503() -> None:
    options = ["--websocket_timeout", "1", "--websocket_connect_timeout", "1"]
    with (
        Process(APP, *options) as server,
        peer(server, "/echo") as client,
        server.connect() as sock,
    ):
        started = time.perf_counter()
        sock.sendall(handshake("/undecided?60"))
        assert client.read_close()[0] == 1001
        assert 0.9 < time.perf_counter() - started < 2 + MARGIN
        client.sock.sendall(close_frame(1001))
        client.read_end()
        server.wait_for("note: disconnect 1001")
        assert read_all(sock).startswith(b"HTTP/1.1 503 ")
        assert 0.9 < time.perf_counter() - started < 2 + MARGIN
        server.wait_for("(--websocket-connect-timeout)")


@pytest.mark.parametrize(
    ("option", "mistake"),
    [
        ("--websocket-max-message-size", frame(BINARY, bytes(1001))),
        (
            "--websocket-max-message-size",
            frame(BINARY, bytes(500), fin=False) + frame(CONTINUATION, bytes(501)),
        ),
        ("--websocket-max-frame-size", frame(BINARY, bytes(1001))),
    ],
)
def test_messages_and_frames_that_are_too_large_are_1009(option: str, mistake: bytes) -> None:
    with (
        Process(APP, option, "1000") as server,
        peer(server, "/echo") as client,
    ):
        client.send(BINARY, bytes(1000))
        assert client.read() == (BINARY, bytes(1000))
        client.sock.sendall(mistake)
        assert client.read_close()[0] == 1009
        client.read_end()
        server.wait_for("note: disconnect 1009")


def test_several_frames_that_are_not_too_large_may_be_a_larger_message() -> None:
    with (
        Process(APP, "--websocket-max-frame-size", "1000") as server,
        peer(server, "/echo") as client,
    ):
        client.send(BINARY, bytes(1000), fin=False)
        client.send(CONTINUATION, bytes(1000))
        assert client.read() == (BINARY, bytes(2000))


def test_a_client_that_does_not_answer_pings_is_lost_and_one_that_does_is_not() -> None:
    options = ["--ping-interval", "1", "--ping-timeout", "1"]
    with (
        Process(APP, *options) as server,
        peer(server, "/echo") as alive,
        peer(server, "/silent") as dead,
    ):
        started = time.perf_counter()
        opcode, payload = alive.read()
        assert opcode == PING
        alive.send(PONG, payload)
        assert dead.read()[0] == PING
        server.wait_for("note: disconnect 1006")
        assert 1.9 < time.perf_counter() - started < 4 + MARGIN
        assert dead.read_behind_pings() == (CLOSE, b"\x03\xf3")
        assert "(--ping-timeout)" in server.stderr
        while (answer := alive.read())[0] == PING:
            alive.send(PONG, answer[1])
            alive.send(TEXT, b"hello")
        assert answer == (TEXT, b"hello")


def test_switched_off_a_silent_websocket_stays_open() -> None:
    options = ["--websocket_timeout", "-1", "--websocket_connect_timeout", "-1"]
    options += ["--ping-interval", "0", "--ping-timeout", "0"]
    with (
        Process(APP, *options) as server,
        Process(APP, "--websocket_timeout", "1") as clock,
        peer(server, "/echo") as client,
        peer(clock, "/echo") as other,
    ):
        assert other.read_close()[0] == 1001  # that much later
        client.send(TEXT, b"hello")
        assert client.read() == (TEXT, b"hello")
        client.send(CLOSE)
        assert client.read() == (CLOSE, b"")


def test_a_websocket_outlives_every_deadline_of_http() -> None:
    options = ["--first-byte-timeout", "--header-timeout", "--body-timeout", "--keep-alive"]
    options += ["--write-timeout", "--http-timeout", "--application-close-timeout"]
    seconds = [argument for option in options for argument in (option, "0.1")]
    with (
        Process(APP, *seconds) as server,
        Process(APP, "--websocket_timeout", "1") as clock,
        peer(server, "/echo") as client,
        peer(clock, "/echo") as other,
    ):
        assert other.read_close()[0] == 1001
        client.send(TEXT, b"hello")
        assert client.read() == (TEXT, b"hello")


def test_without_websockets_a_handshake_is_a_request() -> None:
    with Process(APP, "--ws", "none") as server, server.connect() as sock:
        sock.sendall(handshake("/hello"))
        assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
