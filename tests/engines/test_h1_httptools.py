"""The httptools parser by itself; what both parsers must do is in `test_h1`."""

import contextlib
import weakref
from typing import Any

import pytest

from aserver.engines.h1_httptools import HttpToolsParser
from aserver.types import Headers, ProtocolError
from tests.fakes import FakeEvents

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
UPLOAD = UPGRADE.replace(b"GET", b"POST")[:-2] + b"Content-Length: %d\r\n\r\n"


@pytest.fixture
def events() -> FakeEvents:
    return FakeEvents(HttpToolsParser)


def kinds(events: FakeEvents) -> list[str]:
    return [call[0] for call in events.calls]


def test_calls(events: FakeEvents) -> None:
    events.feed(
        b"POST /a HTTP/1.0\r\nHOST: a\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"
        + GET
    )
    fields = [(b"host", b"a"), (b"content-length", b"2"), (b"connection", b"keep-alive")]
    assert events.calls == [
        ("head", b"POST", b"/a", "1.0", fields),
        ("body", b"hi"),
        ("end",),
        ("head", b"GET", b"/", "1.1", [(b"host", b"a")]),
        ("end",),
    ]


def test_values_end_where_their_white_space_begins(events: FakeEvents) -> None:
    events.feed(b"GET / HTTP/1.1\r\nHost:  a \t \r\nX:\t\r\nY: b  c\t\r\n\r\n")
    assert events.calls[0][4] == [(b"host", b"a"), (b"x", b""), (b"y", b"b  c")]


def test_trailers_are_nobodys_headers(events: FakeEvents) -> None:
    events.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    events.feed(b"0\r\nX: y\r\n\r\n" + GET)
    assert events.calls[-2] == ("head", b"GET", b"/", "1.1", [(b"host", b"a")])


@pytest.mark.parametrize("count", [1, 2, 60])
def test_what_follows_an_upgrade(events: FakeEvents, count: int) -> None:
    events.feed(UPGRADE * count + GET)
    assert kinds(events) == ["head", "end"] * (count + 1)
    assert events.calls[-2][2] == b"/"


def test_body_behind_an_upgrade(events: FakeEvents) -> None:
    """httptools would take it for requests."""
    events.feed(UPLOAD % len(GET) + GET + UPLOAD % 2 + b"hi" + GET)
    # (`end` without `head` before it is for nobody: see `H1.on_end`.)
    calls = [call for call, before in zip(events.calls, [("end",), *events.calls], strict=False)
             if call != ("end",) or before != ("end",)]  # fmt: skip
    fields = [(b"host", b"a"), (b"connection", b"upgrade"), (b"upgrade", b"x")]
    assert calls == [
        ("head", b"POST", b"/up", "1.1", [*fields, (b"content-length", b"%d" % len(GET))]),
        ("body", GET),
        ("end",),
        ("head", b"POST", b"/up", "1.1", [*fields, (b"content-length", b"2")]),
        ("body", b"hi"),
        ("end",),
        ("head", b"GET", b"/", "1.1", [(b"host", b"a")]),
        ("end",),
    ]


class Refusing(FakeEvents):
    """An engine that refuses the target `/`, or breaks at it."""

    error: Exception

    def on_head(self, method: bytes, target: bytes, version: str, headers: Headers) -> None:
        super().on_head(method, target, version, headers)
        if target == b"/":
            raise self.error


@pytest.mark.parametrize("before", [b"", UPGRADE, UPGRADE + UPGRADE, UPLOAD % 2 + b"hi"])
def test_refusal_is_passed_on(before: bytes) -> None:
    events = Refusing(HttpToolsParser)
    events.error = ProtocolError(499, "no")
    with pytest.raises(ProtocolError) as caught:
        events.feed(before + GET)
    assert caught.value is events.error
    assert events.calls[-1][2] == b"/"


def test_other_errors_stay_what_they_are() -> None:
    events = Refusing(HttpToolsParser)
    events.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught:
        events.feed(GET)
    assert caught.value is events.error


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("x")])
def test_errors_that_are_none_of_httptools(events: FakeEvents, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        events.parser.recover(error, b"")
    assert caught.value is error


@pytest.mark.parametrize(
    "data", [b"\x00\r\n\r\n", GET[:-2] + b"\x00: y\r\n\r\n", UPGRADE + b"\x00"]
)
def test_errors_become_the_peers(events: FakeEvents, data: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a valid HTTP/1 request: ") as caught:
        events.feed(data)
    assert caught.value.status == 400


@pytest.mark.parametrize("data", [GET, UPGRADE + GET, UPLOAD % 2 + b"hi", UPLOAD % 2, GET[:-4]])
def test_close_lets_go(data: bytes) -> None:
    events: Any = FakeEvents(HttpToolsParser)
    events.feed(data)
    parser, taker = events.parser, weakref.ref(events)
    parser.close()
    del events
    assert taker() is None


def test_close_lets_go_of_a_refusal() -> None:
    events = Refusing(HttpToolsParser)
    events.error = ProtocolError(499, "no")
    with contextlib.suppress(ProtocolError):
        events.feed(GET)
    parser, taker = events.parser, weakref.ref(events)
    del events.error
    parser.close()
    del events
    assert taker() is None
