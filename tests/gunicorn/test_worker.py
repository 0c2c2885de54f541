"""The worker class in real processes of gunicorn's."""

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from aserver.gunicorn import worker
from tests.certificates import Authority
from tests.gunicorn.processes import WORKER, Gunicorn, asking, facts_in, is_refused
from tests.processes import ROOT, get, read_all, read_until, wait_until
from tests.ws_clients import Peer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Gunicorn]]:
    """One for all tests, started anew behind the one that ends it."""
    started: list[Gunicorn] = []
    with contextlib.ExitStack() as stack:

        def one() -> Gunicorn:
            if not started or started[-1].has_ended:
                folder = tmp_path_factory.mktemp("gunicorn")
                started.append(stack.enter_context(_with_much_set(folder)))
                started[-1].wait_for("note: post_worker_init", 2)
            return started[-1]

        yield one


def _with_much_set(folder: Path) -> Gunicorn:
    """Two workers, with much of what can be set."""
    options = (
        *("-k", WORKER, "-w", "2", "--timeout", "2", "--graceful-timeout", "8"),
        *("-b", f"unix:{folder}/socket", "--access-logfile", f"{folder}/access.log"),
        *("--root-path", "/root", "--header-map", "refuse", "--worker-tmp-dir", str(folder)),
    )
    return Gunicorn(folder, "tests.gunicorn.site:app", *options, ASERVER_SERVER_NAME="ours")


@pytest.fixture
def gunicorn(running: Callable[[], Gunicorn]) -> Gunicorn:
    return running()


@pytest.fixture
def folder(gunicorn: Gunicorn) -> Path:
    return gunicorn.folder


def test_options(gunicorn: Gunicorn) -> None:
    """gunicorn's, and those of the environment."""
    with gunicorn.connect() as sock:
        sock.sendall(get("/facts", "Connection: close", "X-Forwarded-Proto: https"))
        answer = read_all(sock)
    assert b"\r\nserver: ours\r\n" in answer
    facts = facts_in(answer)
    assert (facts["root_path"], facts["scheme"]) == ("/root", "https")
    gunicorn.wait_for("[WARNING] aserver.gunicorn.Worker has no use for these settings: header_map")
    gunicorn.wait_for("note: post_worker_init", 2)


def test_unix_socket(gunicorn: Gunicorn, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(folder / "socket"))
        sock.sendall(get("/facts", "Connection: close", "X-Forwarded-For: 192.0.2.1"))
        assert facts_in(read_all(sock))["client"] == ["192.0.2.1", 0]


def test_access_log_and_its_rotation(gunicorn: Gunicorn, folder: Path) -> None:
    log, old = folder / "access.log", folder / "access.log.1"
    gunicorn.facts()
    wait_until(lambda: '"GET /facts HTTP/1.1" 200' in log.read_text())
    log.rename(old)
    gunicorn.signal(signal.SIGUSR1)
    wait_until(log.exists)

    def is_written() -> bool:
        gunicorn.facts()
        return log.stat().st_size > 0

    wait_until(is_written)


def test_errors_go_to_gunicorns_log(gunicorn: Gunicorn) -> None:
    with gunicorn.connect() as sock:
        sock.sendall(get("/%0Afake", "Connection: close"))
        assert b" 500 " in read_all(sock)
    gunicorn.wait_for("[ERROR] GET /%0Afake from 127.0.0.1:")
    gunicorn.wait_for("KeyError: '/\\nfake'")


def test_a_worker_that_blocks_is_ended(gunicorn: Gunicorn) -> None:
    """And only that one; the other goes on as before."""
    started = gunicorn.output.count("note: post_worker_init")
    with gunicorn.connect() as sock:
        sock.sendall(get("/block?60"))
        gunicorn.wait_for("note: blocking")
        others = {gunicorn.facts()["pid"] for _ in range(4)}
        with contextlib.suppress(ConnectionResetError):
            assert b"blocked" not in read_all(sock)
    gunicorn.wait_for("note: worker_abort")
    gunicorn.wait_for("note: worker_exit")
    assert len(others) == 1
    assert f"note: worker_exit {others.pop()}" not in gunicorn.output
    gunicorn.wait_for("note: post_worker_init", started + 1)


def test_reload_loses_no_request(gunicorn: Gunicorn) -> None:
    """SIGHUP, with clients that ask again and again, on new connections and on old ones."""
    before = gunicorn.workers
    started = gunicorn.output.count("note: post_worker_init")
    # httpx opens another connection where the server has closed one; it tries nothing twice.
    with httpx.Client(base_url=f"http://127.0.0.1:{gunicorn.port}") as client:

        def keep_asking() -> None:
            client.get("/hello").raise_for_status()

        with asking(gunicorn.facts, keep_asking) as failures:
            gunicorn.signal(signal.SIGHUP)
            gunicorn.wait_for("note: post_worker_init", started + 2)
            for pid in before:
                gunicorn.wait_for(f"note: worker_exit {pid}")
    assert failures == []
    assert gunicorn.facts()["pid"] not in map(int, before)


