"""HTTP/1 on bytes, over both parsers: what is found in requests, and the order of exchanges."""

import tracemalloc
from collections.abc import Iterator

import pytest

from aserver.limits import DRAIN_BYTES, MAX_HEAD_SIZE, READ_HIGH_WATER
from aserver.types import ProtocolError
from tests.corpus import Case, load
from tests.engines.wire import BAD, CHUNKED, REFUSAL, Wire, exchange, get, lines, plain, post
from tests.fakes import PARSERS, FakeCycle

# Requests


def splits(case: Case) -> Iterator[list[bytes]]:
    """The whole, its pieces, single bytes, and every way to cut it in two."""
    data = case.data
    yield [data]
    yield case.pieces
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("case", load("valid") + load("refused"), ids=str)
def test_corpus(case: Case, name: str) -> None:
    expected = [200] * sum(found.complete for found in case.requests)
    if case.refused is not None:
        other = case.httptools if name == "httptools" else None
        expected.append(other or case.refused)
    for pieces in splits(case):
        found, statuses = exchange(name, pieces)
        assert found == case.requests, pieces
        assert statuses == expected, pieces


def test_body_as_it_comes(wire: Wire) -> None:
    wire.feed(post(11))
    assert wire.cycles[0].calls == ["start"]
    wire.feed(b"hello")
    assert wire.cycles[0].body == b"hello"
    assert not wire.cycles[0].complete
    wire.feed(b" world")
    assert wire.cycles[0].body == b"hello world"
    assert wire.cycles[0].complete


def test_large_body_in_large_pieces(wire: Wire) -> None:
    data = bytes(range(256)) * 1024
    wire.feed(post(len(data)) + data[:100_000])
    wire.engine.consumed(wire.current, 100_000)
    wire.feed(data[100_000:] + get("/next"))
    assert wire.cycles[0].body == data
    assert wire.cycles[1].request.target == b"/next"


