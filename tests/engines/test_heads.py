"""The memory of the last head: what it may skip, and what it must never confuse."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines import h1_reader
from aserver.engines.guard import accept
from aserver.engines.heads import HeadMemory
from aserver.limits import RequestLimits
from aserver.types import Headers, ProtocolError, Request
from tests.engines.wire import Wire, exchange
from tests.fakes import LIMITS, PARSERS

PARSE = PARSERS["httptools"]
LINE = b"GET /a HTTP/1.1"
BLOCK = b"Host: a\r\nX: y\r\n\r\n"
FIELDS = [(b"host", b"a"), (b"x", b"y")]
SHORT = LIMITS._replace(header_size=100)


def taught(line: bytes = LINE, block: bytes = BLOCK, limits: RequestLimits = LIMITS) -> HeadMemory:
    """A memory that took in a head."""
    memory = HeadMemory(limits)
    memory.remember(line, block, accept(line, block, PARSE, LIMITS))
    return memory


def facts(request: Request | None) -> dict[str, Any] | None:
    """All that a request says."""
    return None if request is None else {n: getattr(request, n) for n in Request.__slots__}


def check_recalled(memory: HeadMemory, line: bytes, block: bytes) -> None:
    """It is remembered as what it would be taken for anew."""
    found = memory.recall(line, block)
    assert found is not None
    assert facts(found) == facts(accept(line, block, PARSE, LIMITS))


# The request line


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        b"GET / HTTP/1.1",
        b"HEAD /b?c HTTP/1.1",
        b"POST //x HTTP/1.1",
        b"PROPFIND /b HTTP/1.1",
    ],
)
def test_line_is_looked_at_anew(line: bytes) -> None:
    memory = taught()
    for each in (LINE, line, line, LINE):
        check_recalled(memory, each, BLOCK)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / HTTP/1.0",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.1 ",
        b"GET  / HTTP/1.1",
        b" GET / HTTP/1.1",
        b"get / HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"FOO / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET http://b/ HTTP/1.1",
        b"GET /#a HTTP/1.1",
        b"GET /\\ HTTP/1.1",
        b"GET /%00 HTTP/1.1",
        b"GET /\xe9 HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\t HTTP/1.1",
        b"GET /\n HTTP/1.1",
        b"GET / HTTP/1.1\nX: y",
        b"GET / HTTP/1.1\r",
        b"\nGET / HTTP/1.1",
        b"GET /" + b"x" * 8192 + b" HTTP/1.1",
    ],
)
def test_line_that_is_not_plain(line: bytes) -> None:
    """It is left to the guard, and does no harm to what is known."""
    memory = taught()
    assert memory.recall(line, BLOCK) is None
    check_recalled(memory, LINE, BLOCK)
    assert memory.recall(line, BLOCK) is None


def test_line_of_the_largest_size() -> None:
    memory = taught(limits=LIMITS._replace(request_line=20))
    assert memory.recall(b"GET /" + b"x" * 6 + b" HTTP/1.1", BLOCK) is not None
    assert memory.recall(b"GET /" + b"x" * 7 + b" HTTP/1.1", BLOCK) is None


# The block of fields


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive, x\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"TE: trailers\r\n",
    ],
)
def test_what_was_worked_out_is_the_same_again(fields: bytes) -> None:
    block = b"Host: a\r\n" + fields + b"X: y\r\n\r\n"
    memory = taught(block=block)
    for line in (LINE, b"PUT /c HTTP/1.1"):
        check_recalled(memory, line, block)
        check_recalled(memory, line, block.replace(b"X: y", b"X: z"))


@pytest.mark.parametrize(
    ("line", "block"),
    [
        (b"GET /a HTTP/1.0", BLOCK),
        (b"GET http://a/ HTTP/1.1", BLOCK),
        (b"OPTIONS * HTTP/1.1", BLOCK),
        (LINE, b"Host: a\r\nExpect: 100-continue\r\n\r\n"),
        (LINE, b"Host: a\r\nX: " + b"y" * 4096 + b"\r\n\r\n"),
    ],
)
def test_what_is_not_remembered(line: bytes, block: bytes) -> None:
    memory = taught(line, block)
    assert memory.recall(LINE, block) is None
    assert memory.recall(line, block) is None
    assert memory.recall(LINE, BLOCK) is None


def test_only_the_last_is_remembered() -> None:
    memory = taught()
    other = b"Host: b\r\n\r\n"
    memory.remember(LINE, other, accept(LINE, other, PARSE, LIMITS))
    check_recalled(memory, LINE, other)
    assert memory.recall(LINE, BLOCK) is None
    memory.remember(b"GET / HTTP/1.0", BLOCK, Request("GET", b"/", "1.0", []))
    assert memory.recall(LINE, other) is None


def test_nothing_is_remembered_at_first() -> None:
    assert HeadMemory(LIMITS).recall(LINE, BLOCK) is None
    assert HeadMemory(LIMITS).recall(b"", b"") is None


KNOWN = b"Host: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nConnection: keep-alive\r\nE: 5\r\n\r\n"


@pytest.mark.parametrize(
    "block",
    [
        KNOWN,
        KNOWN.replace(b"A: 1", b"A: 2"),
        KNOWN.replace(b"A: 1", b"a:"),
        KNOWN.replace(b"E: 5", b"E:  \t\xe9 \t"),
        KNOWN.replace(b"A: 1", b"A: x").replace(b"E: 5", b"E: y").replace(b"C: 3", b"C: z"),
    ],
)
def test_other_values(block: bytes) -> None:
    memory = taught(block=KNOWN)
    for _ in range(2):
        check_recalled(memory, LINE, block)
    check_recalled(memory, LINE, KNOWN)
    check_recalled(memory, b"PUT /c HTTP/1.1", block)


@pytest.mark.parametrize(
    "block",
    [
        KNOWN.replace(b"Host: a", b"Host: b"),
        KNOWN.replace(b"Host: a", b"host: a"),
        KNOWN.replace(b"Host: a", b"X: a"),
        KNOWN.replace(b"A: 1", b"Host: a"),
        KNOWN.replace(b"A: 1", b"Content-Length: 1"),
        KNOWN.replace(b"A: 1", b"Transfer-Encoding: chunked"),
        KNOWN.replace(b"A: 1", b"A_: 1"),
        KNOWN.replace(b"keep-alive", b"close"),
        KNOWN.replace(b"Connection", b"X"),
        KNOWN.replace(b"E: 5", b"E: 5\r\nF: 6"),
        KNOWN.replace(b"E: 5\r\n", b""),
        KNOWN.replace(b"A: 1", b"A : 2"),
        KNOWN.replace(b"A: 1", b" A: 2"),
        KNOWN.replace(b"A: 1", b"A"),
        KNOWN.replace(b"A: 1", b": 1"),
        KNOWN.replace(b"A: 1", b"A: \x01"),
        KNOWN.replace(b"A: 1", b"A: \n"),
        KNOWN.replace(b"A: 1", b"A: 1\nB: 2"),
        KNOWN.replace(b"A: 1", b"A: 1\r"),
        KNOWN.replace(b"A: 1\r\n", b"A: 1\n"),
        KNOWN.replace(b"A: 1", b""),
        KNOWN.replace(b"C: 3", b""),
        KNOWN.replace(b"D: 4", b"\r\n"),
        KNOWN.replace(b"E: 5", b""),
        KNOWN.replace(b"E: 5\r\n", b"\r\nGET / HTTP/1.1"),
        KNOWN.replace(b"C: 3", b"\r\nGET /c HTTP/1.1").replace(b"D: 4\r\n", b""),
        KNOWN.replace(b"B: 2\r\nC: 3\r\n", b"C: 3\r\nB: 2\r\n"),
        KNOWN.replace(b"A: 1", b"A: " + b"x" * 5000),
        KNOWN + b"\r\n\r\n",
        b"\r\n" + KNOWN,
        b"\r\n",
    ],
)
def test_block_that_differs_in_more(block: bytes) -> None:
    memory = taught(block=KNOWN)
    assert memory.recall(LINE, block) is None
    check_recalled(memory, LINE, KNOWN)


def test_dropped_names_do_not_move_the_others() -> None:
    block = b"Host: a\r\nX_Y: 1\r\nZ: 2\r\n\r\n"
    memory = taught(block=block)
    check_recalled(memory, LINE, block)
    assert memory.recall(LINE, block.replace(b"X_Y: 1", b"X_Y: 2")) is None
    assert memory.recall(LINE, block.replace(b"Z: 2", b"Z: 3")) is None


@pytest.mark.parametrize("limit", ["header_size", "headers_size"])
def test_other_values_within_the_limits(limit: str) -> None:
    memory = taught(limits=LIMITS._replace(**{limit: 100}))
    assert memory.recall(LINE, BLOCK.replace(b"y", b"y" * 80)) is not None
    assert memory.recall(LINE, BLOCK.replace(b"y", b"y" * 98)) is None
    assert memory.recall(LINE, BLOCK.replace(b"y", b"y" * 2000)) is None


def test_size_is_bounded() -> None:
    largest = b"Host: a\r\nX: " + b"y" * (4096 - 16) + b"\r\n\r\n"
    assert len(largest) == 4096
    check_recalled(taught(block=largest), LINE, largest)
    larger = largest.replace(b"X", b"XX")
    assert taught(block=larger).recall(LINE, larger) is None
    assert taught(block=largest).recall(LINE, largest.replace(b"yy", b"yyy", 1)) is None


def test_amendment_leaves_earlier_requests_alone() -> None:
    memory = HeadMemory(LIMITS)
    mine = accept(LINE, BLOCK, PARSE, LIMITS)
    memory.remember(LINE, BLOCK, mine)
    expected = mine.headers.copy()
    for block in (BLOCK, BLOCK.replace(b"y", b"z"), BLOCK):
        for _ in range(2):
            check_recalled(memory, LINE, block)
    assert mine.headers == expected


LINES = [
    b"A: 1",
    b"A: 2",
    b"B: 1",
    b"Host: a",
    b"Host: b",
    b"X_A: 1",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Content-Length: 5",
    b"Content-Length: 7",
    b"bad",
    b" A: 1",
    b"A : 1",
    b"",
]


@settings(max_examples=200)
@given(st.lists(st.lists(st.sampled_from(LINES), max_size=4), min_size=2, max_size=6), st.data())
def test_memory_agrees_with_the_guard(heads: list[list[bytes]], data: st.DataObject) -> None:
    """Whatever it saw before: what it recalls is what the guard would say."""
    memory = HeadMemory(LIMITS)
    for lines in heads:
        block = b"\r\n".join([b"Host: a", *lines, b"", b""])
        line = data.draw(
            st.sampled_from([LINE, b"PUT / HTTP/1.1", b"GET http://b/ HTTP/1.1", b"?"])
        )
        if b"\r\n\r\n" in block[:-1]:
            continue
        try:
            expected = accept(line, block, PARSE, LIMITS)
        except ProtocolError:
            assert memory.recall(line, block) is None
            continue
        found = memory.recall(line, block)
        if found is not None:
            assert facts(found) == facts(expected)
        else:
            memory.remember(line, block, expected)


# On the wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def heads_of(wire: Wire) -> list[tuple[bytes, Headers]]:
    return [(cycle.request.target, cycle.request.headers) for cycle in wire.cycles]


def trained(parser: str, request: bytes = GET) -> Wire:
    """An engine that knows the fields of `GET`."""
    wire = Wire(parser)
    for _ in range(3):
        wire.feed(request)
        wire.answer()
    return wire


def test_known_head_is_not_parsed(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = trained(parser)
    monkeypatch.setattr(h1_reader, "accept", lambda *args: pytest.fail("looked at again"))
    wire.feed(GET.replace(b"/ ", b"/next?q "))
    wire.answer()
    wire.feed(GET[:5], GET[5:] + GET)
    wire.answer_all()
    assert heads_of(wire)[3:] == [
        (b"/next?q", [(b"host", b"a")]),
        (b"/", [(b"host", b"a")]),
        (b"/", [(b"host", b"a")]),
    ]


def test_fields_of_the_request_in_progress_are_not_the_next_ones(parser: str) -> None:
    wire = Wire(parser)
    other = GET[:-2] + b"X: y\r\n\r\n"
    for _ in range(3):
        wire.feed(other[:20], other[20:], GET)
        wire.answer()
        wire.answer()
    assert (
        heads_of(wire) == [(b"/", [(b"host", b"a"), (b"x", b"y")]), (b"/", [(b"host", b"a")])] * 3
    )


@pytest.mark.parametrize("known", [False, True])
def test_one_empty_line_before_each_known_head(parser: str, known: bool) -> None:
    wire = trained(parser) if known else Wire(parser)
    for _ in range(3):
        wire.feed(b"\r\n", GET)
        wire.answer()
        wire.feed(b"\r\n" + GET)
        wire.answer()
        wire.feed(b"\r", b"\n" + GET)
        wire.answer()
    assert wire.refusals == []
    wire.feed(b"\r\n", b"\r\n" + GET)
    assert [error.status for error in wire.refusals] == [400]


def test_two_known_heads_in_one_piece(parser: str) -> None:
    """The second looks like fields of the first, from where the first begins."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"
    wire = trained(parser, request)
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.answer_all()
    assert heads_of(wire)[3:] == [(b"/", [(b"host", b"a")])] * 2
    assert wire.refusals == []


