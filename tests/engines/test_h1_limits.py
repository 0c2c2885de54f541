"""Limits, to the byte: what is exactly as large as it may be, and what is larger by one."""

import tracemalloc
from collections.abc import Callable
from math import inf

import pytest

from aserver.config import Limits
from aserver.limits import MAX_CHUNK_EXTENSIONS, RequestLimits
from tests.engines.wire import CHUNKED, Outcome, Wire, exchange, get, lines, post
from tests.fakes import LIMITS, PARSERS

UNLIMITED = RequestLimits(inf, inf, inf, inf, inf, LIMITS.buffer)


def request_line(size: int) -> bytes:
    return get("/" + "x" * (size - len("GET / HTTP/1.1")))


def one_header(size: int) -> bytes:
    return get("/", "X:" + "y" * (size - 2))


def one_name(size: int) -> bytes:
    return get("/", "x" * (size - 1) + ":")


def header_count(count: int) -> bytes:
    return get("/", *["X:"] * (count - 1))


def all_headers(size: int) -> bytes:
    """Two long ones, their line ends counted."""
    rest = size - len("Host: a\r\nX:\r\nY:\r\n")
    return get("/", "X:" + "x" * (rest // 2), "Y:" + "y" * (rest - rest // 2))


def content_length(size: int) -> bytes:
    return post(size) + b"x" * size


def chunk(size: int) -> bytes:
    return CHUNKED + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"


def chunks(size: int) -> bytes:
    return CHUNKED + b"1\r\nx\r\n" * size + b"0\r\n\r\n"


def one_trailer(size: int) -> bytes:
    return CHUNKED + b"0\r\nX:" + b"y" * (size - 2) + b"\r\n\r\n"


def trailer_count(count: int) -> bytes:
    return CHUNKED + b"0\r\n" + b"X:\r\n" * count + b"\r\n"


def all_trailers(size: int) -> bytes:
    rest = size - len("X:\r\nY:\r\n")
    return CHUNKED + b"0\r\n" + lines("X:" + "x" * (rest // 2), "Y:" + "y" * (rest - rest // 2))


SMALL = LIMITS._replace(
    request_line=100, header_size=90, header_count=12, headers_size=150, body_size=50
)
LIMITED = [
    (request_line, "request_line", 414, "--max-request-line"),
    (one_header, "header_size", 431, "--max-header-size"),
    (one_name, "header_size", 431, "--max-header-size"),
    (header_count, "header_count", 431, "--max-header-count"),
    (all_headers, "headers_size", 431, "--max-headers-size"),
    (content_length, "body_size", 413, "--max-body-size"),
    (chunk, "body_size", 413, "--max-body-size"),
    (chunks, "body_size", 413, "--max-body-size"),
    (one_trailer, "header_size", 431, "--max-header-size"),
    (trailer_count, "header_count", 431, "--max-header-count"),
    (all_trailers, "headers_size", 431, "--max-headers-size"),
]


def every_cut(parser: str, data: bytes, limits: RequestLimits) -> Outcome:
    """What comes of it, whole, byte by byte, and cut in two anywhere."""
    outcome = exchange(parser, [data], limits)
    assert exchange(parser, [data[i : i + 1] for i in range(len(data))], limits) == outcome
    for i in range(1, len(data)):
        assert exchange(parser, [data[:i], data[i:]], limits) == outcome, i
    return outcome


@pytest.mark.parametrize(("request_of", "limit", "status", "option"), LIMITED)
def test_limit(
    parser: str, request_of: Callable[[int], bytes], limit: str, status: int, option: str
) -> None:
    size = getattr(SMALL, limit)
    outcome = every_cut(parser, request_of(size) + get("/next"), SMALL)
    assert outcome.statuses == [200, 200]
    assert outcome.reasons == []
    outcome = every_cut(parser, request_of(size + 1) + get("/next"), SMALL)
    assert outcome.statuses == [status]
    assert f" {size} " in outcome.reasons[0]
    assert outcome.reasons[0].endswith(f"({option})")


@pytest.mark.parametrize(
    ("request_of", "limit", "status", "option"),
    [case for case in LIMITED if case[1] != "body_size"],  # which is too much for a test
)
def test_default_limit(
    parser: str, request_of: Callable[[int], bytes], limit: str, status: int, option: str
) -> None:
    """As it is configured, in one piece and in many."""
    size = getattr(LIMITS, limit)
    # The others must not be in the way.
    limits = UNLIMITED._replace(**{limit: size})
    for over, statuses in ((0, [200]), (1, [status])):
        data = request_of(size + over)
        assert exchange(parser, [data], limits).statuses == statuses
        assert exchange(parser, [data[i : i + 999] for i in range(0, len(data), 999)], limits) == (
            exchange(parser, [data], limits)
        )


@pytest.mark.parametrize(("request_of", "limit", "status", "option"), LIMITED)
def test_no_limit(
    parser: str, request_of: Callable[[int], bytes], limit: str, status: int, option: str
) -> None:
    data = request_of(30_000 if "count" in limit or request_of is chunks else 300_000)
    assert exchange(parser, [data], UNLIMITED).statuses == [200]
    pieces = [data[i : i + 10_000] for i in range(0, len(data), 10_000)]
    assert exchange(parser, pieces, UNLIMITED).statuses == [200]


def test_zero_in_the_options_is_no_limit() -> None:
    options = Limits(
        max_request_line=0,
        max_header_size=0,
        max_header_count=0,
        max_headers_size=0,
        max_body_size=0,
    )
    assert RequestLimits.of(options) == UNLIMITED


def test_body_of_no_limit_by_length() -> None:
    wire = Wire("h11", limits=UNLIMITED)
    wire.feed(post(10**18 - 1))
    assert wire.refusals == []
    assert wire.current.request.content_length == 10**18 - 1


# What is not there yet is refused no later than what is


@pytest.mark.parametrize(
    ("start", "endless", "status"),
    [
        (b"", b"G", 400),  # no method is that long
        (b"GET /", b"x", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX:", b"y", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X:\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X:yyyyyyyyyyyyyyyyyyyy\r\n", 431),
        (CHUNKED + b"0\r\nX:", b"y", 431),
        (CHUNKED + b"0\r\n", b"X:\r\n", 431),
        (CHUNKED, b"0", 400),
        (CHUNKED + b"1;", b"a", 400),
        (CHUNKED, b"1;aaa\r\nx\r\n", 400),
    ],
    ids=str,
)
@pytest.mark.parametrize("piece", [1, 7, 4096, 100_000])
def test_endless(parser: str, start: bytes, endless: bytes, status: int, piece: int) -> None:
    """Memory is bounded, whatever comes; and the verdict does not depend on the pieces."""
    most = max(int(LIMITS.headers_size), MAX_CHUNK_EXTENSIONS * 3) + 2 * 4096
    if piece == 1:  # time is bounded, too
        limits = LIMITS._replace(request_line=500, header_size=300, headers_size=2000)
        most = MAX_CHUNK_EXTENSIONS * 3
    else:
        limits = LIMITS
    wire = Wire(parser, limits=limits)
    wire.feed(start)
    data = endless * (most // len(endless))
    fed = 0
    while not wire.refusals:
        assert fed < len(data)
        wire.feed(data[fed : fed + piece])
        fed += piece
        if wire.cycles and wire.cycles[0].body:
            wire.engine.consumed(len(wire.cycles[0].body))
            wire.cycles[0].body = b""
    assert wire.statuses == [status]
    whole = Wire(parser, limits=limits)
    whole.feed(start, data)
    assert [str(error) for error in whole.refusals] == [str(error) for error in wire.refusals]


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", CHUNKED + b"0\r\n"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"X:" + b"y" * 88 + b"y", 431),  # one header: 90 bytes are allowed
        (b"X:" + b"y" * 88 + b"\ry", 431),
        (b"X:\r\n" * 13, 431),  # 12 of them
        ((b"X:" + b"y" * 66 + b"\r\n") * 2 + b"X:yyyyyyyyyy", 431),  # 150 bytes, and the empty line
        (b"X: \x01", 400),
        (b"X: \n", 400),
        (b"X: \ry", 400),
    ],
)
def test_refused_at_the_first_byte_too_much(
    parser: str, start: bytes, fields: bytes, status: int
) -> None:
    """No byte more is waited for."""
    wire = Wire(parser, limits=SMALL)
    wire.feed(start)
    wire.feed_bytewise(fields[:-1])
    assert wire.refusals == []
    wire.feed(fields[-1:])
    assert [error.status for error in wire.refusals] == [status]


def test_request_line_refused_at_the_first_byte_too_much(parser: str) -> None:
    for line in (b"GET /" + b"x" * 96, b"GET /" + b"x" * 95 + b"\rx", b"x" * 101):
        wire = Wire(parser, limits=SMALL)
        wire.feed_bytewise(line[:-1])
        assert wire.refusals == []
        wire.feed(line[-1:])
        assert len(wire.refusals) == 1


@pytest.mark.parametrize("line", [b"X: y\r\n", b"x" * 100])
def test_endless_trailers_take_no_memory(parser: str, line: bytes) -> None:
    wire = Wire(parser)
    wire.feed(CHUNKED, b"3\r\nabc\r\n", b"0\r\n")
    tracemalloc.start()
    try:
        for _ in range(4 * int(LIMITS.headers_size) // len(line)):
            wire.feed(line)
        assert tracemalloc.get_traced_memory()[0] < 4 * LIMITS.headers_size
    finally:
        tracemalloc.stop()
    assert wire.statuses == [431]
    assert wire.cycles[0].disconnected


def test_many_heads_count_one_by_one(wire: Wire) -> None:
    request = all_headers(int(LIMITS.header_size))
    for _ in range(20):
        wire.feed(request + request)
        wire.answer_all()
    assert wire.statuses == [200] * 40


# Several at once: the first in the bytes counts


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/" + "\x01" * 10 + "x" * 200), 400),
        (get("/" + "x" * 200 + "\x01"), 414),
        (b"x" * 200 + get(), 400),
        (get("/", "X: \x01", "X: " + "y" * 200), 400),
        (get("/", "X: " + "y" * 200, "X: \x01"), 431),
        (get("/", "X: " + "y" * 86 + "\x01", "X: " + "y" * 40), 400),
        (get("/", "X: " + "y" * 87 + "\x01", "X: " + "y" * 40), 431),
        (get("/", *["X:"] * 12, "X: \x01"), 431),
        (get("/", *["X:"] * 10, "X: \x01", "X:"), 400),
        (get("/", *["X: " + "y" * 40] * 4, "X: \x01"), 431),
        (get("/", "X: " + "y" * 86 + "\r"), 400),
        (get("/", "X: " + "y" * 87 + "\r"), 431),
        (get("/", "no colon", *["X:"] * 12), 431),
        (get("/", "no colon", "X: \x01"), 400),
        (get("/", "X: \x01\n"), 400),
        (get("/", "X: \n\x01"), 400),
        (CHUNKED + b"0\r\n" + lines("X: \x01", "X: " + "y" * 200), 400),
        (CHUNKED + b"0\r\n" + lines("X: " + "y" * 200, "X: \x01"), 431),
        (CHUNKED + b"0\r\n" + lines("Host: b", *["X:"] * 12), 431),
        (CHUNKED + b"ff;\x01\r\n", 400),
    ],
)
def test_first_fault_counts(parser: str, data: bytes, status: int) -> None:
    assert every_cut(parser, data, SMALL).statuses == [status]


# Chunk extensions, all of a body together


def extended(*sizes: int) -> bytes:
    """A body whose chunks have extensions of these sizes."""
    return b"".join(b"1;" + b"a" * (size - 1) + b"\r\nx\r\n" for size in sizes) + b"0\r\n\r\n"


@pytest.mark.parametrize("split", [1, 2, 3, 100])
def test_chunk_extensions(parser: str, split: int) -> None:
    sizes = [MAX_CHUNK_EXTENSIONS // split] * split
    sizes[-1] += MAX_CHUNK_EXTENSIONS - sum(sizes)
    for piece in (1, 100, 100_000):
        for over in (0, 1):
            data = CHUNKED + extended(*sizes[:-1], sizes[-1] + over) + get("/next")
            pieces = [data[i : i + piece] for i in range(0, len(data), piece)]
            outcome = exchange(parser, pieces)
            assert outcome.statuses == ([400] if over else [200, 200])
            assert len(outcome.found[0].body) == split - over
            if over:
                reason = f"the chunk extensions are larger than {MAX_CHUNK_EXTENSIONS} bytes"
                assert outcome.reasons == [reason]


def test_chunk_extensions_of_the_last_chunk(parser: str) -> None:
    for over in (0, 1):
        end = b"0;" + b"a" * (MAX_CHUNK_EXTENSIONS - 1 + over) + b"\r\n\r\n"
        for data in ([CHUNKED + end], [CHUNKED, *(end[i : i + 1] for i in range(len(end)))]):
            assert exchange(parser, data).statuses == ([400] if over else [200])


def test_chunk_extensions_count_for_each_body(wire: Wire) -> None:
    for _ in range(3):
        wire.feed(CHUNKED + extended(MAX_CHUNK_EXTENSIONS))
        wire.answer()
    assert wire.statuses == [200] * 3


# The read buffer


BUFFERS = [1, 2, 10, 101, LIMITS.buffer]


@pytest.mark.parametrize("buffer", BUFFERS)
def test_buffer_of_body(parser: str, buffer: int) -> None:
    wire = Wire(parser, limits=LIMITS._replace(buffer=buffer))
    wire.feed(post(10 * buffer + 10), bytes(buffer))
    assert wire.reading()
    wire.feed(bytes(1))
    assert not wire.reading()
    while_full = buffer + 1 - buffer // 2 - 1
    wire.engine.consumed(while_full)
    assert not wire.reading()
    wire.engine.consumed(1)
    assert wire.reading()
    wire.feed(bytes(buffer - buffer // 2))
    assert wire.reading()
    wire.feed(bytes(1))
    assert not wire.reading()


@pytest.mark.parametrize("buffer", BUFFERS)
def test_buffer_of_chunked_body(parser: str, buffer: int) -> None:
    """Its framing is not counted."""
    wire = Wire(parser, limits=LIMITS._replace(buffer=buffer))
    wire.feed(CHUNKED)
    for _ in range(buffer):
        wire.feed(b"000001\r\nx\r\n")
    assert wire.reading()
    wire.feed(b"1\r\nx")
    assert not wire.reading()
    wire.engine.consumed(buffer + 1 - buffer // 2)
    assert wire.reading()


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("buffer", [100, 101, LIMITS.buffer])
def test_buffer_of_pipelined_requests(parser: str, buffer: int, bytewise: bool) -> None:
    wire = Wire(parser, limits=LIMITS._replace(buffer=buffer))
    wire.feed(get("/1"))
    filling = (get("/x") * (buffer // len(get("/x")) + 1))[:buffer]
    if bytewise and buffer < 1000:
        wire.feed_bytewise(filling)
    else:
        wire.feed(filling)
    assert wire.reading()
    wire.feed(b"G")
    assert not wire.reading()
    held = buffer + 1
    while held > buffer // 2:
        assert not wire.reading()
        wire.answer()
        held -= len(get("/x"))
    assert wire.reading()


def test_buffer_of_pipelined_requests_whole(parser: str) -> None:
    """The request in progress does not count."""
    for over in (0, 1):
        wire = Wire(parser, limits=LIMITS._replace(buffer=100))
        wire.feed(get("/" + "x" * 200) + b"x" * (100 + over))
        assert wire.reading() is (over == 0)


def test_body_in_memory_counts_apart_from_pipelined_requests(parser: str) -> None:
    wire = Wire(parser, limits=LIMITS._replace(buffer=100))
    wire.feed(post(100) + bytes(100) + bytes(100))
    assert wire.reading()
    wire.feed(b"x")
    assert not wire.reading()
    wire.engine.consumed(100)
    assert not wire.reading()


@pytest.mark.parametrize(
    "end", [post(5), CHUNKED, CHUNKED + b"5;aaaaaaaaaa", CHUNKED + b"0\r\nX: y"]
)
@pytest.mark.parametrize("buffer", [1, 10, 100, LIMITS.buffer])
def test_reading_goes_on_for_a_body_whose_head_was_held(
    parser: str, end: bytes, buffer: int
) -> None:
    """Nothing of it is there to give credit for: who waits for it would wait for ever."""
    wire = Wire(parser, limits=LIMITS._replace(buffer=buffer))
    wire.feed(get() * 3 + get("/" + "x" * 5000) * (buffer // 5000) + end)
    assert not wire.reading() or len(end) < buffer
    while wire.current.request.method == "GET":
        wire.answer()
    assert wire.reading()


def test_reading_goes_on_for_framing_larger_than_the_buffer(parser: str) -> None:
    wire = Wire(parser, limits=LIMITS._replace(buffer=5))
    wire.feed(CHUNKED + b"6\r\nabcdef\r\n1;aaaaaaaaaaaaa")
    assert not wire.reading()
    wire.engine.consumed(6)
    assert wire.reading()


def test_large_body_in_large_pieces(wire: Wire) -> None:
    data = bytes(range(256)) * 1024
    wire.feed(post(len(data)) + data[:100_000])
    wire.engine.consumed(100_000)
    wire.feed(data[100_000:] + get("/next"))
    assert wire.cycles[0].body == data
    wire.answer()
    assert wire.cycles[1].request.target == b"/next"


def test_one_buffer_at_most_is_held(parser: str) -> None:
    """As long as the peer stops when it is told."""
    buffer = 5000
    wire = Wire(parser, limits=LIMITS._replace(buffer=buffer))
    wire.feed(get("/1"))
    fed = 0
    while wire.reading():
        wire.feed(get("/2"))
        fed += len(get("/2"))
    assert buffer < fed <= buffer + len(get("/2"))
    wire.answer_all()
    assert wire.reading()
    assert wire.statuses == [200] * len(wire.cycles)
    assert len(wire.cycles) == 1 + fed // len(get("/2"))
