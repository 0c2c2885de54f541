"""Who sends next on an HTTP/2 connection: what clients wish (RFC 9218), and turns for others."""

import re
from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

_URGENCIES = range(8)

# RFC 9218 section 4, in RFC 8941's dictionaries: members are separated by commas, may have
# parameters that nobody has defined, and strings with commas in them.
_find_members = re.compile(
    rb'(?:\A|,)[ \t]*+([a-z*][a-z0-9_.*-]*+)((?:[^",]|"(?:[^"\\]|\\.)*+"?)*+)', re.DOTALL
).findall
_is_integer = re.compile(rb"=(-?[0-9]{1,15})[ \t]*(?:;.*)?", re.DOTALL).fullmatch
_is_boolean = re.compile(rb"(?:=\?([01]))?[ \t]*(?:;.*)?", re.DOTALL).fullmatch


class Priority(NamedTuple):
    """How urgent a response is, and whether it is of use in parts.

    Section 4.2 has a client that says nothing get one response after the other. But who does not
    know of priorities means nothing by that, and for him everybody gets a turn.
    """

    urgency: int = 3
    incremental: bool = True


def priority_of(value: bytes) -> Priority:
    """The wish in a `priority` field, or in a PRIORITY_UPDATE frame."""
    members = dict(_find_members(value))  # the last of a name counts
    number = _is_integer(members.get(b"u", b""))
    urgency = int(number[1]) if number else 3
    wish = _is_boolean(members[b"i"]) if b"i" in members else None
    return Priority(urgency if urgency in _URGENCIES else 3, wish is not None and wish[1] != b"0")


class Prioritised(Protocol):
    """A stream, seen from here."""

    number: int
    priority: Priority


Sender = TypeVar("Sender", bound=Prioritised)


def _takes_turns(level: Iterable[Prioritised]) -> bool:
    return any(stream.priority.incremental for stream in level)


def _number(stream: Prioritised) -> int:
    return stream.number


class SendQueue(Generic[Sender]):
    """Streams that have something to send, in the order in which they may.

    The more urgent come first. Equally urgent ones go one after the other if none of them is of use
    in parts, and else take turns (RFC 9218 section 10).
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: dict[int, dict[Sender, None]] = {}  # by urgency; those that have any

    def __len__(self) -> int:
        return sum(map(len, self._levels.values()))

    def __bool__(self) -> bool:
        return bool(self._levels)

    def __contains__(self, stream: Sender) -> bool:
        return stream in self._levels.get(stream.priority.urgency, ())

    def add(self, stream: Sender) -> None:
        """It has something to send. It keeps its place if it has one."""
        self._levels.setdefault(stream.priority.urgency, {})[stream] = None

    def discard(self, stream: Sender) -> None:
        """It has nothing, or must not."""
        urgency = stream.priority.urgency
        level = self._levels.get(urgency)
        if level is not None:
            level.pop(stream, None)
            if not level:
                del self._levels[urgency]

    def first(self) -> Sender:
        """Whose turn it is; there must be somebody."""
        level = self._levels[min(self._levels)]
        stream = next(iter(level))
        if stream.priority.incremental or _takes_turns(level):
            return stream
        return min(level, key=_number)  # the one that was asked for first

    def is_before(self, stream: Sender) -> bool:
        """Whether a stream, not in here for now, would have its turn before all that are.

        That is so if it is more urgent; or as urgent, older, and nobody is of use in parts.
        """
        urgency = min(self._levels)
        if stream.priority.urgency != urgency:
            return stream.priority.urgency < urgency
        level = self._levels[urgency]
        if stream.priority.incremental or _takes_turns(level):
            return False
        return stream.number < min(map(_number, level))

    def rotate(self, stream: Sender) -> None:
        """It has had its turn, and has more."""
        level = self._levels[stream.priority.urgency]
        # Who wants all at once does not get it before somebody who knows of no such wish.
        if _takes_turns(level):
            self.discard(stream)
            self.add(stream)

    def prioritise(self, stream: Sender, priority: Priority) -> None:
        """Its client has changed its mind."""
        waits = stream in self
        self.discard(stream)
        stream.priority = priority
        if waits:
            self.add(stream)

    def clear(self) -> None:
        """Nobody sends anything any more."""
        self._levels.clear()
