"""The memory of the last head: what it may skip, and what it must never confuse."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.h1 import H1
from aserver.engines.heads import HeadMemory
from aserver.types import Headers, Request
from tests.corpus import load
from tests.engines.wire import Wire, exchange
from tests.fakes import PARSERS, FakeCycle

LINE = b"GET /a HTTP/1.1"
BLOCK = b"Host: a\r\nX: y\r\n\r\n"
FIELDS = [(b"host", b"a"), (b"x", b"y")]


def request(**changes: Any) -> Request:
    plain: dict[str, Any] = {"method": "GET", "target": b"/a", "http_version": "1.1"}
    return Request(headers=FIELDS.copy(), **{**plain, **changes})


def memory(times: int = 2, line: bytes = LINE, block: bytes = BLOCK, **changes: Any) -> HeadMemory:
    """A memory that took in the same head so many times."""
    made = HeadMemory()
    for _ in range(times):
        made.remember(line, block, request(**changes))
    return made


def test_what_came_twice_is_remembered() -> None:
    assert HeadMemory().recall(LINE, BLOCK) is None
    assert memory(times=1).recall(LINE, BLOCK) is None
    found = memory().recall(b"HEAD /b?c HTTP/1.1", BLOCK)
    assert found is not None
    assert (found.method, found.target, found.http_version) == ("HEAD", b"/b?c", "1.1")
    assert found.headers == FIELDS
    assert (found.content_length, found.keep_alive) == (0, True)
    assert (found.expects_continue, found.upgrade) == (False, b"")


def test_only_the_last_is_remembered() -> None:
    made = memory()
    made.remember(LINE, b"Host: b\r\n\r\n", request())
    assert made.recall(LINE, BLOCK) is None
    made.remember(LINE, BLOCK, request())
    assert made.recall(LINE, BLOCK) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"http_version": "1.0"},
        {"content_length": 5},
        {"content_length": None},
        {"keep_alive": False},
        {"expects_continue": True},
        {"upgrade": b"websocket"},
    ],
)
def test_what_asks_for_something_is_not_remembered(changes: dict[str, Any]) -> None:
    assert memory(**changes).recall(LINE, BLOCK) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\nGET /a HTTP/1.1",
        b" GET /a HTTP/1.1",
        b"GET  /a HTTP/1.1",
        b"GET http://b/a HTTP/1.1",
        b"GET /a HTTP/1.1\nX: y",
        b"GET /b HTTP/1.1",
        b"POST /a HTTP/1.1",
    ],
)
def test_line_that_is_not_the_requests(line: bytes) -> None:
    assert memory(line=line).recall(LINE, BLOCK) is None


@pytest.mark.parametrize(
    "block",
    [
        b"Host: a\nX: y\r\n\r\n",
        b"Host: a\rX: y\r\n\r\n",
        b"Host: a\n\nX: y\r\n\r\n",
        b"\r\nHost: a\r\n\r\n",
        b"Host: a\r\n\r\nX: y\r\n\r\n",
        b"Host: a\r\n\r\nX",
        b"Host: a\r\n",
        b"Host: " + b"a" * 4096 + b"\r\n\r\n",
    ],
)
def test_block_that_is_not_one_head(block: bytes) -> None:
    made = memory(block=block)
    if block.startswith(b"\r\n"):
        # It may be remembered, but no request line comes before an empty line.
        assert not block.endswith(BLOCK)
    else:
        assert made.recall(LINE, block) is None


def test_size_is_bounded() -> None:
    largest = b"X: " + b"y" * (4096 - 7) + b"\r\n\r\n"
    assert len(largest) == 4096
    assert memory(block=largest).recall(LINE, largest) is not None
    larger = b"Y" + largest
    assert memory(block=larger).recall(LINE, larger) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.1 ",
        b"GET  / HTTP/1.1",
        b" GET / HTTP/1.1",
        b"get / HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"PROPFIND / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET http://b/ HTTP/1.1",
        b"GET /\xe9 HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\t HTTP/1.1",
        b"GET /\n HTTP/1.1",
        b"GET / HTTP/1.1\nX: y",
        b"\nGET / HTTP/1.1",
    ],
)
def test_line_that_is_not_plain_is_parsed(line: bytes) -> None:
    made = memory()
    assert made.recall(LINE, BLOCK) is not None
    assert made.recall(line, BLOCK) is None


def test_no_mutation_is_remembered() -> None:
    made = HeadMemory()
    mine = request()
    made.remember(LINE, BLOCK, request())
    made.remember(LINE, BLOCK, mine)
    mine.headers.append((b"x", b"mine"))
    first, second = made.recall(LINE, BLOCK), made.recall(LINE, BLOCK)
    assert first is not None
    assert second is not None
    first.headers.clear()
    assert second.headers == FIELDS


# On the wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def heads_of(wire: Wire) -> list[tuple[bytes, Headers]]:
    return [(cycle.request.target, cycle.request.headers) for cycle in wire.cycles]


def trained(parser: str) -> Wire:
    """An engine that knows the fields of `GET`."""
    wire = Wire(parser)
    for _ in range(3):
        wire.feed(GET)
        wire.answer()
    return wire


def test_known_head_is_not_parsed(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = trained(parser)
    monkeypatch.setattr(H1, "on_head", lambda *args: pytest.fail("parsed again"))
    wire.feed(GET.replace(b"/ ", b"/next?q "))
    assert heads_of(wire)[-1] == (b"/next?q", [(b"host", b"a")])


def test_eager_application(parser: str) -> None:
    wire = Wire(parser, lambda wire, cycle: wire.answer())
    for _ in range(4):
        wire.feed(GET)
    assert heads_of(wire) == [(b"/", [(b"host", b"a")])] * 4
    assert wire.statuses == [200] * 4


def test_fields_of_the_request_in_progress_are_not_the_next_ones(parser: str) -> None:
    wire = Wire(parser)
    other = GET[:-2] + b"X: y\r\n\r\n"
    for _ in range(3):
        wire.feed(other[:20], other[20:], GET)
        wire.answer()
        wire.answer()
    wire.feed(GET)
    assert heads_of(wire)[-1] == (b"/", [(b"host", b"a")])


def test_empty_lines_before_a_known_head(parser: str) -> None:
    wire = trained(parser)
    wire.feed(b"\r\n\r\n", GET)
    if not wire.refusals:
        assert len(wire.cycles) == 4
        assert not wire.mid_head()


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
    assert [each.status for each in wire.refusals] == [each.status for each in other.refusals]


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
        b"GET / HTTP/1.1\nX-Evil: 1\r\nHost: a\r\n\r\n",
        b"\r\n" + GET,
        b"\r\n\r\n" + GET,
        b"GET / HTTP/1.1\r\nHost: a\n\n" + GET,
    ],
)
def test_memory_is_not_poisoned(parser: str, poison: bytes) -> None:
    wire = Wire(parser)
    for _ in range(3):
        wire.feed(poison)
        if wire.refusals:
            return  # nothing more is taken from this peer
        wire.answer_all()
    _, _, block = poison.partition(b"\r\n")
    for data in (GET, b"GET /x HTTP/1.1\r\n" + block):
        other = Wire(parser)
        other.feed(data)
        count = len(wire.cycles)
        wire.feed(data)
        assert heads_of(wire)[count:] == heads_of(other)
        assert [each.status for each in wire.refusals] == [each.status for each in other.refusals]
        wire.answer_all()


def test_every_request_of_the_corpus_again_and_again(parser: str) -> None:
    """However often a request came before, it is what it was."""
    for case in load("valid"):
        found, statuses = exchange(parser, [case.data] * 4)
        if not all(each.keep_alive and each.complete for each in case.requests):
            continue
        if not case.requests or not case.data.endswith(b"\r\n\r\n"):
            continue
        assert found == case.requests * 4, case.name
        assert statuses == [200] * len(found)


PIECES = [
    GET,
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: GET / HTTP/1.1\r\nY: 1\r\n\r\n",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=8), st.data())
def test_memory_changes_nothing(requests: list[bytes], data: st.DataObject) -> None:
    """With every head in a piece of its own, or cut anywhere: the same is found."""
    whole = b"".join(requests)
    cuts = data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=4))
    places = [0, *sorted(cuts), len(whole)]
    cut = [whole[a:b] for a, b in pairwise(places)]
    for name in PARSERS:
        single = exchange(name, [whole[i : i + 1] for i in range(len(whole))])
        assert exchange(name, requests) == single
        assert exchange(name, cut) == single


@pytest.mark.parametrize("parser", PARSERS)
def test_what_an_application_adds_is_not_remembered(parser: str) -> None:
    """Not even by one that acts at once, while its request is still being fed."""

    def act(wire: Wire, cycle: FakeCycle) -> None:
        seen.append(list(cycle.request.headers))
        cycle.request.headers.append((b"x-user", b"admin"))
        wire.answer()

    seen: list[Headers] = []
    wire = Wire(parser, act)
    for _ in range(4):
        wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert seen == [[(b"host", b"a")]] * 4