def test_orderly_stop(gunicorn: Gunicorn, folder: Path) -> None:
    """Requests get their answers, WebSockets 1012, the lifespan its end; newcomers are refused."""
    with Peer(gunicorn.connect(), "/") as websocket, gunicorn.connect() as slow:
        waiting = gunicorn.output.count("note: waiting")
        slow.sendall(get("/wait?1"))
        gunicorn.wait_for("note: waiting", waiting + 1)
        gunicorn.signal(signal.SIGTERM)
        assert websocket.read_close()[0] == 1012
        websocket.sock.close()
        wait_until(lambda: is_refused(gunicorn))
        assert read_until(slow, b"waited").startswith(b"HTTP/1.1 200 ")
    assert gunicorn.exit_code() == 0
    assert gunicorn.output.count("note: lifespan shutdown ends") >= 2
    assert not (folder / "socket").exists()
    assert "SIGKILL" not in gunicorn.output
    assert "Listening on" not in gunicorn.output  # the arbiter has said it, once


def test_tls_own_sockets_and_an_end_after_some_requests(
    tmp_path: Path, authority: Authority
) -> None:
    issued = authority.issue("localhost")
    options = (
        *("-k", "tests.gunicorn.site.Named", "--reuse-port", "--max-requests", "3"),
        *("--certfile", issued.certificate, "--keyfile", issued.key),
    )
    with Gunicorn(tmp_path, "tests.gunicorn.site:app", *options, ASERVER_LOOP="asyncio") as it:
        it.wait_for("Listening on https:")
        context = authority.client()
        pids = []
        for number in range(4):
            it.wait_for("Listening on https:", number // 3 + 1)  # each has a socket of its own
            with httpx.Client(verify=context, http2=True) as client:
                answer = client.get(f"https://localhost:{it.port}/facts")
            assert answer.headers["server"] == "named"
            assert (answer.json()["http_version"], answer.json()["scheme"]) == ("2", "https")
            pids.append(answer.json()["pid"])
        assert len(set(pids[:3])) == 1
        assert pids[3] != pids[0]
        it.wait_for("Autorestarting worker after current request.")
        with (
            httpx.Client(verify=context) as client,
            client.stream("GET", f"https://localhost:{it.port}/stream"),
        ):
            it.wait_for("note: streaming")
            began = time.monotonic()
            it.signal(signal.SIGINT)
            assert it.exit_code() == 0
        assert time.monotonic() - began < 7
        it.wait_for("note: worker_int")
        assert it.output.count("note: worker_int") == 1


def test_reloader_and_the_end_of_the_arbiter(tmp_path: Path) -> None:
    """Until a mistake is mended the worker shows it; it does not outlive the arbiter."""
    site = tmp_path / "site_of_test.py"
    site.write_text("def (:")
    options = ("-k", WORKER, "--reload", "--chdir", str(tmp_path))
    with Gunicorn(tmp_path, "site_of_test:application", *options, PYTHONPATH=str(ROOT)) as it:
        it.wait_for("note: post_worker_init")
        answer = httpx.get(f"http://127.0.0.1:{it.port}/")
        assert answer.status_code == 500
        assert "SyntaxError: invalid syntax" in answer.text
        site.write_text("from tests.gunicorn.site import app as application")
        it.wait_for("note: post_worker_init", 2)
        pid = it.facts()["pid"]
        it.signal(signal.SIGKILL)
        wait_until(lambda: f"note: worker_exit {pid}" in it.output)
        assert "Parent changed, shutting down" in it.output


@pytest.mark.parametrize(
    ("app", "code", "messages"),
    [
        (
            "tests.gunicorn.site:without_start",
            3,
            ["[ERROR] the application failed to start: no database", "Worker failed to boot."],
        ),
        ("tests.gunicorn.site:without_start_or_end", 3, ["Worker failed to boot."]),
        (
            "tests.gunicorn.site:wsgi",
            4,
            ["is it a WSGI application? (--interface wsgi)", "App failed to load."],
        ),
        ("tests.nowhere:app", 3, ["ModuleNotFoundError: No module named 'tests.nowhere'"]),
    ],
)
def test_what_cannot_start_is_not_tried_again(
    tmp_path: Path, app: str, code: int, messages: list[str]
) -> None:
    with Gunicorn(tmp_path, app, "-k", WORKER) as it:
        assert it.exit_code() == code
        for message in messages:
            it.wait_for(message)
        assert it.output.count("note: post_fork") == 1


def test_nor_is_it_without_its_event_loop(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('it is not here')")
    variables = {"ASERVER_LOOP": "uvloop", "PYTHONPATH": str(tmp_path)}
    with Gunicorn(tmp_path, "tests.gunicorn.site:app", "-k", WORKER, **variables) as it:
        assert it.exit_code() == 3
        [line] = [line for line in it.output.splitlines() if "uvloop" in line]
        assert "[ERROR] --loop uvloop: uvloop is not installed (an option --x is " in line
        assert "Worker failed to boot." in it.output
        assert "Traceback" not in it.output
        assert it.output.count("note: post_fork") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (SystemExit(), 0),
        (SystemExit(3), 3),
        (SystemExit("no"), 1),
        (RuntimeError("no"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_the_code_of_an_end_that_something_holds_up(error: BaseException | None, code: int) -> None:
    assert worker._exit_code(error) == code
