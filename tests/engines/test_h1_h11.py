"""The h11 parser by itself; what both parsers must do is in `test_h1`."""

import weakref

import h11
import pytest

from aserver.engines.h1_h11 import H11Parser
from aserver.limits import MAX_HEAD_SIZE
from aserver.types import ProtocolError
from tests.fakes import FakeEvents

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def events() -> FakeEvents:
    return FakeEvents(H11Parser)


def test_calls(events: FakeEvents) -> None:
    events.feed(b"POST /a HTTP/1.0\r\nHOST: a\r\nContent-Length: 2\r\n\r\nhi" + GET)
    assert events.calls == [
        ("head", b"POST", b"/a", "1.0", [(b"host", b"a"), (b"content-length", b"2")]),
        ("body", b"hi"),
        ("end",),
        ("head", b"GET", b"/", "1.1", [(b"host", b"a")]),
        ("end",),
    ]
    assert type(events.calls[0][4]) is list


def test_body_is_bytes(events: FakeEvents) -> None:
    events.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
    assert type(events.calls[1][1]) is bytes


def test_upgrade_is_no_pause(events: FakeEvents) -> None:
    events.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + GET)
    assert [call[0] for call in events.calls] == ["head", "end", "head", "end"]


def test_head_larger_than_h11s_own_limit_for_others(events: FakeEvents) -> None:
    """The engine's limit is the one that counts."""
    events.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD_SIZE)
    events.feed(b"\r\n\r\n")
    assert len(events.calls) == 2


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3 * MAX_HEAD_SIZE, 431),
    ],
)
def test_errors_become_the_peers(events: FakeEvents, data: bytes, status: int) -> None:
    with pytest.raises(h11.RemoteProtocolError) as caught:
        events.parser.feed(data)
    with pytest.raises(ProtocolError, match="not a valid HTTP/1 request: ") as refusal:
        events.parser.recover(caught.value, data)
    assert refusal.value.status == status


def test_other_errors_stay_what_they_are(events: FakeEvents) -> None:
    error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught:
        events.parser.recover(error, b"")
    assert caught.value is error


def test_close_lets_go() -> None:
    events = FakeEvents(H11Parser)
    events.feed(GET)
    parser, taker = events.parser, weakref.ref(events)
    parser.close()
    del events
    assert taker() is None
