"""Differential fuzzing of HTTP/1: `python -m tests.fuzz SECONDS SEED`.

Valid requests are damaged at random, and given to both parsers in random pieces: what comes of it
must be the same. What is accepted, h11 as a whole must accept, too, and read the same in it: see
`compare` for where it deliberately does not. A short run is part of the tests.
"""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import h11

from tests.corpus import Found, load
from tests.engines.wire import Outcome, exchange
from tests.fakes import PARSERS

_HOSTILE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b",",
]
_HOSTILE += [b";", b"_", b"0", b"-", b"/", b"%", b"#", b"\\", b'"', b"\r\n\r\n", b"\r\n ", b"\x0b"]
_FIELDS = (
    b"Host: a",
    b"Host: b",
    b"Content-Length: 0",
    b"Content-Length: 3",
    b"Content-Length: 003",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Transfer_Encoding: chunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"X: y",
)


def seeds() -> list[bytes]:
    """Requests to begin with: the valid ones of the corpus."""
    return [case.data for case in load("valid") if case.requests]


# Damage


def _flip(random: Random, data: bytearray) -> None:
    place = random.randrange(len(data))
    data[place] ^= 1 << random.randrange(8)


def _insert(random: Random, data: bytearray) -> None:
    place = random.randrange(len(data) + 1)
    data[place:place] = random.choice(_HOSTILE)


def _replace(random: Random, data: bytearray) -> None:
    place = random.randrange(len(data))
    data[place : place + 1] = random.choice(_HOSTILE)


def _delete(random: Random, data: bytearray) -> None:
    place = random.randrange(len(data))
    del data[place : place + random.choice((1, 1, 1, 2, 5))]


def _cut_off(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data)) :]


def _change_case(random: Random, data: bytearray) -> None:
    place = random.randrange(len(data))
    data[place : place + 8] = data[place : place + 8].swapcase()


def _change_line_end(random: Random, data: bytearray) -> None:
    ends = [match.start() for match in re.finditer(rb"\r\n", data)]
    if ends:
        place = random.choice(ends)
        data[place : place + 2] = random.choice(
            (
                b"\n",
                b"\r",
                b"\r\r\n",
                b"\n\r",
                b"",
                b"\r\n\r\n",
                b"\r\n ",
                b"\r\n\t",
                b" \r\n",
                b"\t\r\n",
            )
        )


def _on_lines(change: Callable[[Random, list[bytes]], None]) -> Callable[[Random, bytearray], None]:
    def damage(random: Random, data: bytearray) -> None:
        lines = data.split(b"\r\n")
        change(random, lines)  # type: ignore[arg-type]
        data[:] = b"\r\n".join(lines)

    return damage


@_on_lines
def _double_line(random: Random, lines: list[bytes]) -> None:
    place = random.randrange(len(lines))
    lines.insert(random.randrange(len(lines)), lines[place])


@_on_lines
def _swap_lines(random: Random, lines: list[bytes]) -> None:
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


@_on_lines
def _drop_line(random: Random, lines: list[bytes]) -> None:
    del lines[random.randrange(len(lines))]


@_on_lines
def _add_field(random: Random, lines: list[bytes]) -> None:
    lines.insert(
        1 if random.random() < 0.7 else random.randrange(len(lines)), random.choice(_FIELDS)
    )


_DAMAGES: list[Callable[[Random, bytearray], None]] = [
    _flip,
    _insert,
    _insert,
    _replace,
    _delete,
    _cut_off,
    _change_case,
    _change_line_end,
]
_DAMAGES += [_double_line, _swap_lines, _drop_line, _add_field, _add_field]


def damaged(random: Random, data: bytes) -> bytes:
    """The same, worse."""
    worse = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        if worse:
            random.choice(_DAMAGES)(random, worse)
    return bytes(worse)


def pieces(random: Random, data: bytes) -> list[bytes]:
    """Data in random pieces."""
    way = random.random()
    if way < 0.1:
        return [data[i : i + 1] for i in range(len(data))]
    if way < 0.4:  # each head by itself, as most arrive
        return re.findall(rb"(?s).+?(?:\r\n\r\n|\Z)", data)
    count = min(len(data), random.choice((0, 1, 1, 2, 5)))
    places = [0, *sorted(random.sample(range(len(data)), count)), len(data)]
    cut = [data[a:b] for a, b in pairwise(places)]
    return [piece for piece in cut if piece]


# The oracle