@pytest.mark.parametrize("ending", [b"", b"X", b"X: ", b"X: y\r\n", b"X: y\r"])
def test_known_head_behind_half_a_head(parser: str, ending: bytes) -> None:
    """What looks like a request is the other's field, or no field at all."""
    wire = trained(parser)
    half = b"GET /half HTTP/1.1\r\n" + ending
    wire.feed(GET + half)
    wire.answer()
    wire.feed(GET)
    other = Wire(parser)
    other.feed(half + GET)
    assert heads_of(wire)[4:] == heads_of(other)
    assert [str(each) for each in wire.all_refusals] == [str(each) for each in other.all_refusals]


def test_known_head_behind_half_a_head_behind_a_body(parser: str) -> None:
    wire = trained(parser)
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
    wire.feed(b"\r\n\r\nGET /half HTTP/1.1\r\nX: ")
    wire.answer()
    wire.feed(GET)
    assert heads_of(wire)[4:] == [(b"/half", [(b"x", b"GET / HTTP/1.1"), (b"host", b"a")])]


def test_known_head_that_is_a_body(parser: str) -> None:
    wire = trained(parser)
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET))
    wire.feed(GET)
    assert wire.current.body == GET
    wire.answer()
    wire.feed(GET)
    assert len(wire.cycles) == 5


