"""Who sends next on an HTTP/2 connection: wishes as they are spelled, and the order of streams."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.h2_sending import Priority, SendQueue, priority_of

# Wishes

DEFAULT = Priority(3, incremental=False)  # RFC 9218 section 4, of who knows of priorities


@pytest.mark.parametrize(
    ("value", "urgency", "incremental"),
    [
        # RFC 9218: sections 4.1, 4.2, 5 and 7.
        (b"", 3, False),
        (b"u=5, i", 5, True),
        (b"u=0", 0, False),
        (b"i", 3, True),
        (b"u=1", 1, False),
        (b"u=1, i", 1, True),
        *((b"u=%d" % urgency, urgency, False) for urgency in range(8)),
        # RFC 8941 section 3.2: a boolean is a name alone, or ?1, or ?0.
        (b"i=?1", 3, True),
        (b"i=?0", 3, False),
        (b"i, u=2", 2, True),
        # White space, also of the kind that is for lists of fields.
        (b"u=1,i", 1, True),
        (b"u=1 ,\ti", 1, True),
        (b"  u=1  ", 1, False),
        (b"u=1 \t , \t i", 1, True),
        # The last of a name counts.
        (b"u=1, u=5", 5, False),
        (b"i, i=?0", 3, False),
        (b"i=?0, u=1, i", 1, True),
        # Parameters, which mean nothing.
        (b"u=1;x", 1, False),
        (b"u=1;x=2;y=?0, i;z", 1, True),
        (b"u=1; x=2, i; z", 1, True),
        (b"i;i=?0", 3, True),
        (b"u=4;u=1", 4, False),
        # Members that nobody knows.
        (b"a=1, u=2, b=(u=3 i), i, c", 2, True),
        (b"uu=1, ii, xu=1, x-i", 3, False),
        (b"u-=1, i_, u.=3", 3, False),
        (b"x=u=1", 3, False),
        # Sign and zeros of an integer (RFC 8941 section 3.3.1).
        (b"u=-0", 0, False),
        (b"u=07", 7, False),
        # Out of range, and of an unexpected type: as if it were not there.
        *((b"u=" + each, 3, False)
          for each in (b"8", b"-1", b"10", b"99", b"255", b"9" * 15, b"-" + b"9" * 15)),
        *((b"u=" + each, 3, False)
          for each in (b"1.0", b"a", b'"1"', b"?1", b":MQ==:", b"(1)", b"", b"+1", b"0x1")),
        (b"u", 3, False),
        *((b"i=" + each, 3, False) for each in (b"1", b"true", b"?2", b"?", b'"?1"', b"(?1)")),
        (b"u=8, i", 3, True),
        (b"i=1, u=1", 1, False),
        # Names are in lower case.
        (b"U=1, I", 3, False),
    ],
)  # fmt: skip
def test_priority_of(value: bytes, urgency: int, incremental: bool) -> None:
    assert priority_of(value) == Priority(urgency, incremental)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'u=5, x=", u=1, "', Priority(5, incremental=False)),
        (b'u=5;x=",u=1,"', Priority(5, incremental=False)),
        (b'u=5, x="\\", i, \\""', Priority(5, incremental=False)),
    ],
)
def test_what_is_in_quotes_is_no_wish(value: bytes, expected: Priority) -> None:
    """RFC 8941 section 3.3.3: a string may have commas."""
    assert priority_of(value) == expected


@pytest.mark.parametrize("value", [b"u=1, u=9", b"u=1, u=2.5", b"u=1, u", b'u=1, u="2"'])
def test_last_of_a_name_counts_though_it_means_nothing(value: bytes) -> None:
    """RFC 8941 section 3.2: it is the value. RFC 9218 section 4: and such a value is ignored."""
    assert priority_of(value) == DEFAULT


@pytest.mark.parametrize("value", [b"u=007", b"u=-00", b"u=000000000000007"])
def test_zeros_in_front_of_an_urgency(value: bytes) -> None:
    """RFC 8941 section 3.3.1: up to fifteen digits, zeros among them."""
    assert priority_of(value).urgency == int(value[2:])


@pytest.mark.parametrize(
    "value",
    [
        b",",
        b",,,",
        b"=",
        b"u=",
        b"u=\x00",
        b"i\xff",
        b"\xe4\xf6",
        b"u=1u=2",
        b"u 1",
        b"u =9",
        b"i=?",
        b'"',
        b'u="',
        b"(",
        b"u=(",
        b";",
        b"u=" + b"1" * 5000,
        b"u" * 5000,
        b"\n",
    ],
)
def test_garbage_is_no_wish(value: bytes) -> None:
    assert priority_of(value) == DEFAULT


@settings(max_examples=500)
@given(st.binary(max_size=50) | st.text('ui=?01 ,;\t-9"\\()', max_size=30).map(str.encode))
def test_anything_is_a_priority(value: bytes) -> None:
    found = priority_of(value)
    assert found.urgency in range(8)
    assert type(found.incremental) is bool


@pytest.mark.parametrize("piece", [b"u=1,", b" ", b"u=", b",", b"i;", b'"', b"\\"])
def test_long_wishes_take_no_time(piece: bytes) -> None:
    """With a pattern that can go back, this takes minutes."""
    priority_of(piece * (60_000 // len(piece)))


TYPES = {
    "integer": st.integers(-(10**14), 10**14).map(str) | st.sampled_from("01234567"),
    "decimal": st.sampled_from(["1.0", "-2.5", "0.001"]),
    "string": st.sampled_from(['""', '"a"', '"u"', '"\\"x\\\\"']),
    "token": st.sampled_from(["a", "*", "u", "a/b:c", "i"]),
    "bytes": st.sampled_from(["::", ":YQ==:"]),
    "boolean": st.sampled_from(["?0", "?1", ""]),
    "list": st.sampled_from(["()", "(1 2)", "(u i;u=1)"]),
}
PARAMETERS = st.lists(st.sampled_from([";x", ";u=1", "; i", ';y="z"', ";a=?0"]), max_size=2)


@st.composite
def members(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """A member of a dictionary: its name, its type, its value, and how it is spelled."""
    name = draw(st.sampled_from(["u", "i", "u", "i", "a", "ui", "*x"]))
    kind = draw(st.sampled_from(sorted(TYPES)))
    value = draw(TYPES[kind])
    spelled = (f"{name}={value}" if value else name) + "".join(draw(PARAMETERS))
    return name, kind, value, spelled


@settings(max_examples=500)
@given(
    st.lists(members(), max_size=6, unique_by=lambda member: member[0]),
    st.sampled_from([",", ", ", " ,\t", "\t,  "]),
)
def test_dictionaries(each: list[tuple[str, str, str, str]], comma: str) -> None:
    """Whatever RFC 8941 can spell, with each name once and no commas in strings."""
    urgency, incremental = 3, False
    for name, kind, value, _ in each:
        if name == "u" and kind == "integer" and 0 <= int(value) <= 7:
            urgency = int(value)
        elif name == "i" and kind == "boolean":
            incremental = value != "?0"
    spelled = comma.join(member[-1] for member in each).encode()
    assert priority_of(spelled) == Priority(urgency, incremental)


def test_who_says_nothing_gets_turns() -> None:
    assert Priority() == Priority(urgency=3, incremental=True)


# The order


class Stream:
    """Something that sends."""

    def __init__(self, name: str, urgency: int = 3, *, incremental: bool = True) -> None:
        self.name = name
        self.number = ord(name)  # the order in which they were asked for
        self.priority = Priority(urgency, incremental)

    def __repr__(self) -> str:
        return self.name


def order(queue: SendQueue[Stream], count: int) -> str:
    """Who sends, of so many pieces, each having more."""
    names = ""
    for _ in range(count):
        stream = queue.first()
        names += stream.name
        queue.rotate(stream)
    return names


def queued(*streams: Stream) -> SendQueue[Stream]:
    queue: SendQueue[Stream] = SendQueue()
    for stream in streams:
        queue.add(stream)
    return queue


def test_turns() -> None:
    assert order(queued(*map(Stream, "abc")), 7) == "abcabca"


def test_one_after_the_other() -> None:
    a, b = Stream("a", incremental=False), Stream("b", incremental=False)
    queue = queued(a, b)
    assert order(queue, 3) == "aaa"
    queue.discard(a)
    assert order(queue, 3) == "bbb"


def test_the_oldest_goes_first_where_nobody_takes_turns() -> None:
    """Also where it had nothing to send for a while."""
    a, b = Stream("a", incremental=False), Stream("b", incremental=False)
    queue = queued(b, a)
    assert order(queue, 2) == "aa"
    queue.discard(a)
    assert order(queue, 2) == "bb"
    queue.add(a)
    assert order(queue, 2) == "aa"


@pytest.mark.parametrize(
    ("others", "one", "expected"),
    [
        ([("b", 3, True)], ("a", 2, True), True),
        ([("b", 3, True)], ("c", 0, False), True),
        ([("b", 3, True)], ("a", 3, True), False),
        ([("b", 3, True)], ("a", 4, True), False),
        ([("b", 3, False)], ("a", 4, False), False),
        ([("b", 3, False)], ("a", 3, False), True),
        ([("b", 3, False)], ("c", 3, False), False),
        ([("b", 3, False)], ("a", 3, True), False),
        ([("b", 3, True)], ("a", 3, False), False),
        ([("c", 3, False), ("b", 3, True)], ("a", 3, False), False),
        ([("d", 3, False), ("b", 3, False)], ("a", 3, False), True),
        ([("d", 3, False), ("b", 3, False)], ("c", 3, False), False),
        ([("b", 5, True), ("c", 3, True)], ("a", 4, True), False),
        ([("b", 5, True), ("c", 3, True)], ("a", 2, True), True),
        ([("b", 5, True), ("c", 3, False)], ("a", 3, False), True),
    ],
)
def test_who_would_go_before_all(
    others: list[tuple[str, int, bool]], one: tuple[str, int, bool], expected: bool
) -> None:
    def made(name: str, urgency: int, incremental: bool) -> Stream:
        return Stream(name, urgency, incremental=incremental)

    queue = queued(*(made(*other) for other in others))
    stream = made(*one)
    assert queue.is_before(stream) is expected
    assert stream not in queue


def test_turns_among_others() -> None:
    """Who wants all at once does not get it before somebody who knows of no such wish."""
    a, b, c = Stream("a"), Stream("b", incremental=False), Stream("c")
    queue = queued(a, b, c)
    assert order(queue, 5) == "abcab"
    queue.discard(a)
    queue.discard(c)
    queue.add(Stream("d", incremental=False))
    assert order(queue, 3) == "bbb"


def test_turns_are_those_of_an_urgency() -> None:
    a, b = Stream("a", 2, incremental=False), Stream("b", 2, incremental=False)
    assert order(queued(Stream("c", 3), a, b), 3) == "aaa"


def test_more_urgent_ones_come_first() -> None:
    low, high, middle = Stream("l", 7), Stream("h", 0), Stream("m", 3)
    queue = queued(low, middle, high)
    assert order(queue, 2) == "hh"
    queue.discard(high)
    assert order(queue, 2) == "mm"
    queue.discard(middle)
    assert order(queue, 2) == "ll"


def test_more_urgent_one_comes_later() -> None:
    queue = queued(Stream("a"), Stream("b"))
    assert order(queue, 3) == "aba"
    queue.add(Stream("u", 2))
    assert order(queue, 3) == "uuu"


def test_who_waits_keeps_its_place() -> None:
    a, b = Stream("a"), Stream("b")
    queue = queued(a, b, a)
    assert order(queue, 3) == "aba"
    queue.add(a)
    assert order(queue, 2) == "ba"


def test_members() -> None:
    a, b = Stream("a"), Stream("b", 5)
    queue = queued(a)
    assert queue
    assert a in queue
    assert b not in queue
    queue.discard(b)  # it need not be there
    queue.discard(a)
    queue.discard(a)
    assert a not in queue
    assert not queue


def test_clear() -> None:
    queue = queued(Stream("a", 1), Stream("b", 2))
    queue.clear()
    assert not queue


def test_mind_is_changed() -> None:
    a, b = Stream("a"), Stream("b")
    queue = queued(a, b)
    queue.prioritise(b, Priority(1))
    assert b.priority == Priority(1)
    assert order(queue, 2) == "bb"
    queue.prioritise(b, Priority(4))
    assert order(queue, 2) == "aa"
    queue.discard(a)
    assert order(queue, 1) == "b"


def test_mind_of_one_that_has_nothing_to_send() -> None:
    a, b = Stream("a"), Stream("b")
    queue = queued(a)
    queue.prioritise(b, Priority(0))
    assert b not in queue
    assert b.priority == Priority(0)
    assert order(queue, 1) == "a"


class Model:
    """The same, naively: one list, searched for the most urgent."""

    def __init__(self) -> None:
        self.waiting: list[Stream] = []

    def add(self, stream: Stream) -> None:
        if stream not in self.waiting:
            self.waiting.append(stream)

    def discard(self, stream: Stream) -> None:
        if stream in self.waiting:
            self.waiting.remove(stream)

    def first(self) -> Stream:
        urgency = min(each.priority.urgency for each in self.waiting)
        equals = [each for each in self.waiting if each.priority.urgency == urgency]
        if any(each.priority.incremental for each in equals):
            return equals[0]
        return min(equals, key=lambda stream: stream.number)

    def rotate(self, stream: Stream) -> None:
        urgency = stream.priority.urgency
        equals = [each for each in self.waiting if each.priority.urgency == urgency]
        if any(each.priority.incremental for each in equals):
            self.waiting.remove(stream)
            self.waiting.append(stream)

    def prioritise(self, stream: Stream) -> None:
        """Its priority is another one: it goes behind those that had that before."""
        if stream in self.waiting:
            self.waiting.remove(stream)
            self.waiting.append(stream)


PRIORITIES = st.builds(Priority, st.integers(0, 7), st.booleans())
MOVES = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 4)),
    st.tuples(st.just("discard"), st.integers(0, 4)),
    st.just(("send", 0)),
    st.tuples(PRIORITIES, st.integers(0, 4)),
)


@settings(max_examples=500)
@given(
    st.lists(PRIORITIES, min_size=5, max_size=5),
    st.lists(MOVES | st.just(("send", 0)), max_size=60),
)
def test_order_is_that_of_a_naive_queue(
    priorities: list[Priority], moves: list[tuple[str | Priority, int]]
) -> None:
    streams = [Stream(name) for name in "abcde"]
    for stream, priority in zip(streams, priorities, strict=True):
        stream.priority = priority
    queue: SendQueue[Stream] = SendQueue()
    model = Model()
    for move, number in moves:
        stream = streams[number]
        if isinstance(move, Priority):
            queue.prioritise(stream, move)
            model.prioritise(stream)
        elif move == "add":
            queue.add(stream)
            model.add(stream)
        elif move == "discard":
            queue.discard(stream)
            model.discard(stream)
        elif queue:
            first = queue.first()
            assert first is model.first()
            queue.rotate(first)
            model.rotate(first)
        assert bool(queue) is bool(model.waiting)
        assert [each in queue for each in streams] == [each in model.waiting for each in streams]
