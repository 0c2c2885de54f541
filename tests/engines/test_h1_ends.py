"""How HTTP/1 connections end: by the peer, by the application, by the server."""

import pytest

from tests.engines.wire import Wire, get, plain, post

# The peer sends no more


def test_eof_while_idle(wire: Wire) -> None:
    assert not wire.engine.feed_eof()
    assert wire.calls == []


def test_eof_between_requests(wire: Wire) -> None:
    wire.feed(get())
    wire.answer()
    assert not wire.engine.feed_eof()


def test_eof_in_a_head(wire: Wire) -> None:
    wire.feed(get()[:-1])
    assert not wire.engine.feed_eof()
    assert wire.cycles == []


def test_eof_in_a_body(wire: Wire) -> None:
    wire.feed(post(5), b"hell")
    assert not wire.engine.feed_eof()
    assert wire.current.calls == ["start", "lost"]
    assert not wire.current.complete


def test_eof_before_the_response(wire: Wire) -> None:
    wire.feed(get())
    assert wire.engine.feed_eof()
    assert wire.current.calls == ["start"]
    wire.answer(b"hello")
    assert wire.sent == plain(b"hello", "connection: close")
    assert wire.calls == ["close"]


def test_eof_behind_several_requests(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2"))
    assert wire.engine.feed_eof()
    wire.answer(b"1")
    wire.answer(b"2")
    assert wire.sent == plain(b"1") + plain(b"2")
    assert wire.calls == ["idle", "half-closed", "idle", "close"]


def test_eof_in_a_head_behind_a_request(wire: Wire) -> None:
    wire.feed(get("/1") + b"GET /2")
    assert wire.engine.feed_eof()
    wire.answer(b"1")
    assert wire.sent == plain(b"1")  # it could be a request until it was looked at
    assert wire.calls == ["idle", "head", "close"]
    assert len(wire.cycles) == 1


def test_eof_in_the_response(wire: Wire) -> None:
    wire.feed(get("/1"))
    wire.begin()
    wire.feed(get("/2"))
    assert not wire.engine.feed_eof()
    assert [cycle.calls for cycle in wire.cycles] == [["start", "lost"]]
    assert wire.calls == []


def test_eof_in_a_response_that_ends_with_the_connection(wire: Wire) -> None:
    """What was not sent must not look complete."""
    wire.feed(get(version="1.0"))
    wire.begin(body=b"a")
    assert not wire.engine.feed_eof()
    assert wire.current.disconnected
    assert wire.calls == ["reset"]


def test_eof_behind_a_refusal(wire: Wire) -> None:
    wire.feed(get() + b"?\r\n\r\n")
    assert wire.engine.feed_eof()
    wire.answer()
    assert wire.statuses == [200, 400]
    assert wire.calls == ["idle", "close"]


def test_eof_while_draining_a_request(wire: Wire) -> None:
    wire.feed(post(5))
    wire.answer()
    assert not wire.engine.feed_eof()


def test_hang_up_reaches_who_is_being_answered(wire: Wire) -> None:
    wire.engine.hang_up()
    wire.feed(get("/1") + get("/2"))
    assert wire.engine.feed_eof()
    wire.engine.hang_up()
    assert [cycle.calls for cycle in wire.cycles] == [["start", "hung up"]]


# Breaking off


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"10")]])
def test_abort_of_a_framed_response(wire: Wire, fields: list[tuple[bytes, bytes]]) -> None:
    wire.feed(get())
    wire.begin(200, fields, b"abc")
    assert wire.sent.endswith(b"abc" if fields else b"3\r\nabc\r\n")
    wire.engine.abort()
    assert wire.sent == b""
    assert wire.calls == ["close"]
    wire.feed(get())
    assert len(wire.cycles) == 1


def test_abort_of_a_response_that_ends_with_the_connection(wire: Wire) -> None:
    wire.feed(get(version="1.0"))
    wire.begin(body=b"abc")
    wire.engine.abort()
    assert wire.calls == ["reset"]


def test_drain_while_idle_is_the_connections_business(wire: Wire) -> None:
    wire.engine.drain()
    assert wire.calls == []
    wire.feed(get())
    wire.answer(b"last")
    assert wire.sent == plain(b"last", "connection: close")
    assert wire.calls == ["close"]


def test_drain_before_the_response(wire: Wire) -> None:
    wire.feed(get())
    wire.engine.drain()
    wire.answer()
    assert wire.sent == plain(b"", "connection: close")
    assert wire.calls == ["close"]