@pytest.mark.parametrize("piece", [MAX_HEAD_SIZE, 4096, 1000])
def test_endless_head(wire: Wire, piece: int) -> None:
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    fed = 0
    while not wire.refusals:
        wire.feed(b"x" * piece)
        fed += piece
        assert fed <= MAX_HEAD_SIZE + max(piece, 4096)
    assert fed > MAX_HEAD_SIZE - piece
    assert wire.refusals[0].status == 431
    assert wire.sent.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_endless_head_to_the_byte(wire: Wire) -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    wire.feed(start)
    for _ in range(len(start), MAX_HEAD_SIZE, 1):
        wire.feed(b"x")
    assert wire.refusals == []
    wire.feed(b"x")
    assert wire.statuses == [431]


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_endless_line_of_many(wire: Wire, start: bytes) -> None:
    wire.feed(start)
    for _ in range(2 * MAX_HEAD_SIZE // 100):
        wire.feed(b"x" * 98 + b":\r\n" if b"\n" in start else b"x" * 100)
        if wire.refusals:
            break
    assert wire.statuses == [431]


def test_head_within_the_limit(wire: Wire) -> None:
    fields = [f"X-{i}: {'x' * 980}" for i in range(64)]
    request = get("/", *fields)
    assert MAX_HEAD_SIZE - 4096 < len(request) < MAX_HEAD_SIZE
    wire.feed(request, get("/next"))
    assert [len(cycle.request.headers) for cycle in wire.cycles] == [65, 1]
    assert not wire.refusals


@pytest.mark.parametrize("line", [b"X: y\r\n", b"x" * 100])
def test_endless_trailers(wire: Wire, line: bytes) -> None:
    wire.feed(CHUNKED, b"3\r\nabc\r\n", b"0\r\n")
    tracemalloc.start()
    try:
        for _ in range(4 * MAX_HEAD_SIZE // len(line)):
            wire.feed(line)
        assert tracemalloc.get_traced_memory()[0] < 64 * MAX_HEAD_SIZE
    finally:
        tracemalloc.stop()
    assert wire.statuses == [431]
    assert wire.cycles[0].disconnected
    assert not wire.cycles[0].complete


def test_endless_chunk_extension(wire: Wire) -> None:
    wire.feed(CHUNKED, b"3\r\nabc\r\n", b"3;")
    for _ in range(2 * MAX_HEAD_SIZE // 100):
        wire.feed(b"x" * 100)
    assert wire.statuses == [431]


def test_many_small_chunks_are_no_trailers(wire: Wire) -> None:
    wire.feed(CHUNKED)
    for _ in range(MAX_HEAD_SIZE // 4):
        wire.feed(b"1\r\nx\r\n")
        wire.engine.consumed(wire.current, 1)
    wire.feed(b"0\r\n\r\n")
    assert len(wire.cycles[0].body) == MAX_HEAD_SIZE // 4
    assert wire.cycles[0].complete
    assert not wire.mid_head()


def test_mid_head(wire: Wire) -> None:
    assert not wire.mid_head()
    wire.feed(b"G")
    assert wire.mid_head()
    wire.feed(get()[1:])
    assert not wire.mid_head()
    wire.answer()
    wire.feed(post(3))
    assert not wire.mid_head()
    wire.feed(b"ab")
    assert not wire.mid_head()


def test_mid_head_behind_a_body(wire: Wire) -> None:
    wire.feed(post(5), b"hel", b"lo" + b"GET")
    wire.answer()
    assert wire.mid_head()
    wire.feed(get("/next")[3:])
    assert not wire.mid_head()
    assert wire.current.request.target == b"/next"


# Backpressure on the request's body


def test_reading_pauses_and_goes_on(wire: Wire) -> None:
    wire.feed(post(1_000_000))
    wire.feed(bytes(READ_HIGH_WATER))
    assert wire.reading()
    wire.feed(bytes(1))
    assert not wire.reading()
    wire.engine.consumed(wire.current, READ_HIGH_WATER // 2)
    assert not wire.reading()
    wire.engine.consumed(wire.current, 1)
    assert wire.reading()


# Pipelining


def test_responses_in_order(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2") + post(2) + b"hi" + get("/4"))
    assert [cycle.started for cycle in wire.cycles] == [True, False, False, False]
    assert wire.cycles[2].body == b"hi"
    for number in range(1, 5):
        wire.answer(b"%d" % number)
        assert wire.sent == plain(b"%d" % number)
    assert wire.calls == ["idle"]


def test_reading_stops_while_requests_wait(wire: Wire) -> None:
    wire.feed(get("/1"))
    assert wire.reading()
    wire.feed(get("/2") + get("/3"))
    assert not wire.reading()
    wire.answer()
    assert not wire.reading()
    wire.answer()
    assert wire.reading()


def test_reading_stays_paused_for_who_waits(wire: Wire) -> None:
    """Whatever the request in progress reads."""
    wire.feed(post(5) + b"hello" + get("/2"))
    assert not wire.reading()
    wire.engine.consumed(wire.current, 5)
    assert not wire.reading()


def test_no_more_than_a_slice_is_parsed_ahead(wire: Wire) -> None:
    request = get("/" + "x" * 75)
    assert len(request) > 100
    wire.feed(request * 500)
    assert 2 <= len(wire.cycles) <= 45
    for _ in range(500):
        assert len(wire.cycles) - sum(cycle.started for cycle in wire.cycles) <= 45
        wire.answer()
    assert len(wire.cycles) == 500
    assert wire.statuses == [200] * 500
    assert wire.reading()
    assert wire.calls == ["idle"]


def test_bytes_that_come_although_reading_stopped(wire: Wire) -> None:
    """A transport may have read ahead when it is asked to stop."""
    data = b"".join(get(f"/{number}") for number in range(100))
    for start in range(0, len(data), 7):
        wire.feed(data[start : start + 7])
    assert len(wire.cycles) == 2
    for _ in range(100):
        wire.answer()
    assert [cycle.request.target for cycle in wire.cycles] == [b"/%d" % i for i in range(100)]


def test_body_behind_a_request_in_progress(wire: Wire) -> None:
    """A body that waits in the queue is taken in order, however it is cut."""
    data = bytes(range(256)) * 40
    wire.feed(get("/1") + post(len(data)) + data[:3000])
    wire.feed(data[3000:3100], data[3100:] + get("/3") + get("/4"))
    assert len(wire.cycles) == 2  # the third is not looked at before the first is answered
    wire.answer()
    assert wire.current.body == data
    assert wire.current.complete
    wire.answer()
    wire.answer()
    wire.answer()
    assert wire.cycles[3].request.target == b"/4"
    assert wire.calls == ["idle"]


def test_last_request_of_the_queue_closes(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2", "Connection: close") + get("/3"))
    wire.answer(b"1")
    assert wire.sent == plain(b"1")
    wire.answer(b"2")
    assert wire.sent == plain(b"2", "connection: close")
    assert wire.calls == ["close"]
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
    assert wire.calls == []
    wire.answer(b"2")
    assert wire.sent == plain(b"2") + REFUSAL
    assert wire.calls == ["linger"]


def test_no_refusal_behind_a_close(wire: Wire) -> None:
    wire.feed(get() + BAD)
    wire.answer(b"", (b"connection", b"close"))
    assert wire.statuses == [200]
    assert wire.calls == ["close"]


def test_broken_body_of_a_request_that_waits(wire: Wire) -> None:
    wire.feed(get("/1") + CHUNKED + b"2\r\nhi\r\n?\r\n")
    assert wire.cycles[1].disconnected
    wire.answer()
    assert not wire.cycles[1].started
    assert wire.statuses == [200, 400]
    assert wire.calls == ["linger"]


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


def test_refusal_found_behind_the_queue(wire: Wire) -> None:
    """What was not parsed yet turns out to be no request when it is its turn."""
    requests = get("/" + "x" * 1000) * 8
    wire.feed(requests + b"what?\r\n\r\n")
    assert wire.refusals == []
    for _ in range(8):
        wire.answer()
    assert wire.statuses == [200] * 8 + [400]
    assert wire.calls == ["linger"]
    assert [error.status for error in wire.sink.refused] == [400]  # told, so that it is logged


def test_who_keeps_the_connection_is_decided_by_connection_alone(wire: Wire) -> None:
    """llhttp would end it for this field, too, and then refuse what follows."""
    for _ in range(2):
        wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n")
        wire.answer()
    assert wire.refusals == []
    assert wire.statuses == [200, 200]


def test_next_head_begins_in_the_read_that_ends_a_body(wire: Wire) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    wire.feed(b"hello" + b"GET / HTTP/1.1\r\n")
    begun = [wire.engine.mid_head]
    wire.answer()
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
    assert [cycle.started for cycle in wire.cycles] == [True, False, False]
    assert not wire.reading()
    read_it(wire)
    assert [cycle.started for cycle in wire.cycles] == [True, True, False]
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
    wire.feed(b"hello" + get("/2"))
    assert not wire.reading()
    assert [cycle.started for cycle in wire.cycles] == [True, False]
    read_it(wire)
    assert wire.cycles[1].started


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
    assert wire.calls == ["close"]


def test_eager_application_and_a_large_body(parser: str) -> None:
    wire = Wire(parser, eagerly)
    wire.feed(post(DRAIN_BYTES + 1) + bytes(DRAIN_BYTES + 1) + get("/2"))
    assert wire.sent == plain(b"/", "connection: close")
    assert wire.calls == ["linger"]


def test_eager_application_behind_a_slow_one(parser: str) -> None:
    """Many that wait are answered one after the other, not one inside the other."""
    wire = Wire(parser, lambda wire, cycle: None if cycle is wire.cycles[0] else wire.answer())
    wire.feed(lines("GET / HTTP/1.1", "Host:") * 1000)
    assert len(wire.cycles) > 100
    wire.answer()
    assert wire.statuses == [200] * 1000
    assert wire.reading()


def test_eager_application_that_is_not_read(parser: str) -> None:
    wire = Wire(parser, eagerly)
    wire.sink.write_paused = True
    wire.feed(get("/1") + get("/2") + post(3) + b"abc")
    assert wire.statuses == [200]
    read_it(wire)
    assert wire.statuses == [200, 200]


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
    assert wire.sent == plain(b"1") + plain(b"2", "connection: close")
    assert wire.calls == ["close"]


def test_eof_in_a_head_behind_a_request(wire: Wire) -> None:
    wire.feed(get("/1") + b"GET /2")
    assert wire.engine.feed_eof()
    wire.answer(b"1")
    assert wire.sent == plain(b"1", "connection: close")
    assert wire.calls == ["close"]


def test_eof_in_the_response(wire: Wire) -> None:
    wire.feed(get("/1"))
    wire.begin()
    wire.feed(get("/2"))
    assert not wire.engine.feed_eof()
    assert [cycle.calls for cycle in wire.cycles] == [["start", "lost"], ["lost"]]
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
    assert wire.sent == plain(b"", "connection: close")


def test_eof_while_draining_a_request(wire: Wire) -> None:
    wire.feed(post(5))
    wire.answer()
    assert not wire.engine.feed_eof()


def test_hang_up_reaches_who_is_being_answered(wire: Wire) -> None:
    wire.engine.hang_up()
    wire.feed(get("/1") + get("/2"))
    assert wire.engine.feed_eof()
    wire.engine.hang_up()
    assert [cycle.calls for cycle in wire.cycles] == [["start", "hung up"], []]


# Breaking off


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"10")]])
def test_abort_of_a_framed_response(wire: Wire, fields: list[tuple[bytes, bytes]]) -> None:
    wire.feed(get())
    wire.begin(200, fields, b"abc")
    assert wire.sent.endswith(b"abc" if fields else b"3\r\nabc\r\n")
    wire.engine.abort(wire.current)
    assert wire.sent == b""
    assert wire.calls == ["close"]
    wire.feed(get())
    assert len(wire.cycles) == 1


def test_abort_of_a_response_that_ends_with_the_connection(wire: Wire) -> None:
    wire.feed(get(version="1.0"))
    wire.begin(body=b"abc")
    wire.engine.abort(wire.current)
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
    assert wire.calls == ["close"]


def test_drain_with_requests_that_wait(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2"))
    wire.engine.drain()
    wire.answer(b"1")
    wire.answer(b"2")
    assert wire.sent == plain(b"1") + plain(b"2", "connection: close")
    assert wire.calls == ["close"]


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
    assert wire.calls == ["drain", "close"]


def test_lost(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2") + post(5))
    wire.engine.lost()
    assert [cycle.calls for cycle in wire.cycles] == [["start", "lost"], ["lost"], ["lost"]]
    assert not any(cycle.disconnected and cycle.body for cycle in wire.cycles)


def test_lost_behind_a_response(wire: Wire) -> None:
    wire.feed(get())
    wire.answer()
    wire.engine.lost()
    assert wire.cycles[0].calls == ["start"]


def test_repr(wire: Wire) -> None:
    wire.feed(get("/1") + get("/2") + post(5))
    assert repr(wire.engine) == "<H1 reading=BODY writing=AWAITED waiting=2>"


def test_a_programming_error_is_not_taken_for_the_peers(
    parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(parser)
    monkeypatch.setattr(wire.sink, "on_request", lambda engine, request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        wire.engine.feed(get())


def test_reason_names_the_mistake(wire: Wire) -> None:
    with pytest.raises(ProtocolError, match="not a valid HTTP/1 request") as caught:
        wire.engine.feed(b"\x00\r\n\r\n")
    assert caught.value.status == 400