def test_known_head_that_is_what_is_left_of_a_body(parser: str) -> None:
    wire = trained(parser)
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET))
    wire.answer()
    wire.feed(GET)
    assert len(wire.cycles) == 4


@pytest.mark.parametrize(
    "poison",
    [
        b"GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nX-Evil: 1\r\nHost: a\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        b"\r\n" + GET,
        b"\r\n\r\n" + GET,
        b"GET / HTTP/1.1\r\nHost: a\n\n" + GET,
    ],
)
def test_memory_is_not_poisoned(parser: str, poison: bytes) -> None:
    wire = Wire(parser)
    for _ in range(3):
        wire.feed(poison)
        if wire.refusals or "close" in wire.calls:
            return  # nothing more is taken from this peer
        wire.answer_all()
        if "close" in wire.calls:
            return
    _, _, block = poison.removeprefix(b"\r\n").partition(b"\r\n")
    for data in (GET, b"GET /x HTTP/1.1\r\n" + block):
        other = Wire(parser)
        other.feed(data)
        count = len(wire.cycles)
        wire.feed(data)
        assert heads_of(wire)[count:] == heads_of(other)
        assert [str(each) for each in wire.refusals] == [str(each) for each in other.refusals]
        wire.answer_all()


PIECES = [
    GET,
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX_: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: GET / HTTP/1.1\r\nY: 1\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=8), st.data())
def test_memory_changes_nothing(requests: list[bytes], data: st.DataObject) -> None:
    """With every head in a piece of its own, or cut anywhere: the same is found."""
    whole = b"".join(requests)
    cuts = data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=4))
    cut = [whole[a:b] for a, b in pairwise([0, *sorted(cuts), len(whole)])]
    for name in PARSERS:
        single = exchange(name, [whole[i : i + 1] for i in range(len(whole))])
        assert len(single.statuses) == len(requests)
        assert exchange(name, requests) == single
        assert exchange(name, cut) == single


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\x01b",
        b"X: a\nb",
        b"X: a\rb",
        b"X: \x7f",
        b"X",
        b"X : y",
        b" X: y",
        b"Y: y",
        b"",
        b"X: " + b"y" * 98,
    ],
)
def test_values_that_need_a_look(line: bytes) -> None:
    """The whole head is read then, and refused, or read otherwise."""
    memory = taught(limits=SHORT)
    assert memory.recall(LINE, b"Host: a\r\n%b\r\n\r\n" % line) is None


@pytest.mark.parametrize("value", [b"", b"z", b" \t z  \t", b"\xe4:", b"y" * (98)])
def test_values_that_are_taken(value: bytes) -> None:
    memory = taught(limits=SHORT)
    found = memory.recall(LINE, b"Host: a\r\nx:%b\r\n\r\n" % value)
    assert found is not None
    assert found.headers == [(b"host", b"a"), (b"x", value.strip(b" \t"))]