def test_drain_in_the_response(wire: Wire) -> None:
    wire.feed(get())
    wire.begin(body=b"a")
    wire.engine.drain()
    assert wire.sent
    wire.go_on(b"b", more=False)
    assert wire.sent == b"1\r\nb\r\n0\r\n\r\n"
    assert wire.calls[-1] == "close"


def test_drain_with_requests_that_wait(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2"))
    wire.engine.drain()
    wire.answer(b"1")
    wire.answer(b"2")
    assert wire.sent == plain(b"1") + plain(b"2", "connection: close")
    assert wire.calls == ["idle", "close"]


def test_drain_with_a_body_on_its_way(wire: Wire) -> None:
    wire.feed(post(5))
    wire.engine.drain()
    wire.answer(b"1")
    assert wire.sent == plain(b"1", "connection: close")
    assert wire.calls == ["linger"]


def test_drain_while_the_rest_of_a_request_is_read(wire: Wire) -> None:
    wire.feed(post(5))
    wire.answer()
    wire.engine.drain()
    wire.feed(b"hello")
    assert wire.calls == ["drain", "idle", "close"]


def test_lost(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2") + post(5))
    wire.engine.lost()
    assert [cycle.calls for cycle in wire.cycles] == [["start", "lost"]]


def test_lost_behind_a_response(wire: Wire) -> None:
    wire.feed(get())
    wire.answer()
    wire.engine.lost()
    assert wire.cycles[0].calls == ["start"]


def test_eof_that_is_heard_twice(wire: Wire) -> None:
    """Event loops tell of it again when reading is resumed."""
    wire.feed(get("/1") + get("/2"))
    assert wire.engine.feed_eof()
    wire.answer(b"1")
    wire.begin(body=b"2")
    assert wire.engine.feed_eof()
    wire.go_on(b"", more=False)
    assert wire.cycles[1].calls == ["start"]
    assert wire.calls == ["idle", "half-closed", "idle", "close"]


def test_eof_in_a_body_behind_a_request(wire: Wire) -> None:
    wire.feed(get("/1") + post(5) + b"hell")
    assert wire.engine.feed_eof()
    wire.answer(b"1")
    assert wire.cycles[1].calls == ["start", "lost"]
    assert not wire.cycles[1].complete
    assert wire.calls == ["idle", "close"]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_eof_that_came_with_the_request(wire: Wire, version: str) -> None:
    """The loop tells of it when the application has begun to stream already."""
    wire.feed(get(version=version))
    wire.sink.finished = True
    wire.begin(body=b"1")
    assert wire.engine.feed_eof()
    wire.go_on(b"2", more=False)
    assert wire.current.calls == ["start"]
    assert wire.calls[-1] == "close"
    assert b"2" in wire.sent


def test_eof_that_is_near_may_be_behind_another_request(wire: Wire) -> None:
    """Which nobody has read yet when the response before it is complete."""
    wire.feed(get("/1"))
    wire.sink.finished = True
    wire.begin(body=b"1")
    wire.go_on(b"2", more=False)
    assert "close" not in wire.calls
    wire.feed(get("/2"))
    assert wire.engine.feed_eof()
    wire.answer(b"3")
    assert len(wire.cycles) == 2
    assert wire.calls[-1] == "close"
    assert b"3" in wire.sent


def test_eof_behind_a_response_to_who_was_about_to_leave(wire: Wire) -> None:
    wire.feed(get())
    wire.sink.finished = True
    wire.begin(body=b"1")
    wire.go_on(b"2", more=False)
    assert not wire.engine.feed_eof()


def test_eof_in_the_middle_of_a_stream(wire: Wire) -> None:
    wire.feed(get())
    wire.begin(body=b"1")
    wire.sink.finished = True
    assert not wire.engine.feed_eof()
    assert wire.current.calls == ["start", "lost"]


def test_half_an_empty_line_is_no_head(wire: Wire) -> None:
    wire.feed(get())
    wire.answer()
    assert wire.calls == ["idle"]
    wire.feed(b"\r")
    assert wire.calls == []
    wire.feed(b"\n")
    assert not wire.mid_head()
    wire.feed(get())
    wire.answer()
    assert wire.calls == ["idle"]
    wire.feed(b"\r", b"X")
    assert wire.statuses[-1] == 400
