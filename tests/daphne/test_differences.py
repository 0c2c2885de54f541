"""What the guide says that aserver does otherwise, where no other test sees it in a whole server.

Which test sees what, `test_deviations` says.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import aserver.server as module
from aserver import Config, run
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.daphne.recorder import ACCEPT, BODY, START
from tests.inside import Diary, leave_rudely, make_listening
from tests.processes import DEADLINE, get, read_all, read_until, wait_until
from tests.ws_clients import handshake

scopes: list[Scope] = []


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    scopes.append(scope)
    if scope["type"] == "websocket":
        await receive()
        await send({**ACCEPT, "subprotocol": scope["subprotocols"][-1]})
        return
    if scope["path"] == "/never":
        await asyncio.Event().wait()
    status = int(scope["query_string"] or 200)
    await send({**START, "status": status})
    await send({**BODY, "more_body": scope["path"] == "/cut"})
    if scope["path"] == "/cut":
        raise LookupError("in the middle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("differences")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[serve]:
    options: dict[str, Any] = {
        "access_log": str(folder / "access.log"),
        "http_timeout": 0.1,
        "graceful_timeout": 0,
        "lifespan": "off",
    }
    with ExitStack() as stack:
        own = str(folder / "own")
        passed = [
            stack.enter_context(make_listening(socket.AF_INET6, ("::1", 0))),
            stack.enter_context(make_listening(socket.AF_UNIX, str(folder / "passed"))),
        ]
        places = ["127.0.0.1:0", f"unix:{own}", *(f"fd://{sock.fileno()}" for sock in passed)]
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(module, "TICK", 0.02)
        yield stack.enter_context(serve(application, bind=tuple(places), **options))


def exchange(address: Any, data: bytes) -> tuple[bytes, Any]:
    """An answer, and the address of who has got it."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    family = socket.AF_INET6 if "::1" in address else family
    with socket.socket(family) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(address)
        sock.sendall(data)
        own = sock.getsockname()
        return read_all(sock), own


def ask(server: serve, path: str, *headers: str) -> bytes:
    request = get(path, "Connection: close", *headers)
    return exchange((server.host, server.port), request)[0]


@pytest.mark.parametrize(
    "line", ["422 Unprocessable Content", "429 Too Many Requests", "507 Insufficient Storage"]
)
def test_reasons_are_the_registered_ones(server: serve, line: str) -> None:
    assert ask(server, f"/?{line[:3]}").startswith(f"HTTP/1.1 {line}\r\n".encode())


def test_addresses_at_sockets_of_any_kind(server: serve, folder: Path) -> None:
    addresses = [each.getsockname() for each in server.server.sockets]
    assert [addresses[1], addresses[3]] == [str(folder / "own"), str(folder / "passed")]
    for address in addresses:
        answer, own = exchange(address, get("/", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        scope = scopes[-1]
        if isinstance(address, str):
            assert (scope["client"], scope["server"]) == (None, (address, None))
        else:
            assert (scope["client"], scope["server"]) == (own[:2], address[:2])
    assert not list(folder.glob("*.lock"))


def test_an_application_is_called_before_the_body(server: serve) -> None:
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 ")


def test_what_a_websocket_says_stays_as_it_was(server: serve) -> None:
    """Headers are not joined, a percent sign in a subprotocol is one."""
    fields = ("Sec-WebSocket-Protocol: a%2Cb, c%20d", "A: 1", "B: 2", "A: 3")
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(handshake("/", *fields))
        assert b"\r\nsec-websocket-protocol: c%20d\r\n" in read_until(sock, b"\r\n\r\n").lower()
    scope = scopes[-1]
    assert scope["subprotocols"] == ["a%2Cb", "c%20d"]
    own = [each for each in scope["headers"] if each[0] in (b"a", b"b")]
    assert own == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]


def test_behind_an_exception_in_a_response_all_is_as_before(
    server: serve, caplog: pytest.LogCaptureFixture
) -> None:
    """It is seen and told, so is the next one, and deadlines work."""
    for _ in range(2):
        assert ask(server, "/cut").endswith(b"hello\r\n"), "and no last chunk"
    wait_until(lambda: caplog.text.count("LookupError: in the middle") == 2)
    assert ask(server, "/never").startswith(b"HTTP/1.1 503 ")
    assert ask(server, "/").endswith(b"hello")


def test_lines_of_the_access_log(
    server: serve, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was cut has one, with the bytes so far; what was refused has its line elsewhere."""
    ask(server, "/first")
    with caplog.at_level("INFO", "aserver"):
        answer, _ = exchange((server.host, server.port), b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    ask(server, "/cut?201")
    ask(server, "/last")
    log = folder / "access.log"
    wait_until(lambda: "/last" in log.read_text())
    lines = log.read_text().partition("/first")[2].splitlines()[1:]
    assert [line.partition('"')[2] for line in lines] == [
        'GET /cut?201" 201 5',
        'GET /last" 200 5',
    ]
    told = [(each.name, each.message.partition(":")[0]) for each in caplog.records]
    assert ("aserver.peer", "Refused a request from 127.0.0.1") in told
    assert ("aserver.app", "GET /cut?201 from 127.0.0.1") in told


def test_who_leaves_before_the_response_has_the_line_of_what_is_made_for_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is one, and he may be waiting for it: whose connection is reset has none."""
    began, ended = [], []

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        began.append(scope["path"])
        try:
            while scope["path"] != "/last" and (await receive())["type"] != "http.disconnect":
                pass
            if scope["path"] == "/deaf":
                await asyncio.Event().wait()
            if scope["path"] != "/gives-up":
                await send({**START, "status": 201})
                await send(BODY)
        finally:
            ended.append(scope["path"])

    monkeypatch.setattr(module, "TICK", 0.02)
    log = tmp_path / "access.log"
    with serve(late, access_log=str(log), application_close_timeout=0.2) as server:
        with socket.create_connection((server.host, server.port), DEADLINE) as sock:
            sock.sendall(get("/reset"))
            wait_until(lambda: began == ["/reset"])
            leave_rudely(sock)
        answers = {"/slow": b"HTTP/1.1 201", "/deaf": b"HTTP/1.1 503", "/gives-up": b""}
        with ExitStack() as stack:
            socks = []
            for path in answers:
                sock = socket.create_connection((server.host, server.port), DEADLINE)
                socks.append(stack.enter_context(sock))
                sock.sendall(get(path))
                sock.shutdown(socket.SHUT_WR)
            assert [read_all(sock)[:12] for sock in socks] == list(answers.values())
        wait_until(lambda: set(ended) == {"/reset", *answers})
        ask(server, "/last")
        wait_until(lambda: "/last" in log.read_text())
    lines = [line.partition('"')[2] for line in log.read_text().splitlines()]
    assert [line[: line.index('" ') + 5] for line in lines] == [
        'GET /slow" 201',
        'GET /deaf" 503',
        'GET /last" 201',
    ]


def test_an_interrupt_ends_it_though_it_was_ignored_at_the_start() -> None:
    """As in the background of a script."""
    diary = Diary()

    async def interrupt(scope: Scope) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(os.kill, os.getpid(), signal.SIGINT)
        loop.call_later(5, give_up)

    def give_up() -> None:
        diary.events.append("ignored")
        os.kill(os.getpid(), signal.SIGTERM)

    diary.startup = interrupt
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(diary, Config.of(port=0))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert diary.events == ["startup", "shutdown"]
