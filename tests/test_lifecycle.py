"""Real server processes: how they begin, how they end, and what can not stop them from ending."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import (
    MATRIX,
    Process,
    get,
    in_threads,
    read_all,
    read_until,
    run_python,
    wait_until,
)

APP = "tests.served:app"
PATIENT_APP = "tests.patient:http"
PATIENCE = 2.0  # its server's, in seconds
STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT]
# How much longer than the grace time an end may take: cancelled applications and connections have
# a moment, lifespan too, and the machine may be busy.
MARGIN = 6.0


@pytest.fixture(params=MATRIX, ids="-".join)
def engine(request: pytest.FixtureRequest) -> list[str]:
    """The options for an event loop and a parser."""
    loop, parser = request.param
    return ["--loop", loop, "--http", parser]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> list[str]:
    return ["--loop", request.param]


def assert_ended_well(server: Process, timeout: float = MARGIN) -> None:
    """Exit code 0, a complete lifespan, no traceback; and the port is free."""
    assert server.exit_code(timeout) == 0, server.stderr
    assert "note: lifespan shutdown ends" in server.stderr
    assert "Traceback" not in server.stderr
    assert "Warning" not in server.stderr
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    with socket.create_server(server.address):
        pass


@contextlib.contextmanager
def request(server: Process, path: str, note: str) -> Iterator[socket.socket]:
    """A request that the application has begun with."""
    with server.connect() as sock:
        sock.sendall(get(path))
        server.wait_for(f"note: {note}")
        yield sock


# Idle


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_an_idle_server_ends_at_once(engine: list[str], number: signal.Signals) -> None:
    with Process(APP, *engine) as server:
        assert httpx.get(f"{server.url}/hello").text == "hello"
        started = time.perf_counter()
        server.signal(number)
        assert_ended_well(server)
        assert time.perf_counter() - started < MARGIN


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_asked_twice_in_quick_succession_it_ends_as_well(
    loop: list[str], number: signal.Signals
) -> None:
    with Process(APP, *loop) as server:
        assert server.url
        server.signal(number)
        server.wait_for("note: lifespan shutdown begins")
        server.signal(number)
        assert_ended_well(server)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_asked_again_while_the_interpreter_exits_it_does_not_mind(number: signal.Signals) -> None:
    with Process("tests.served:slow_exit") as server:
        assert server.url
        server.signal(number)
        server.wait_for("note: exiting")
        server.signal(number)
        assert_ended_well(server)
        assert "note: exited" in server.stderr


def test_asked_to_reopen_its_logs_while_the_interpreter_exits_it_does_not_mind() -> None:
    with Process("tests.served:slow_exit") as server:
        assert server.url
        server.signal(signal.SIGTERM)
        server.wait_for("note: exiting")
        server.signal(signal.SIGUSR1)
        assert_ended_well(server)
        assert "note: exited" in server.stderr


@pytest.mark.parametrize(
    "begin",
    [
        "import runpy; runpy.run_module('aserver', run_name='__main__')",
        "from aserver.__main__ import entrypoint; entrypoint()",
    ],
    ids=["module", "script"],
)
def test_asked_to_reopen_its_logs_before_it_has_begun_it_does_not_mind(begin: str) -> None:
    code = """if True:
        import os, signal, sys

        class Finder:
            @staticmethod
            def find_spec(name, *others):
                if name == "aserver.cli":
                    assert not {"asyncio", "logging"} & set(sys.modules), "this takes long"
                    os.kill(os.getpid(), signal.SIGUSR1)

        sys.meta_path.insert(0, Finder)
        sys.argv = ["aserver", "--version"]
    """
    exit_code, output = run_python("-c", f"{code}\n{begin}")
    assert exit_code == 0, output
    assert output.startswith("aserver ")


def test_asked_while_the_application_starts_it_ends(loop: list[str]) -> None:
    with Process("tests.served:slow_start", *loop) as server:
        server.wait_for("note: starting")
        server.signal(signal.SIGTERM)
        assert server.exit_code(MARGIN) == 0
        assert "note: start-up cancelled" in server.stderr
        assert "Listening" not in server.stderr
        assert "Traceback" not in server.stderr


def test_idle_connections_may_make_one_more_request(engine: list[str]) -> None:
    """It may be on its way. A proxy answers 502 for a POST that it cannot send again."""
    with (
        Process(PATIENT_APP, *engine, "--graceful-timeout", "30") as server,
        request(server, f"/wait?{PATIENCE + 0.3}", "waiting") as busy,
        contextlib.ExitStack() as stack,
    ):
        # The busy request keeps the server from ending, which would close them as well.
        idle = [stack.enter_context(server.connect()) for _ in range(20)]
        for sock in idle:
            sock.sendall(get("/hello"))
            assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
        started = time.perf_counter()
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(server))
        for sock in idle[:10]:
            sock.sendall(get("/hello"))
            answer = read_all(sock)
            assert answer.endswith(b"hello")
            assert b"\r\nconnection: close\r\n" in answer
        for sock in idle[10:]:
            assert read_all(sock) == b""
        assert time.perf_counter() - started > PATIENCE - 0.1
        assert read_all(busy).endswith(b"waited")
        assert_ended_well(server)


# Requests in progress


def test_a_request_in_progress_is_served_and_a_stream_without_end_is_cut(
    engine: list[str],
) -> None:
    grace = 2.0
    with (
        Process(APP, *engine, "--graceful-timeout", str(grace)) as server,
        request(server, "/stream", "streaming") as endless,
        request(server, "/wait?0.5", "waiting") as waiting,
    ):
        started = time.perf_counter()
        server.signal(signal.SIGTERM)
        response = read_all(waiting)
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nconnection: close\r\n" in response
        assert response.endswith(b"waited")
        assert time.perf_counter() - started < grace
        stream = read_all(endless)
        assert stream.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not stream.endswith(b"0\r\n\r\n"), "cut, and it looks complete"
        assert_ended_well(server)
        assert grace <= time.perf_counter() - started < grace + MARGIN
        assert "note: stream ended" in server.stderr
        assert "Ending requests that are still in progress: 1" in server.stderr


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_asked_while_the_application_is_imported_it_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "slow_import.py").write_text(
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    with Process("slow_import:app", "--app-dir", str(tmp_path)) as server:
        server.wait_for("importing")
        server.signal(number)
        assert server.exit_code(MARGIN) == 0


def test_an_application_that_is_imported_loses_nothing_that_it_said(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(
        "import atexit, sys, time\n"
        "atexit.register(lambda: print('at exit'))\n"
        "print('buffered')\n"
        "print('importing', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    with Process("slow_import:app", "--app-dir", str(tmp_path)) as server:
        server.wait_for("importing")
        server.signal(signal.SIGTERM)
        assert server.exit_code(MARGIN) == 0
        assert server.stdout == "buffered\nat exit\n"


def test_functions_run_at_exit_that_are_stuck_end_with_the_second_signal(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(
        "import atexit, sys, time\n"
        "@atexit.register\n"
        "def stuck():\n"
        "    print('stuck', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "print('importing', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    with Process("slow_import:app", "--app-dir", str(tmp_path)) as server:
        server.wait_for("importing")
        server.signal(signal.SIGTERM)
        server.wait_for("stuck")
        server.signal(signal.SIGTERM)
        assert server.exit_code(MARGIN) == 128 + signal.SIGTERM


def test_it_says_what_it_waits_for(loop: list[str]) -> None:
    with Process(APP, *loop) as server, request(server, "/stream", "streaming"):
        server.signal(signal.SIGINT)
        server.wait_for("Stopping; requests in progress: 1, connections: 1, waiting 30 seconds")
        server.signal(signal.SIGINT)
        assert_ended_well(server)


def test_the_second_signal_ends_the_wait_but_not_the_lifespan(loop: list[str]) -> None:
    with (
        Process(APP, *loop, "--graceful-timeout", "60") as server,
        request(server, "/stream", "streaming"),
    ):
        server.signal(signal.SIGINT)
        wait_until(lambda: refuses(server))
        server.signal(signal.SIGINT)
        assert_ended_well(server)
        assert "note: stream ended" in server.stderr


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_third_signal_ends_the_process_at_once(loop: list[str], number: signal.Signals) -> None:
    with (
        Process(APP, *loop, "--graceful-timeout", "60") as server,
        request(server, "/stubborn", "stubborn"),
    ):
        server.signal(number)
        wait_until(lambda: refuses(server))
        server.signal(number)
        server.wait_for("note: ignoring the cancellation")
        server.signal(number)
        assert server.exit_code(MARGIN) == 128 + number
        assert "lifespan shutdown ends" not in server.stderr


def refuses(server: Process) -> bool:
    """Whether it has stopped listening."""
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_nothing_an_application_does_stops_the_server_from_ending() -> None:
    """Each takes seconds, and nearly no work: they are all looked at together."""
    stuck = [
        ("asyncio", "/stubborn", "stubborn"),
        ("asyncio", "/thread", "in a thread"),
        ("uvloop", "/thread", "in a thread"),
        ("uvloop", "/executor", "in an executor"),
    ]
    with contextlib.ExitStack() as stack:
        servers = []
        for loop, path, note in stuck:
            process = Process(APP, "--loop", loop, "--graceful-timeout", "0.3")
            server = stack.enter_context(process)
            stack.enter_context(request(server, path, note))
            # Others are accepted and served all the while.
            for _ in range(3):
                assert httpx.get(f"{server.url}/hello").text == "hello"
            servers.append(server)
        for server in servers:
            server.signal(signal.SIGTERM)
        ends = time.perf_counter() + MARGIN
        for server in servers:
            assert_ended_well(server, ends - time.perf_counter())


def test_clients_that_left_a_stuck_sync_view_cost_the_others_nothing(loop: list[str]) -> None:
    with Process(APP, *loop, "--graceful-timeout", "0.3") as server:
        for _ in range(20):
            with server.connect() as sock:
                sock.sendall(get("/thread"))
        wait_until(lambda: server.stderr.count("note: in a thread") == 20)
        with httpx.Client() as client:
            times = []
            for _ in range(20):
                started = time.perf_counter()
                assert client.get(f"{server.url}/hello").text == "hello"
                times.append(time.perf_counter() - started)
        assert sorted(times)[10] < 0.05
        server.signal(signal.SIGINT)
        assert_ended_well(server)


# The accept queue


def test_who_waits_in_the_accept_queue_is_served(loop: list[str]) -> None:
    with (
        Process(APP, *loop) as server,
        request(server, "/block?0.7", "blocking") as blocking,
        contextlib.ExitStack() as stack,
    ):
        # The event loop hangs: all this waits in the kernel.
        waiting = [stack.enter_context(server.connect()) for _ in range(50)]
        for sock in waiting:
            sock.sendall(get("/hello"))
        server.signal(signal.SIGTERM)
        assert read_all(blocking).endswith(b"blocked")
        for sock in waiting:
            response = read_all(sock)
            assert response.startswith(b"HTTP/1.1 200 OK\r\n")
            assert response.endswith(b"hello")
        assert_ended_well(server)


def test_who_has_just_connected_may_still_ask(engine: list[str]) -> None:
    with Process(PATIENT_APP, *engine) as server, server.connect() as sock:
        assert httpx.get(f"{server.url}/hello").text == "hello"  # so the one before is accepted
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(server))
        sock.sendall(get("/hello"))
        response = read_all(sock)
        assert b"\r\nconnection: close\r\n" in response
        assert response.endswith(b"hello")
        assert_ended_well(server)


def test_in_a_loop_of_requests_none_is_lost(engine: list[str]) -> None:
    outcomes: list[bytes] = []

    def ask() -> None:
        """One connection after another, until the port is closed; nothing else may go wrong."""
        while True:
            try:
                sock = server.connect()
            except ConnectionRefusedError:
                return
            with sock:
                try:
                    sock.sendall(get("/hello"))
                    outcomes.append(read_until(sock, b"hello"))
                except (OSError, AssertionError) as error:
                    outcomes.append(repr(error).encode())

    with Process(APP, *engine, "--no-access-log") as server:
        with in_threads(ask, ask):
            wait_until(lambda: len(outcomes) > 100)
            server.signal(signal.SIGTERM)
        assert_ended_well(server)
    assert [each for each in outcomes if not each.startswith(b"HTTP/1.1 200 OK\r\n")] == []
