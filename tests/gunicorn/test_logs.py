"""Records and requests, as gunicorn's own loggers get them."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client
from gunicorn.config import Config as Settings
from gunicorn.glogging import Logger

from aserver import Config, Server
from aserver.gunicorn.logs import AccessLogOfGunicorn, ErrorLog
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.inside import respond
from tests.processes import wait_until


class Kept(logging.Handler):
    """What a handler of gunicorn's would write."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """A handler of gunicorn's access log, and of the logger `test`."""
    handler = Kept()
    loggers = [logging.getLogger("gunicorn.access"), logging.getLogger("test")]
    before = [(logger, logger.level, logger.handlers.copy()) for logger in loggers]
    for logger in loggers:
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
    yield handler
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers = handlers


def test_records_cannot_forge_others(kept: Kept) -> None:
    logger = logging.Logger("aserver.test")
    logger.addHandler(ErrorLog(logging.getLogger("test")))
    logger.warning("from %s", "me\n[2026] forged \x1b[31m")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("raised")
    first, second = kept.lines
    assert first == "from me\n  [2026] forged \\x1b[31m"
    assert second.startswith("raised\nTraceback")
    assert second.endswith("\n  ValueError: two\n  lines")


def test_a_log_that_cannot_be_opened_breaks_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """gunicorn's, behind SIGUSR1, where the worker's user may not open it."""
    theirs, ours = logging.Logger("theirs"), logging.Logger("aserver.test")
    theirs.addHandler(logging.FileHandler(tmp_path / "nowhere" / "error.log", delay=True))
    ours.addHandler(ErrorLog(theirs))
    ours.warning("from %s", "me")
    assert "FileNotFoundError" in capsys.readouterr().err


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
    else:
        assert scope["type"] == "http"
        await respond(send)


FORMAT = '%(h)s %(u)s "%(r)s" %(s)s %(b)s "%(a)s" %({x-mine}i)s %({x-none}o)s %(U)s %(q)s'


def served(logger: Any) -> serve:
    server = serve(app)
    server.server = Server(app, Config.of(port=0), access_log=AccessLogOfGunicorn(logger))
    return server


def test_requests(kept: Kept) -> None:
    cfg = Settings()
    cfg.set("accesslog", "-")
    cfg.set("access_log_format", FORMAT)
    logger = Logger(cfg)
    logger.access_log.handlers = [kept]
    with served(logger) as server:
        headers = {"User-Agent": "me", "X-Mine": 'a"b', "Authorization": "Basic YTpi"}
        httpx.get(f"{server.url}/a?b=c", headers=headers)
        uri = f"ws://{server.host}:{server.port}/ws"
        with websockets.sync.client.connect(uri, user_agent_header="me"):
            pass
        wait_until(lambda: len(kept.lines) == 2)
    assert kept.lines == [
        '127.0.0.1 a "GET /a?b=c HTTP/1.1" 200 5 "me" a\\"b - /a b=c',
        '127.0.0.1 - "GET /ws HTTP/1.1" 101 0 "me" - - /ws ',
    ]


class Broken:
    """A logger class of somebody's own."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        raise KeyError("x")

    def error(self, msg: object, *args: object) -> None:
        self.errors.append(str(msg) % args)


def test_a_logger_that_fails_costs_its_line_only() -> None:
    logger = Broken()
    with served(logger) as server:
        assert httpx.get(server.url).text == "hello"
        wait_until(lambda: bool(logger.errors))
    assert logger.errors == ["The access log failed: KeyError: 'x'"]