@dataclass
class Heard:
    """A request as h11 reads it."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    complete: bool = False
    keep_alive: bool = True


def heard_by_h11(data: bytes, count: int) -> list[Heard]:
    """The first requests in it, and what h11 could read of the last."""
    found: list[Heard] = []
    while data and len(found) < count:
        conn = h11.Connection(h11.SERVER)
        conn.receive_data(data.removeprefix(b"\r\n"))  # it does not ignore an empty line
        try:
            event = conn.next_event()
            while event is not h11.NEED_DATA:
                if isinstance(event, h11.Request):
                    version = event.http_version.decode()
                    headers = list(event.headers)
                    found.append(Heard(event.method.decode(), event.target, version, headers))
                elif isinstance(event, h11.Data):
                    found[-1].body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    found[-1].complete = True
                    found[-1].keep_alive = conn.their_state is not h11.MUST_CLOSE
                    break
                event = conn.next_event()
            else:
                return found
        except h11.RemoteProtocolError:
            return found
        data, _ = conn.trailing_data
    return found


def compare(accepted: Found, heard: Heard, *, refused: bool) -> None:
    """Both have read the same. `refused` says that the engine did not read to the end of it."""
    assert accepted.method == heard.method
    assert accepted.version == heard.version
    # RFC 9112 section 3.2.2: the engine takes absolute targets apart.
    headers, absolute = accepted.headers, not heard.target.startswith((b"/", b"*"))
    if absolute:
        headers = headers[1:]
    else:
        assert accepted.target == heard.target
    theirs = [
        (name, value)
        for name, value in heard.headers
        if b"_" not in name and not (absolute and name == b"host")
    ]
    assert [_in_h11s_case(*field) for field in headers] == theirs
    if accepted.complete:
        assert heard.complete
        assert accepted.body == heard.body
        # It keeps no HTTP/1.0 connection, and says nothing before it knows of an upgrade's fate.
        if accepted.version == "1.1" and not any(name == b"upgrade" for name, _ in theirs):
            assert accepted.keep_alive == heard.keep_alive
    elif refused:
        assert heard.body.startswith(accepted.body)
    else:
        assert not heard.complete
        assert accepted.body == heard.body


def _in_h11s_case(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return name, value.lower() if name == b"transfer-encoding" else value


# h11 knows no bad white space before a chunk extension (RFC 9112 section 7.1.1).
_bad_white_space = re.compile(rb"[0-9A-Fa-f][ \t]+;").search


def check(random: Random, data: bytes) -> Outcome:
    """Both parsers, in pieces and whole, and the oracle agree; returns what they agree on."""
    outcome = exchange("httptools", [data])
    cut = pieces(random, data)
    for name in PARSERS:
        assert exchange(name, cut) == outcome, (name, cut)
    assert outcome.statuses.count(200) == sum(request.complete for request in outcome.found)
    refusals = [status for status in outcome.statuses if status != 200]
    assert len(refusals) == len(outcome.reasons) <= 1
    if not _bad_white_space(data):
        heard = heard_by_h11(data, len(outcome.found))
        assert len(heard) == len(outcome.found)
        for accepted, each in zip(outcome.found, heard, strict=True):
            compare(accepted, each, refused=bool(refusals))
    return outcome


def conversation(random: Random, originals: list[bytes]) -> bytes:
    """A few requests on a connection, alike or not, damaged or not."""
    first = random.choice(originals)
    way = random.random()
    if way < 0.6:
        return damaged(random, first)
    if way < 0.8:
        return damaged(random, first) + damaged(random, random.choice(originals))
    # The last head is remembered, and what comes is compared with it.
    return first + first + damaged(random, first) + damaged(random, first)


def run(seed: int, more: Callable[[int], bool]) -> tuple[int, int]:
    """Check until there is no more to do; returns how many there were, and how many refused."""
    random = Random(seed)
    originals = seeds()
    count = refused = 0
    while more(count):
        data = conversation(random, originals)
        try:
            refused += bool(check(random, data).reasons)
        except BaseException as error:
            error.add_note(f"seed {seed}, number {count}: {data!r}")
            raise
        count += 1
    return count, refused


def main() -> None:
    """As long as the command line says."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    end = time.monotonic() + seconds
    count, refused = run(seed, lambda _: time.monotonic() < end)
    sys.stdout.write(f"{count} requests, {refused} of them refused\n")


if __name__ == "__main__":
    main()
