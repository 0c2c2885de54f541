"""Which notes a WebSocket leaves, and that taking them raises nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from aserver.access_exclusions import compile_exclusions
from aserver.access_format import Moment, clock, compile_format
from aserver.access_notes import Note, SocketLog, record_source
from aserver.seams import Head
from aserver.types import Address, Request
from tests.test_access_format import SWITCHED, Answer, fail_if_called

REFUSED = Answer(403)


class SocketExchange:
    """One WebSocket."""

    accepted = True
    close_code = 1000
    closed_by = "client"
    messages_received = 0
    messages_sent = 0
    received = 0
    sent = 0

    def __init__(self, target: bytes = b"/a?b", **options: Any) -> None:
        self.request = Request("GET", target, "1.1", [])
        self.client: Address | None = ("192.0.2.7", 1)
        self.began = clock()
        vars(self).update(options)


class Log:
    """The log of WebSockets alone, with a list."""

    def __init__(self, text: str, *patterns: str) -> None:
        self.format = compile_format(text)
        self.notes: list[Note] = []
        self.errors: list[Exception] = []
        self.sockets = SocketLog(
            self.format.new_socket_records,
            (self.notes, (), fail_if_called, self.errors.append),
            compile_exclusions(patterns),
            timed=self.format.timed,
        )

    @property
    def lines(self) -> list[str]:
        return self.format.lines(self.notes, Moment(0)).decode("ascii").splitlines()

    def run(self, exchange: SocketExchange, head: Head | None = SWITCHED) -> list[str]:
        """All that happens to a WebSocket."""
        self.sockets.connecting(exchange)
        if exchange.accepted:
            self.sockets.connected(exchange)
        self.sockets.record(exchange, head)
        return self.lines


def words(lines: list[str]) -> list[str]:
    return [line.split('"')[1] for line in lines]


def test_daphne_and_an_accepted_one() -> None:
    expected = ["WSCONNECTING /a", "WSCONNECT /a", "WSDISCONNECT /a"]
    assert words(Log("daphne").run(SocketExchange())) == expected


@pytest.mark.parametrize("closed_by", ["application", "client", "network"])
def test_daphne_and_one_that_the_application_refused(closed_by: str) -> None:
    """Even if the client left before all of the answer was sent."""
    exchange = SocketExchange(accepted=False, closed_by=closed_by)
    expected = ["WSCONNECTING /a", "WSREJECT /a", "WSDISCONNECT /a"]
    assert words(Log("daphne").run(exchange, REFUSED)) == expected


@pytest.mark.parametrize(
    ("closed_by", "head"), [("server", REFUSED), ("client", None), ("network", None)]
)
def test_daphne_and_one_that_nobody_refused(closed_by: str, head: Head | None) -> None:
    exchange = SocketExchange(accepted=False, closed_by=closed_by)
    assert words(Log("daphne").run(exchange, head)) == ["WSCONNECTING /a", "WSDISCONNECT /a"]


def test_one_line_at_the_end() -> None:
    log = Log("%(r)s %(s)s %(closed_by)s")
    log.sockets.connecting(SocketExchange())
    log.sockets.connected(SocketExchange())
    assert not log.notes
    assert log.run(SocketExchange()) == ["GET /a?b HTTP/1.1 101 client"]
    refused = SocketExchange(accepted=False, closed_by="application", close_code=1006)
    assert log.run(refused, REFUSED)[1:] == ["GET /a?b HTTP/1.1 403 application"]


@pytest.mark.parametrize("text", ["common", "json", "%(U)s"])
def test_without_an_answer_there_is_no_line(text: str) -> None:
    assert Log(text).run(SocketExchange(accepted=False), None) == []


@pytest.mark.parametrize("text", ["daphne", "%(U)s"])
def test_exclusions(text: str) -> None:
    log = Log(text, "/health", "/ws/*")
    assert log.run(SocketExchange(b"/health?a")) == []
    assert log.run(SocketExchange(b"/ws/1")) == []
    assert all("/healthy" in line for line in log.run(SocketExchange(b"/healthy")))
    assert len(log.notes) == (3 if text == "daphne" else 1)
    assert not log.errors


def test_the_clock_is_read_only_where_a_duration_is_asked_for() -> None:
    assert not Log("daphne").sockets.timed
    assert Log("json").sockets.timed
    exchange = SocketExchange()
    del exchange.began
    assert len(Log("common").run(exchange)) == 1


@pytest.mark.parametrize("patterns", [(), ("/health",)])
@pytest.mark.parametrize("text", ["daphne", "%(U)s", "json"])
def test_nothing_raises(text: str, patterns: tuple[str, ...]) -> None:
    log = Log(text, *patterns)
    events: list[Callable[[], None]] = [
        lambda: log.sockets.connecting(None),  # type: ignore[arg-type]
        lambda: log.sockets.connected(None),  # type: ignore[arg-type]
        lambda: log.sockets.record(None, SWITCHED),  # type: ignore[arg-type]
    ]
    for event in events:
        event()
    assert not log.notes
    assert [type(error) for error in log.errors] == [AttributeError] * (
        3 if text == "daphne" else 1
    )


def test_a_function_calls_at_certain_lengths() -> None:
    environment: dict[str, Any] = {}
    exec("\n".join(record_source("new", ["request", "head"])), environment)
    notes: list[Note] = []
    turns: list[int] = []
    record = environment["new"](notes, {0, 2}, lambda: turns.append(len(notes)), fail_if_called)
    for _ in range(4):
        record(SocketExchange(), 1)
    assert turns == [0, 2]
    assert [head for _, head in notes] == [1] * 4
