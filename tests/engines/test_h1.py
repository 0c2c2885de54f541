"""HTTP/1 on bytes, over both parsers: what comes in as calls, what goes out as bytes."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.fields import response_head
from aserver.limits import DRAIN_BYTES, MAX_HEAD_SIZE, READ_HIGH_WATER
from aserver.types import ProtocolError
from tests.corpus import Case, Found, load
from tests.engines.wire import Wire, exchange
from tests.fakes import PARSERS, FakeCycle, NewParser

DEFAULTS = ("date: now", "server: test")


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> NewParser:
    return PARSERS[request.param]


@pytest.fixture
def wire(parser: NewParser) -> Wire:
    return Wire(parser)


def lines(*each: str) -> bytes:
    """A head."""
    return "".join(f"{line}\r\n" for line in (*each, "")).encode("latin-1")


def get(path: str = "/", *fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    return lines(f"{method} {path} HTTP/{version}", "Host: a", *fields)


def post(size: int, *fields: str) -> bytes:
    """The head of a POST with so many bytes to come."""
    return get("/", f"Content-Length: {size}", *fields, method="POST")


CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


def plain(body: bytes = b"", *end: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    """A response whose length the server found out; `end` are the fields behind the defaults."""
    length = f"content-length: {len(body)}"
    return lines(f"HTTP/{version} {status}", length, *DEFAULTS, *end) + body


def refused(status: str, reason: str) -> bytes:
    body = f"{reason}\n".encode()
    return (
        lines(
            f"HTTP/1.1 {status}",
            *DEFAULTS,
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(body)}",
            "connection: close",
        )
        + body
    )


# A request that is refused, and the refusal.
BAD = get(version="2.0")
REFUSAL = refused(
    "505 HTTP Version Not Supported",
    "HTTP/2.0 is not spoken here, only HTTP/1.0 and HTTP/1.1",
)


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
        found, statuses = exchange(PARSERS[name], pieces)
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


# Responses: framing


def test_length_is_found_out(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"hello", (b"content-type", b"text/plain"))
    assert wire.sent == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n"
        b"date: now\r\nserver: test\r\n\r\nhello"
    )
    assert wire.sink.writes == 1
    assert wire.calls == ["idle"]


def test_length_of_nothing(wire: Wire) -> None:
    wire.feed(get())
    wire.answer()
    assert wire.sent == plain()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_length_is_given(wire: Wire, method: str) -> None:
    wire.feed(get(method=method))
    wire.begin(200, [(b"Content-Length", b"10")], b"hello")
    assert wire.sent == lines("HTTP/1.1 200 OK", "Content-Length: 10", *DEFAULTS) + b"hello"
    wire.go_on(b"")
    assert wire.sent == b""
    wire.go_on(b"world", more=False)
    assert wire.sent == b"world"
    assert wire.calls == ["idle"]


def test_chunked(wire: Wire) -> None:
    wire.feed(get())
    wire.begin()
    assert wire.sent == lines("HTTP/1.1 200 OK", "transfer-encoding: chunked", *DEFAULTS)
    wire.go_on(b"hello")
    assert wire.sent == b"5\r\nhello\r\n"
    wire.go_on(b"")  # an empty chunk would be the end
    assert wire.sent == b""
    wire.go_on(b"x" * 26)
    assert wire.sent == b"1a\r\n" + b"x" * 26 + b"\r\n"
    wire.go_on(b"end", more=False)
    assert wire.sent == b"3\r\nend\r\n0\r\n\r\n"
    assert wire.calls == ["idle"]


def test_chunked_ends_without_body(wire: Wire) -> None:
    wire.feed(get())
    wire.begin(body=b"a")
    wire.go_on(b"", more=False)
    head = lines("HTTP/1.1 200 OK", "transfer-encoding: chunked", *DEFAULTS)
    assert wire.sent == head + b"1\r\na\r\n0\r\n\r\n"


def test_first_chunk_goes_with_the_head(wire: Wire) -> None:
    wire.feed(get())
    wire.begin(body=b"first")
    assert wire.sink.writes == 1


@pytest.mark.parametrize("size", [16_383, 16_384, 100_000])
def test_large_body_is_one_write(wire: Wire, size: int) -> None:
    wire.feed(get())
    wire.answer(b"x" * size)
    assert wire.sent == plain(b"x" * size)
    assert wire.sink.writes == 1


def test_large_chunk(wire: Wire) -> None:
    wire.feed(get())
    wire.begin()
    assert wire.sent
    wire.go_on(b"x" * 100_000, more=False)
    assert wire.sent == b"186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("more", [False, True])
def test_head_has_no_body(wire: Wire, more: bool) -> None:
    wire.feed(get(method="HEAD"))
    wire.begin(200, [(b"content-length", b"1000")], b"hello", more)
    if more:
        wire.go_on(b"", more=False)
    assert wire.sent == lines("HTTP/1.1 200 OK", "content-length: 1000", *DEFAULTS)
    wire.feed(get("/next"))
    wire.answer(b"next")
    assert wire.sent == plain(b"next")


@pytest.mark.parametrize("more", [False, True])
def test_head_of_a_stream(wire: Wire, more: bool) -> None:
    wire.feed(get(method="HEAD"))
    wire.begin(more=more)
    if more:
        wire.go_on(b"", more=False)
    assert wire.sent == lines("HTTP/1.1 200 OK", *DEFAULTS)
    assert wire.calls == ["idle"]


def test_no_content(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"hello", (b"content-length", b"5"), (b"x", b"y"), status=204)
    assert wire.sent == lines("HTTP/1.1 204 No Content", "x: y", *DEFAULTS)
    assert wire.calls == ["idle"]


def test_not_modified_keeps_its_length(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"hello", (b"content-length", b"5"), status=304)
    assert wire.sent == lines("HTTP/1.1 304 Not Modified", "content-length: 5", *DEFAULTS)
    assert wire.calls == ["idle"]


def test_not_modified_without_length(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"", (b"etag", b'"a"'), status=304)
    assert wire.sent == lines("HTTP/1.1 304 Not Modified", 'etag: "a"', *DEFAULTS)


def test_framing_is_the_servers(wire: Wire) -> None:
    wire.feed(get())
    fields = (b"transfer-encoding", b"keep-alive", b"upgrade", b"proxy-connection", b"connection")
    wire.begin(200, [(name, b"chunked") for name in fields], b"hello", more=False)
    assert wire.sent == plain(b"hello")


def test_own_date_and_server(wire: Wire) -> None:
    wire.feed(get(), get(), get())
    wire.answer(b"", (b"Date", b"then"))
    assert wire.sent == lines("HTTP/1.1 200 OK", "Date: then", "content-length: 0", "server: test")
    wire.answer(b"", (b"SERVER", b"mine"))
    assert wire.sent == lines("HTTP/1.1 200 OK", "SERVER: mine", "content-length: 0", "date: now")
    wire.answer(b"", (b"server", b"mine"), (b"date", b"then"))
    assert wire.sent == lines("HTTP/1.1 200 OK", "server: mine", "date: then", "content-length: 0")


def test_order_and_duplicates_are_kept(wire: Wire) -> None:
    wire.feed(get())
    fields = [(b"set-cookie", b"a=1"), (b"X-B", b""), (b"set-cookie", b"b=2"), (b"x-a", b"\xe9\t")]
    wire.answer(b"", *fields)
    assert wire.sent == lines(
        "HTTP/1.1 200 OK",
        "set-cookie: a=1",
        "X-B: ",
        "set-cookie: b=2",
        "x-a: é\t",
        "content-length: 0",
        *DEFAULTS,
    )


def test_reason_phrase_is_never_empty(wire: Wire) -> None:
    wire.feed(get(), get())
    wire.answer(status=418)
    assert wire.sent.startswith(b"HTTP/1.1 418 I'm a Teapot\r\n")
    wire.answer(status=599)
    assert wire.sent.startswith(b"HTTP/1.1 599 Unknown\r\n")


# Responses: persistence


def test_client_closes(wire: Wire) -> None:
    wire.feed(get("/", "Connection: close"))
    wire.answer(b"hello")
    assert wire.sent == plain(b"hello", "connection: close")
    assert wire.calls == ["close"]
    wire.feed(get("/late"))
    assert len(wire.cycles) == 1


def test_application_closes(wire: Wire) -> None:
    wire.feed(get() + get("/next"))
    wire.answer(b"", (b"Connection", b"Close"))
    assert wire.sent == plain(b"", "connection: close")
    assert wire.calls == ["close"]
    assert not wire.cycles[1].started


def test_old_client(wire: Wire) -> None:
    wire.feed(get(version="1.0"))
    wire.answer(b"hello")
    assert wire.sent == plain(b"hello", "connection: close", version="1.0")
    assert wire.calls == ["close"]


def test_old_client_that_keeps_alive(wire: Wire) -> None:
    for path in ("/1", "/2"):
        wire.feed(get(path, "Connection: keep-alive", version="1.0"))
        wire.answer(b"hello")
        assert wire.sent == plain(b"hello", "connection: keep-alive", version="1.0")
        assert wire.calls == ["idle"]


def test_old_client_and_a_stream(wire: Wire) -> None:
    wire.feed(get("/", "Connection: keep-alive", version="1.0"))
    wire.begin(body=b"hello")
    assert wire.sent == lines("HTTP/1.0 200 OK", *DEFAULTS, "connection: close") + b"hello"
    wire.go_on(b" world")
    wire.go_on(b"", more=False)
    assert wire.sent == b" world"
    assert wire.calls == ["close"]


def test_old_client_and_a_stream_of_known_length(wire: Wire) -> None:
    wire.feed(get("/", "Connection: keep-alive", version="1.0"))
    wire.begin(200, [(b"content-length", b"5")], b"he")
    wire.go_on(b"llo", more=False)
    head = lines("HTTP/1.0 200 OK", "content-length: 5", *DEFAULTS, "connection: keep-alive")
    assert wire.sent == head + b"hello"
    assert wire.calls == ["idle"]


def test_stream_then_close(wire: Wire) -> None:
    wire.feed(get("/", "Connection: close"))
    wire.begin()
    head = lines("HTTP/1.1 200 OK", "transfer-encoding: chunked", *DEFAULTS, "connection: close")
    assert wire.sent == head
    assert wire.calls == []
    wire.go_on(b"", more=False)
    assert wire.sent == b"0\r\n\r\n"
    assert wire.calls == ["close"]


# Expect: 100-continue

EXPECT = post(5, "Expect: 100-continue")


def test_continue_is_sent_when_asked_for(wire: Wire) -> None:
    wire.feed(EXPECT)
    assert wire.sent == b""
    wire.engine.inform(wire.current, 100, [])
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.feed(b"hello")
    wire.answer()
    assert wire.sent == plain()
    assert wire.calls == ["idle"]


def test_final_status_instead_of_continue(wire: Wire) -> None:
    wire.feed(EXPECT)
    wire.answer(status=401)
    assert wire.sent == plain(b"", "connection: close", status="401 Unauthorized")
    assert wire.calls == ["linger"]
    wire.feed(b"hello" + get())
    assert len(wire.cycles) == 1


def test_no_continue_behind_the_head(wire: Wire) -> None:
    wire.feed(EXPECT)
    wire.begin()
    assert wire.sent
    wire.engine.inform(wire.current, 100, [])
    assert wire.sent == b""


def test_no_continue_for_an_old_client(wire: Wire) -> None:
    wire.feed(get("/", "Content-Length: 5", "Expect: 100-continue", version="1.0"))
    assert not wire.current.request.expects_continue
    wire.engine.inform(wire.current, 100, [])
    assert wire.sent == b""


def test_interim_response_with_fields(wire: Wire) -> None:
    wire.feed(get())
    wire.engine.inform(wire.current, 103, [(b"link", b"</a.css>"), (b"link", b"</b.css>")])
    assert wire.sent == lines("HTTP/1.1 103 Early Hints", "link: </a.css>", "link: </b.css>")
    wire.answer()
    assert wire.sent == plain()


def test_unknown_expectation(wire: Wire) -> None:
    wire.feed(post(5, "Expect: cake"))
    reason = "the only expectation understood here is 100-continue"
    assert wire.sent == refused("417 Expectation Failed", reason)
    assert wire.calls == ["linger"]


# An early response, with the request's body unread


def test_small_rest_is_drained(wire: Wire) -> None:
    wire.feed(post(10) + b"hello")
    wire.answer(b"early")
    assert wire.sent == plain(b"early")
    assert wire.calls == ["drain"]
    wire.feed(b"world" + get("/next"))
    assert wire.calls == ["idle"]
    assert wire.cycles[0].body == b"hello"
    assert wire.current.request.target == b"/next"


def test_rest_that_looks_like_a_request_is_none(wire: Wire) -> None:
    smuggled = get("/smuggled")
    wire.feed(post(len(smuggled)))
    wire.answer()
    wire.feed(smuggled)
    wire.feed(get("/next"))
    assert [cycle.request.target for cycle in wire.cycles] == [b"/", b"/next"]


def test_rest_of_the_largest_size_is_drained(wire: Wire) -> None:
    wire.feed(post(DRAIN_BYTES))
    wire.answer()
    assert wire.sent == plain()
    wire.feed(bytes(DRAIN_BYTES))
    assert wire.calls == ["drain", "idle"]


def test_larger_rest_closes(wire: Wire) -> None:
    wire.feed(post(DRAIN_BYTES + 1))
    wire.answer(status=413)
    assert wire.statuses == [413]
    assert wire.calls == ["linger"]
    wire.feed(bytes(DRAIN_BYTES + 1) + get())
    assert len(wire.cycles) == 1
    assert wire.calls == []


def test_chunked_rest_is_drained(wire: Wire) -> None:
    wire.feed(CHUNKED, b"5\r\nhello\r\n")
    wire.answer()
    wire.feed(b"5\r\nworld\r\n0\r\n\r\n" + get("/next"))
    assert wire.calls == ["drain", "idle"]
    assert wire.current.request.target == b"/next"


def test_chunked_rest_turns_out_to_be_large(wire: Wire) -> None:
    wire.feed(CHUNKED)
    wire.answer()
    assert wire.sent == plain()
    for _ in range(20):
        wire.feed(b"1000\r\n" + bytes(0x1000) + b"\r\n")
    assert wire.calls == ["drain", "linger"]


def test_rest_that_is_broken(wire: Wire) -> None:
    wire.feed(CHUNKED)
    wire.answer()
    assert wire.sent == plain()
    wire.feed(b"what?\r\n")
    assert wire.statuses == [400]
    assert wire.calls == ["drain", "linger"]


def test_early_response_with_close(wire: Wire) -> None:
    wire.feed(post(10, "Connection: close"))
    wire.answer()
    assert wire.sent == plain(b"", "connection: close")
    assert wire.calls == ["linger"]


def test_early_response_that_is_long(wire: Wire) -> None:
    """The head came early, its end when the request was complete."""
    wire.feed(post(10))
    wire.begin(body=b"a")
    wire.feed(b"0123456789")
    wire.go_on(b"", more=False)
    assert wire.calls == ["idle"]
    wire.feed(get("/next"))
    assert wire.current.request.target == b"/next"


def test_unread_body_that_has_arrived(wire: Wire) -> None:
    """The cycle gives the credit back: reading goes on."""
    wire.feed(post(READ_HIGH_WATER + 10) + bytes(READ_HIGH_WATER + 10))
    assert not wire.reading()
    wire.engine.consumed(wire.current, READ_HIGH_WATER + 10)
    wire.answer()
    assert wire.reading()
    assert wire.calls == ["idle"]


def test_unread_body_that_is_arriving(wire: Wire) -> None:
    wire.feed(post(READ_HIGH_WATER + 20) + bytes(READ_HIGH_WATER + 10))
    assert not wire.reading()
    wire.engine.consumed(wire.current, READ_HIGH_WATER + 10)
    wire.answer()
    assert wire.reading()
    wire.feed(bytes(10) + get("/next"))
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
    assert wire.calls[-1] == "close"


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
def test_eager_application(parser: NewParser, whole: bool) -> None:
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


def test_eager_application_closes(parser: NewParser) -> None:
    wire = Wire(parser, eagerly)
    wire.feed(get("/1", "Connection: close") + get("/2"))
    assert wire.sent == plain(b"/1", "connection: close")
    assert wire.calls == ["close"]


def test_eager_application_and_a_large_body(parser: NewParser) -> None:
    wire = Wire(parser, eagerly)
    wire.feed(post(DRAIN_BYTES + 1) + bytes(DRAIN_BYTES + 1) + get("/2"))
    assert wire.sent == plain(b"/", "connection: close")
    assert wire.calls == ["linger"]


def test_eager_application_behind_a_slow_one(parser: NewParser) -> None:
    """Many that wait are answered one after the other, not one inside the other."""
    wire = Wire(parser, lambda wire, cycle: None if cycle is wire.cycles[0] else wire.answer())
    wire.feed(lines("GET / HTTP/1.1", "Host:") * 1000)
    assert len(wire.cycles) > 100
    wire.answer()
    assert wire.statuses == [200] * 1000
    assert wire.reading()


def test_eager_application_that_is_not_read(parser: NewParser) -> None:
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


# Properties

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
BODIES = st.binary(max_size=60) | st.sampled_from(
    [b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\n", b"\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, Found]:
    """A request that keeps the connection, and what must be found in it."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]))
    target = "/" + draw(st.text("abc/%20?=&", max_size=12))
    fields = [("host", draw(TOKENS))]
    fields += draw(st.lists(st.tuples(TOKENS.map("x-{}".format), TOKENS), max_size=3))
    upgrade = draw(st.sampled_from(["", "", "websocket", "h2c"]))
    if upgrade:
        fields += [("connection", "upgrade"), ("upgrade", upgrade)]
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    body = b"" if framing == "none" else draw(BODIES)
    length: int | None = len(body)
    coded = body
    if framing == "length":
        fields.append(("content-length", str(length)))
    elif framing == "chunked":
        fields.append(("transfer-encoding", "chunked"))
        length, coded = None, draw(chunkings(body))
    head = lines(f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in draw(shuffled(fields))))
    found = Found(
        method,
        target.encode(),
        [],
        length=length,
        upgrade=upgrade.encode(),
        body=body,
    )
    return head + coded, found


