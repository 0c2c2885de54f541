"""The lines of `runserver`."""

import logging
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management.color import color_style
from django.utils.log import DEFAULT_LOGGING, ServerFormatter

from aserver.access_format import clock
from aserver.declarations import ConfigError
from aserver.django.request_log import RequestLog, logger, set_up_logging

NAMES = ("django", "django.server", "django.channels", "django.channels.server", "aserver")


class Keeping(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What is logged of requests."""
    found: list[logging.LogRecord] = []
    handler = Keeping(found)
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


def exchange(target: bytes = b"/path?a=b", **more: object) -> Any:
    request = SimpleNamespace(method="GET", target=target)
    client = ("127.0.0.1", 1234)
    return SimpleNamespace(request=request, client=client, began=clock(), sent=0, **more)


def head(status: int) -> Any:
    return SimpleNamespace(status=status)


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (101, logging.INFO),
        (200, logging.INFO),
        (302, logging.INFO),
        (304, logging.INFO),
        (404, logging.WARNING),
        (499, logging.WARNING),
        (500, logging.ERROR),
        (599, logging.ERROR),
    ],
)
def test_a_line_for_a_request(records: list[logging.LogRecord], status: int, level: int) -> None:
    RequestLog().record(exchange(), head(status))
    assert [record.levelno for record in records] == [level]
    expected = rf"HTTP GET /path\?a=b {status} \[0\.0\d, 127\.0\.0\.1:1234\]"
    assert re.fullmatch(expected, records[0].getMessage())


def test_django_colours_it(records: list[logging.LogRecord]) -> None:
    formatter = ServerFormatter("[{server_time}] {message}", style="{")
    formatter.style = color_style(force_color=True)
    log = RequestLog()
    log.record(exchange(), head(404))
    log.sockets.connecting(exchange())
    coloured, plain = map(formatter.format, records)
    time = r"\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] "
    assert re.fullmatch(time + "\x1b\\[33mHTTP GET /path.*404.*\x1b\\[0m", coloured)
    assert re.fullmatch(time + r"WebSocket HANDSHAKING /path \[127\.0\.0\.1:1234\]", plain)


def test_nothing_that_a_client_sends_or_is_called_writes_to_the_terminal(
    records: list[logging.LogRecord],
) -> None:
    odd = exchange(b"/%s%d\x1b[31m\n")
    odd.client = ("evil\nname", 1)
    RequestLog().record(odd, head(200))
    none = exchange()
    none.client = None
    RequestLog().record(none, head(200))
    assert r"/%s%d\x1b[31m\x0a 200 " in records[0].getMessage()
    assert records[0].getMessage().endswith(r", evil\x0aname:1]")
    assert records[1].getMessage().endswith(", None]")


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ({"accepted": True, "closed_by": "application"}, ["DISCONNECT"]),
        ({"accepted": False, "closed_by": "application"}, ["REJECT", "DISCONNECT"]),
        ({"accepted": False, "closed_by": "server"}, ["DISCONNECT"]),
    ],
)
def test_lines_for_a_websocket(
    records: list[logging.LogRecord], ends: dict[str, Any], words: list[str]
) -> None:
    sockets = RequestLog().sockets
    sockets.connecting(exchange())
    sockets.connected(exchange())
    sockets.record(exchange(**ends), head(403))
    assert [record.getMessage() for record in records] == [
        f"WebSocket {word} /path [127.0.0.1:1234]" for word in ["HANDSHAKING", "CONNECT", *words]
    ]
    assert {record.levelno for record in records} == {logging.INFO}


def test_a_client_that_left_in_the_handshake_was_not_rejected(
    records: list[logging.LogRecord],
) -> None:
    RequestLog().sockets.record(exchange(accepted=False, closed_by="client"), None)
    assert [record.getMessage().split()[1] for record in records] == ["DISCONNECT"]


def test_exclusions(records: list[logging.LogRecord]) -> None:
    log = RequestLog(("/static/*", "/health"))
    log.record(exchange(b"/static/a.css?b"), head(200))
    log.sockets.connecting(exchange(b"/health"))
    assert records == []
    log.record(exchange(b"/"), head(200))
    assert len(records) == 1
    with pytest.raises(ConfigError, match="--access-log-exclude"):
        RequestLog(("health",))


def test_a_projects_filter_that_raises_is_told_of_and_harms_nobody(
    records: list[logging.LogRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("as meant")

    logger.addFilter(refuse)
    try:
        RequestLog().record(exchange(), head(200))
        RequestLog().sockets.connected(exchange())
    finally:
        logger.removeFilter(refuse)
    assert records == []
    assert capsys.readouterr().err.count("RuntimeError: as meant") == 2


def test_it_has_no_file() -> None:
    log = RequestLog()
    log.reopen()
    log.close()
    assert log.timed
    assert log.sockets.timed


@pytest.fixture
def loggers(own_loggers: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, logging.Logger]:
    """Django's and ours, as they are before a project has configured any."""
    found = {name: logging.getLogger(name) for name in NAMES}
    for each in found.values():
        monkeypatch.setattr(each, "handlers", [])
        monkeypatch.setattr(each, "propagate", True)
        monkeypatch.setattr(each, "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    return found


def test_lines_go_where_django_has_its_own(loggers: dict[str, logging.Logger]) -> None:
    assert "django.server" in DEFAULT_LOGGING["loggers"]
    console = logging.NullHandler()
    loggers["django.server"].handlers = [console]
    set_up_logging(1)
    assert logger.handlers == [console]
    assert not logger.propagate
    set_up_logging(1)
    assert logger.handlers == [console]


@pytest.mark.parametrize("name", ["django.channels.server", "django.channels"])
def test_a_project_may_send_them_elsewhere(loggers: dict[str, logging.Logger], name: str) -> None:
    own = logging.NullHandler()
    loggers["django.server"].handlers = [logging.NullHandler()]
    loggers[name].handlers = [own]
    set_up_logging(1)
    assert loggers[name].handlers == [own]
    assert logger.propagate


def test_a_project_may_silence_them(loggers: dict[str, logging.Logger]) -> None:
    loggers["django.server"].handlers = [logging.NullHandler()]
    logger.propagate = False
    set_up_logging(1)
    assert logger.handlers == []


@pytest.mark.parametrize(
    ("verbosity", "level"),
    [(0, logging.ERROR), (1, logging.WARNING), (2, logging.INFO), (3, logging.DEBUG)],
)
def test_the_servers_own_log_is_seen(
    loggers: dict[str, logging.Logger],
    capsys: pytest.CaptureFixture[str],
    verbosity: int,
    level: int,
) -> None:
    loggers["aserver"].propagate = False  # pytest has put its handlers back
    assert set_up_logging(verbosity) is not None
    ours = loggers["aserver"]
    assert ours.level == level
    ours.error("two\nlines")
    time = r"\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\]"
    assert re.fullmatch(time + r" ERROR two\n  lines\n", capsys.readouterr().err)


def test_a_project_may_have_the_servers_log_elsewhere(loggers: dict[str, logging.Logger]) -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    assert set_up_logging(1) is None
    assert loggers["aserver"].handlers == []
    assert loggers["aserver"].level == logging.NOTSET
