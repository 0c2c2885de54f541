"""HTTP/1 on bytes, over both parsers: the order of exchanges, refusals, and who does not read."""

from collections.abc import Callable

import pytest

from aserver.limits import DRAIN_BYTES
from aserver.types import ProtocolError
from tests.engines.wire import BAD, CHUNKED, REFUSAL, Wire, get, plain, post
from tests.fakes import LIMITS, FakeCycle

# Pipelining


def test_responses_in_order(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2") + post(2) + b"hi" + get("/4"))
    for number in range(1, 5):
        assert len(wire.cycles) == number  # the next is not looked at before its turn
        wire.answer(b"%d" % number)
        assert wire.sent == plain(b"%d" % number)
    assert wire.cycles[2].body == b"hi"
    assert wire.calls == ["idle"] * 4


def test_many_requests_in_small_pieces(parser: str) -> None:
    """Even if the transport has read ahead when it is asked to stop."""
    wire = Wire(parser, limits=LIMITS._replace(buffer=500))
    data = b"".join(get(f"/{number}") for number in range(100))
    for start in range(0, len(data), 7):
        wire.feed(data[start : start + 7])
    assert len(wire.cycles) == 1
    assert not wire.reading()
    for _ in range(100):
        wire.answer()
    assert [cycle.request.target for cycle in wire.cycles] == [b"/%d" % i for i in range(100)]
    assert wire.reading()


def test_body_behind_a_request_in_progress(wire: Wire) -> None:
    """A body that waits in the queue is taken in order, however it is cut."""
    data = bytes(range(256)) * 40
    wire.feed(get("/1") + post(len(data)) + data[:3000])
    wire.feed(data[3000:3100], data[3100:] + get("/3") + get("/4"))
    assert len(wire.cycles) == 1
    wire.answer()
    assert wire.current.body == data
    assert wire.current.complete
    wire.answer()
    wire.answer()
    wire.answer()
    assert wire.cycles[3].request.target == b"/4"
    assert wire.calls == ["idle"] * 4


def test_last_request_of_the_queue_closes(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2", "Connection: close") + get("/3"))
    wire.answer(b"1")
    assert wire.sent == plain(b"1")
    wire.answer(b"2")
    assert wire.sent == plain(b"2", "connection: close")
    assert wire.calls == ["idle", "linger"]  # bytes that came are unread: no reset
    assert len(wire.cycles) == 2


def test_upgrade_is_served_as_http(wire: Wire) -> None:
    upgrade = get("/ws", "Connection: Upgrade", "Upgrade: websocket")
    wire.feed(upgrade + get("/2") + upgrade + b"GET /4 HT")
    for number in range(3):
        wire.answer(b"%d" % number)
        assert wire.sent == plain(b"%d" % number)
    wire.feed(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert wire.current.request.target == b"/4"


# Refusals


def test_refusal(wire: Wire) -> None:
    wire.feed(BAD)
    assert wire.sent == REFUSAL
    assert wire.calls == ["linger"]
    wire.feed(get())
    assert wire.cycles == []
    assert wire.sent == b""


def test_refusal_comes_behind_the_response_in_progress(wire: Wire) -> None:
    wire.feed(get("/1"))
    wire.feed(get("/2") + BAD)
    assert wire.sent == b""
    wire.begin(body=b"1")
    wire.go_on(b"", more=False)
    assert wire.sent.endswith(b"1\r\n1\r\n0\r\n\r\n")
    assert wire.calls == ["idle"]
    wire.answer(b"2")
    assert wire.sent == plain(b"2") + REFUSAL
    assert wire.calls == ["idle", "linger"]
    assert [error.status for error in wire.sink.refused] == [505]  # told, so that it is logged


def test_no_refusal_behind_a_close(wire: Wire) -> None:
    wire.feed(get() + BAD)
    wire.answer(b"", (b"connection", b"close"))
    assert wire.statuses == [200]
    assert wire.calls == ["linger"]
    assert wire.all_refusals == []


def test_broken_body_before_the_response(wire: Wire) -> None:
    wire.feed(CHUNKED, b"2\r\nhi\r\n", b"?\r\n")
    assert wire.current.calls == ["start", "lost"]
    assert wire.statuses == [400]
    assert wire.calls == ["linger"]


def test_broken_body_behind_the_response_head(wire: Wire) -> None:
    wire.feed(CHUNKED)
    wire.begin(body=b"a")
    assert wire.sent.endswith(b"1\r\na\r\n")
    wire.feed(b"?\r\n")
    assert wire.current.disconnected
    assert wire.sent == b""  # and no last chunk
    assert wire.calls == ["close"]


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: get(version="2.0", method="HEAD"),
        lambda: get("/", "X : y", method="HEAD"),
        lambda: get("/", "X: \x01", method="HEAD"),
        lambda: get("/", "Host: a", method="HEAD"),
        lambda: get("/", "Transfer-Encoding: chunked", method="HEAD") + b"?\r\n",
    ],
)
@pytest.mark.parametrize("behind", [b"", get()])
@pytest.mark.parametrize("bytewise", [False, True])
def test_refusal_of_a_head_request_has_no_body(
    wire: Wire, request_of: Callable[[], bytes], behind: bytes, bytewise: bool
) -> None:
    data = behind + request_of()
    if bytewise:
        wire.feed_bytewise(data)
    else:
        wire.feed(data)
    if behind:
        wire.answer()
    assert wire.sent.endswith(b"connection: close\r\n\r\n")
    (error,) = wire.all_refusals
    assert error.status in (400, 505)


@pytest.mark.parametrize("behind", [b"", get(method="HEAD")])
def test_refusal_of_others_has_one(wire: Wire, behind: bytes) -> None:
    wire.feed(behind + get(version="2.0"))
    if behind:
        wire.answer()
    assert wire.sent.endswith(b"HTTP/1.1\n")


def test_who_keeps_the_connection_is_decided_by_connection_alone(wire: Wire) -> None:
    """llhttp would end it for other fields, too, and then refuse what follows."""
    for _ in range(2):
        wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n")
        wire.answer()
    assert wire.refusals == []
    assert wire.statuses == [200, 200]


def test_next_head_begins_in_the_read_that_ends_a_body(wire: Wire) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    wire.feed(b"hello" + b"GET / HTTP/1.1\r\n")
    assert not wire.engine.mid_head  # it is not its turn
    wire.answer()
    begun = [wire.engine.mid_head]
    wire.feed(b"Host: a\r\n\r\n")
    begun.append(wire.engine.mid_head)
    wire.answer()
    assert begun == [True, False]
    assert wire.statuses == [200, 200]


# A peer that does not read


def test_room(wire: Wire) -> None:
    wire.feed(get())
    assert wire.begin()
    wire.sink.write_paused = True
    assert not wire.go_on(b"x")
    wire.sink.write_paused = False
    wire.engine.resume()
    assert wire.current.calls == ["start", "resume"]
    assert wire.go_on(b"x")


def test_no_room_in_a_transport_that_is_closing(wire: Wire) -> None:
    wire.feed(get())
    assert wire.begin()
    wire.sink.closing = True
    assert not wire.go_on(b"x")


def unread_response(wire: Wire, *requests: bytes) -> None:
    """Requests, the first of them answered, but the peer does not read that."""
    wire.feed(b"".join(requests))
    wire.sink.write_paused = True
    wire.answer(b"1")


def read_it(wire: Wire) -> None:
    """Now the peer reads."""
    wire.sink.write_paused = False
    wire.engine.resume()


def test_who_does_not_read_gets_no_more_responses(wire: Wire) -> None:
    unread_response(wire, get("/1"), get("/2"), get("/3"))
    assert len(wire.cycles) == 1
    assert not wire.reading()
    read_it(wire)
    assert len(wire.cycles) == 2
    wire.answer(b"2")
    wire.answer(b"3")
    assert wire.statuses == [200, 200, 200]
    assert wire.reading()


def test_who_does_not_read_is_not_read_from(wire: Wire) -> None:
    unread_response(wire, get("/1"))
    assert not wire.reading()
    assert wire.calls == ["idle"]
    read_it(wire)
    assert wire.reading()
    assert wire.calls == ["idle"]
    wire.feed(get("/2"))
    assert wire.current.request.target == b"/2"


def test_unread_response_before_the_last_request(wire: Wire) -> None:
    unread_response(wire, get("/1"), get("/2", "Connection: close"))
    read_it(wire)
    wire.answer(b"2")
    assert wire.statuses == [200, 200]
    assert wire.calls[-1] == "close"


def test_unread_response_before_a_refusal(wire: Wire) -> None:
    unread_response(wire, get("/1"), BAD)
    assert wire.statuses == [200]
    read_it(wire)
    assert wire.sent == REFUSAL
    assert wire.calls[-1] == "linger"


def test_unread_response_while_draining(wire: Wire) -> None:
    unread_response(wire, get("/1"))
    wire.engine.drain()
    read_it(wire)
    assert wire.calls[-1] == "linger"  # reading was paused: its next request may lie unread


def test_unread_early_response(wire: Wire) -> None:
    """The rest of the request is read, but no other request begun."""
    unread_response(wire, post(5))
    assert wire.calls == ["drain"]
    assert wire.reading()
    wire.feed(b"hello" + get("/2"))
    assert not wire.reading()
    assert len(wire.cycles) == 1
    read_it(wire)
    assert wire.cycles[1].started
    assert wire.reading()


def test_unread_early_response_before_a_refusal(wire: Wire) -> None:
    unread_response(wire, post(5))
    wire.feed(b"hello" + get("/2") + b"?\r\n\r\n")
    assert wire.statuses == [200]
    read_it(wire)
    wire.answer()
    assert wire.statuses == [200, 400]


def test_resume_between_responses_does_nothing(wire: Wire) -> None:
    wire.feed(get())
    wire.answer()
    wire.engine.resume()
    assert wire.calls == ["idle"]


def test_who_does_not_read_is_asked_about_again(wire: Wire) -> None:
    """The transport may be full again with each response."""
    unread_response(wire, get("/1"), get("/2"), get("/3"))
    for number in range(2, 4):
        read_it(wire)
        assert len(wire.cycles) == number
        wire.sink.write_paused = True
        wire.answer()
    assert not wire.reading()
    read_it(wire)
    assert wire.reading()
    assert wire.calls[-1] == "idle"


# An application that responds while the request is being fed


def eagerly(wire: Wire, cycle: FakeCycle) -> None:
    wire.answer(cycle.request.target)


@pytest.mark.parametrize("whole", [True, False])
def test_eager_application(parser: str, whole: bool) -> None:
    wire = Wire(parser, eagerly)
    data = get("/1") + post(5) + b"hello" + get("/3") + CHUNKED + b"1\r\na\r\n0\r\n\r\n" + get("/5")
    if whole:
        wire.feed(data)
    else:
        wire.feed_bytewise(data)
    assert wire.sent == b"".join(map(plain, (b"/1", b"/", b"/3", b"/", b"/5")))
    assert wire.reading()
    assert not wire.mid_head()
    assert wire.calls[-1] == "idle"


def test_eager_application_closes(parser: str) -> None:
    wire = Wire(parser, eagerly)
    wire.feed(get("/1", "Connection: close") + get("/2"))
    assert wire.sent == plain(b"/1", "connection: close")
    assert wire.calls == ["linger"]


def test_eager_application_and_a_large_body(parser: str) -> None:
    wire = Wire(parser, eagerly)
    wire.feed(post(DRAIN_BYTES + 1) + bytes(DRAIN_BYTES + 1) + get("/2"))
    assert wire.sent == plain(b"/", "connection: close")
    assert wire.calls == ["linger"]


def slow_at_first(wire: Wire, cycle: FakeCycle) -> None:
    if cycle is not wire.cycles[0]:
        wire.answer()


def test_eager_application_behind_a_slow_one(parser: str) -> None:
    """Many that wait are answered one after the other, not one inside the other."""
    wire = Wire(parser, slow_at_first)
    wire.feed(get() * 3000)
    assert not wire.reading()
    wire.answer()
    assert wire.statuses == [200] * 3000
    assert wire.reading()
    assert wire.calls[-1] == "idle"


@pytest.mark.parametrize("rest", [b"", b"GET", get()[:-1]])
def test_eager_application_behind_a_slow_one_and_the_end(parser: str, rest: bytes) -> None:
    """Everybody who asked is answered, however little time it takes."""
    wire = Wire(parser, slow_at_first)
    wire.feed(get() * 5 + rest)
    assert wire.engine.feed_eof()
    wire.answer()
    assert wire.statuses == [200] * 5
    assert wire.calls[-1] == "close"


def test_eager_application_behind_a_slow_one_and_a_drain(parser: str) -> None:
    wire = Wire(parser, slow_at_first)
    wire.feed(get() * 5)
    wire.engine.drain()
    wire.answer()
    assert wire.sent == plain() * 4 + plain(b"", "connection: close")
    assert wire.calls[-1] == "close"


def test_eager_application_behind_a_slow_one_and_a_refusal(parser: str) -> None:
    wire = Wire(parser, slow_at_first)
    wire.feed(get() * 5 + BAD + get())
    wire.answer()
    assert wire.sent == plain() * 5 + REFUSAL
    assert wire.calls[-1] == "linger"
    assert [error.status for error in wire.sink.refused] == [505]


@pytest.mark.parametrize("head", [post(6), CHUNKED])
@pytest.mark.parametrize("moment", ["feed", "feed_eof"])
def test_application_that_answers_in_the_middle_of_a_body(
    parser: str, head: bytes, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a piece of it is passed on, or its end."""
    wire = Wire(parser)
    plainly = getattr(FakeCycle, moment)

    def act(cycle: FakeCycle, *data: bytes) -> None:
        plainly(cycle, *data)
        if wire.engine.cycle is cycle:
            wire.answer(b"early")

    monkeypatch.setattr(FakeCycle, moment, act)
    body = b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n" if head is CHUNKED else b"abcdef"
    data = (head + body) * 2 + get("/next")
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))], [head, body] * 2):
        wire = Wire(parser)
        wire.feed(*pieces)
        assert wire.sent == plain(b"early") * 2
        assert wire.reading()
        assert wire.refusals == []
        assert len(wire.cycles) == (2 if pieces[-1] is body else 3)


def test_application_that_goes_on_in_resume(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(parser)
    wire.feed(get("/1") + get("/2"))
    wire.begin(body=b"a")
    wire.sink.write_paused = True
    monkeypatch.setattr(FakeCycle, "resume", lambda cycle: wire.go_on(b"b", more=False))
    read_it(wire)
    assert wire.statuses == [200]
    assert wire.current.request.target == b"/2"


def test_eager_application_that_is_not_read(parser: str) -> None:
    wire = Wire(parser, eagerly)
    wire.sink.write_paused = True
    wire.feed(get("/1") + get("/2") + post(3) + b"abc")
    assert wire.statuses == [200]
    read_it(wire)
    assert wire.statuses == [200, 200]
    assert wire.calls[-1] == "idle"


def test_repr(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2") + post(5))
    held = len(get("/2") + post(5))
    assert repr(wire.engine) == f"<H1 reading=HELD writing=AWAITED held={held}>"
    wire.answer()
    wire.answer()
    assert repr(wire.engine) == "<H1 reading=BODY writing=AWAITED held=0>"
    wire.begin()
    assert repr(wire.engine) == "<H1 reading=BODY writing=CHUNKED held=0>"


def test_a_programming_error_is_not_taken_for_the_peers(
    parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(parser)
    monkeypatch.setattr(wire.sink, "on_request", lambda engine, request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        wire.engine.feed(get())


def test_reason_names_the_mistake(wire: Wire) -> None:
    with pytest.raises(ProtocolError, match="there is a control character in the head") as caught:
        wire.engine.feed(b"\x00\r\n\r\n")
    assert caught.value.status == 400