@st.composite
def shuffled(draw: st.DrawFn, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return draw(st.permutations(fields))


@st.composite
def chunkings(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks of any sizes, with extensions and trailers."""
    coded = b""
    for piece in draw(pieces(body)):
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(piece)
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
        coded += size + extension + b"\r\n" + piece + b"\r\n"
    trailer = draw(st.sampled_from([b"", b"x-sum: 1\r\n", b"a: b\r\nc: d\r\n"]))
    return coded + b"0\r\n" + trailer + b"\r\n"


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Data, cut at any places."""
    cuts = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8))
    places = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places) if data[a:b]]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[Found]]:
    """Requests behind each other, their bytes cut at any places."""
    each = draw(st.lists(requests(), min_size=1, max_size=6))
    return draw(pieces(b"".join(data for data, _ in each))), [found for _, found in each]


@settings(max_examples=300)
@given(conversations())
def test_parsers_agree(conversation: tuple[list[bytes], list[Found]]) -> None:
    data, expected = conversation
    results = [exchange(new, data) for new in PARSERS.values()]
    assert results[0] == results[1]
    found, statuses = results[0]
    assert statuses == [200] * len(expected)
    for each in found:
        each.headers = []
    assert found == expected


@settings(max_examples=300)
@given(st.lists(requests(), min_size=1, max_size=4), st.data())
def test_parsers_agree_on_noise(each: list[tuple[bytes, Found]], data: st.DataObject) -> None:
    """Bytes changed at random: whatever is refused, nothing breaks, and what was said holds."""
    noisy = bytearray(b"".join(request for request, _ in each))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(noisy) - 1))
        noisy[place] = data.draw(st.sampled_from(b"\x00\t\n\r :;0/aZ\x7f\xff"))
    cut = data.draw(pieces(bytes(noisy)))
    for new in PARSERS.values():
        found, statuses = exchange(new, cut)
        assert (found, statuses) == exchange(new, [bytes(noisy)])
        assert statuses.count(200) == sum(request.complete for request in found)
        assert len([status for status in statuses if status != 200]) <= 1


