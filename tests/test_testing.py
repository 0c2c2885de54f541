"""`aserver.testing.serve`: in a thread, and in the running loop."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import aserver.testing as module
from aserver import Config
from aserver.app import AppImportError
from aserver.declarations import ConfigError
from aserver.event_loops import new_loop
from aserver.lifespan import LifespanError
from aserver.listener import BindError
from aserver.testing import serve
from aserver.types import ASGIApplication, Receive, Scope, Send
from tests.certificates import Authority
from tests.processes import DEADLINE


class App:
    """Says hello, and notes its lifespan and where it ran."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.thread: threading.Thread | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.thread = threading.current_thread()
        self.loop = asyncio.get_running_loop()
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                assert await receive() == {"type": f"lifespan.{event}"}
                self.events.append(event)
                await send({"type": f"lifespan.{event}.complete"})
        else:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"hello"})


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def test_an_address_of_any_kind_is_the_only_one() -> None:
    with serve(App(), proxy_protocol_bind=("127.0.0.1:0",)) as server:
        assert len(server.server.listeners) == 1
        assert server.server.listeners[0].is_proxied


def test_in_a_thread(loop_name: str) -> None:
    app = App()
    with serve(app, loop=loop_name) as server:
        assert app.events == ["startup"]
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.host == "127.0.0.1"
        assert server.server.sockets[0].getsockname() == (server.host, server.port)
        assert httpx.get(server.url).text == "hello"
        assert app.thread is not None
        assert app.thread is not threading.current_thread()
        assert app.thread.daemon
        assert type(app.loop).__module__.startswith(loop_name)
    assert app.events == ["startup", "shutdown"]
    assert not app.thread.is_alive()
    assert app.loop is not None
    assert app.loop.is_closed()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_in_the_running_loop(loop_name: str) -> None:
    async def test() -> None:
        app = App()
        async with serve(app) as server, httpx.AsyncClient() as client:
            assert app.events == ["startup"]
            assert app.loop is asyncio.get_running_loop()
            assert (await client.get(server.url)).text == "hello"
        assert app.events == ["startup", "shutdown"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=lambda: new_loop(loop_name)) as runner:
        runner.run(test())


def test_an_import_string() -> None:
    with serve("tests.served:app") as server:
        assert httpx.get(f"{server.url}/hello").text == "hello"


def test_its_defaults_are_those_of_a_test(capfd: pytest.CaptureFixture[str]) -> None:
    with serve(App()) as server:
        assert server.server.config == Config.of(port=0, graceful_timeout=3.0, access_log="")
        httpx.get(server.url)
    assert capfd.readouterr() == ("", "")


def test_options_are_those_of_the_configuration(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serve(App(), server_name="test", access_log=str(log)) as server:
        assert httpx.get(f"{server.url}/page").headers["server"] == "test"
    assert '"GET /page" 200 5' in log.read_text()


@pytest.mark.parametrize(
    ("bind", "url", "host"),
    [
        ("127.0.0.1:0", "http://127.0.0.1:{port}", "127.0.0.1"),
        ("[::1]:0", "http://[::1]:{port}", "::1"),
    ],
)
def test_an_address_of_ones_own(bind: str, url: str, host: str) -> None:
    with serve(App(), bind=(bind,)) as server:
        assert server.url == url.format(port=server.port)
        assert server.host == host
        with socket.create_connection((server.host, server.port), DEADLINE):
            pass
        assert httpx.get(server.url).text == "hello"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serve(App(), unix_socket=path) as server:
        assert (server.url, server.host, server.port) == (f"unix:{path}", "", 0)
        with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
            assert client.get("http://test/").text == "hello"


def test_tls(authority: Authority) -> None:
    context = authority.client()
    context.check_hostname = False  # it is a name, and the URL has an address
    with serve(App(), **authority.issue().options) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        assert httpx.get(server.url, verify=context).text == "hello"


def test_an_endpoint() -> None:
    with serve(App(), endpoint="tcp:0:interface=127.0.0.1") as server:
        assert len(server.server.listeners) == 1
        assert httpx.get(server.url).text == "hello"


FAILURES: list[tuple[ASGIApplication | str, dict[str, Any], type[Exception]]] = [
    ("tests.served:nothing", {}, AppImportError),
    (failing, {}, LifespanError),
    (failing, {"bind": "192.0.2.1:0"}, BindError),
    (failing, {"access_log": "/nowhere/access.log"}, ConfigError),
]


@pytest.mark.parametrize(("app", "options", "error"), FAILURES)
def test_entering_raises_what_start_raises(
    app: ASGIApplication | str, options: dict[str, Any], error: type[Exception]
) -> None:
    threads = threading.active_count()
    with pytest.raises(error), serve(app, **options):
        pytest.fail("it has started")
    assert threading.active_count() == threads

    async def test() -> None:
        with pytest.raises(error):
            async with serve(app, **options):
                pytest.fail("it has started")

    asyncio.run(test())


def test_the_second_time_is_as_the_first() -> None:
    lives: Iterator[ASGIApplication] = iter([App(), failing, App()])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await next(lives)(scope, receive, send)

    server = serve(app)
    with server:
        assert server.port
    with pytest.raises(LifespanError), server:
        pytest.fail("it has started")
    with server:
        assert server.port


def test_a_loop_that_cannot_be_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.__dict__, "prepared_loop", no_loop)
    with pytest.raises(ConfigError, match="no loop"), serve(App()):
        pytest.fail("it has started")


def no_loop(config: Config) -> asyncio.AbstractEventLoop:
    raise ConfigError("no loop")


def test_an_unknown_option_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="there is no option 'prot'"):
        serve(App(), prot=80)


def test_leaving_raises_what_stop_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop() -> None:
        await server.server.__class__.stop(server.server)
        raise RuntimeError("it does not stop")

    server = serve(App())
    monkeypatch.setattr(server.server, "stop", stop)
    with pytest.raises(RuntimeError, match="it does not stop"), server:
        httpx.get(server.url)


def test_leaving_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_JOIN_SECONDS", 0.05)
    app = App()
    server = serve(app)
    released = threading.Event()

    async def stop() -> None:
        released.wait(DEADLINE)  # the loop itself hangs
        await server.server.__class__.stop(server.server)

    monkeypatch.setattr(server.server, "stop", stop)
    with pytest.raises(TimeoutError, match="thread did not end"), server:
        pass
    released.set()
    assert app.thread is not None
    app.thread.join(DEADLINE)
    assert app.events == ["startup", "shutdown"]


def test_an_exception_in_the_block_stops_the_server(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    with (
        caplog.at_level(logging.DEBUG, "aserver"),
        pytest.raises(ZeroDivisionError),
        serve(app),
    ):
        raise ZeroDivisionError
    assert app.events == ["startup", "shutdown"]
    assert caplog.messages == []