@st.composite
def responses(draw: st.DrawFn) -> tuple[str, int, list[tuple[bytes, bytes]], list[bytes]]:
    """A request's method, and a response to it that an application may give: body in messages."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST"]))
    status = draw(st.sampled_from([200, 201, 204, 304, 404, 500, 599]))
    body = draw(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
    fields = draw(st.lists(st.tuples(TOKENS.map("x-{}".format), TOKENS), max_size=3))
    if draw(st.booleans()):
        fields.append(("content-length", str(sum(map(len, body)))))
    return method, status, [(name.encode(), value.encode()) for name, value in fields], body


@settings(max_examples=300)
@given(st.lists(responses(), min_size=1, max_size=4), st.booleans(), st.sampled_from([*PARSERS]))
def test_client_reads_what_was_sent(
    exchanges: list[tuple[str, int, list[tuple[bytes, bytes]], list[bytes]]],
    pipelined: bool,
    parser: str,
) -> None:
    wire = Wire(PARSERS[parser])
    client = h11.Connection(h11.CLIENT)
    if pipelined:
        wire.feed(b"".join(get(method=method) for method, *_ in exchanges))
    for method, status, fields, body in exchanges:
        if not pipelined:
            wire.feed(get(method=method))
        wire.begin(status, fields, body[0], more=len(body) > 1)
        bodyless = response_head(status, fields, method).bodyless
        for number, piece in enumerate(body[1:], 2):
            wire.go_on(b"" if bodyless else piece, more=number < len(body))
        read_response(client, wire, method, status, fields, b"" if bodyless else b"".join(body))
    assert wire.calls == ["idle"] if pipelined else ["idle"] * len(exchanges)


def read_response(
    client: h11.Connection,
    wire: Wire,
    method: str,
    status: int,
    fields: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire.sent)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    assert response.http_version == b"1.1"
    mine = [field for field in response.headers if field[0].startswith(b"x-")]
    assert mine == [field for field in fields if field[0].startswith(b"x-")]
    read = b""
    while isinstance(event := client.next_event(), h11.Data):
        read += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert read == body
    assert client.trailing_data == (b"", False)
    client.start_next_cycle()


@settings(max_examples=100)
@given(responses())
def test_old_client_reads_what_was_sent(
    response: tuple[str, int, list[tuple[bytes, bytes]], list[bytes]],
) -> None:
    method, status, fields, body = response
    wire = Wire(PARSERS["httptools"])
    wire.feed(get(method=method, version="1.0"))
    wire.begin(status, fields, body[0], more=len(body) > 1)
    bodyless = response_head(status, fields, method).bodyless
    for number, piece in enumerate(body[1:], 2):
        wire.go_on(b"" if bodyless else piece, more=number < len(body))
    assert wire.calls == ["close"]
    head, _, rest = wire.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 %d " % status)
    assert b"transfer-encoding" not in head
    assert rest == (b"" if bodyless else b"".join(body))


def test_a_programming_error_is_not_taken_for_the_peers(
    parser: NewParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(parser)
    monkeypatch.setattr(wire.sink, "on_request", lambda engine, request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        wire.engine.feed(get())


def test_reason_names_the_mistake(wire: Wire) -> None:
    with pytest.raises(ProtocolError, match="not a valid HTTP/1 request") as caught:
        wire.engine.feed(b"\x00\r\n\r\n")
    assert caught.value.status == 400
