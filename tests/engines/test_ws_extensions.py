"""The extensions that a client offers: how they are spelled, and that many of them cost little."""

import re
from typing import Any

import pytest

from aserver.engines import ws_handshake
from aserver.engines.ws_handshake import Handshake
from tests.engines.test_ws_handshake import EXTENSIONS, LIMITS, refusal, request

MOST = 16


def offers(*values: bytes) -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
    handshake = Handshake(request(*((EXTENSIONS, value) for value in values)))
    return [(offer.name, offer.parameters) for offer in handshake._offers]


@pytest.mark.parametrize(
    ("value", "offer"),
    [
        (b"x", [(b"x", [])]),
        (b"x;a", [(b"x", [(b"a", b"")])]),
        (b" x ; a = 1 ;b\t", [(b"x", [(b"a", b"1"), (b"b", b"")])]),
        (b'x; a="1"; a="b"', [(b"x", [(b"a", b"1"), (b"a", b"b")])]),
        (b"x, y;z , x", [(b"x", []), (b"y", [(b"z", b"")]), (b"x", [])]),
        (b"foo, bar; baz=2", [(b"foo", []), (b"bar", [(b"baz", b"2")])]),  # section 9.1
        (b"", []),
        (b" , ", []),
        (b", x ,, y,\t", [(b"x", []), (b"y", [])]),
        (b'x; a="\\1\\b2"', [(b"x", [(b"a", b"1b2")])]),  # RFC 9110 section 5.6.4
        (
            b'x; a="\\a"; b="\\1\\0", y;c=d',
            [
                (b"x", [(b"a", b"a"), (b"b", b"10")]),
                (b"y", [(b"c", b"d")]),
            ],
        ),
        (b",", []),
        (b"\t,,\t ,", []),
        (b",,x;a,\t,", [(b"x", [(b"a", b"")])]),
        (b"deflate-stream", [(b"deflate-stream", [])]),
        (
            b"permessage-deflate; client_max_window_bits",
            [(b"permessage-deflate", [(b"client_max_window_bits", b"")])],
        ),
    ],
)
def test_extensions(value: bytes, offer: list[Any]) -> None:
    assert offers(value) == offer
    assert offers(value, value) == offer * 2


@pytest.mark.parametrize(
    "value",
    [
        b"x;",
        b"x;;y",
        b"x;=1",
        b"x; a=",
        b"x; a==1",
        b'x; a=""',
        b'x; a="1',
        b'x; a=1"',
        b'x; a="1 2"',
        b'x; a="\\"',
        b'x; a="1\\"',
        b'x; a="\\\\"',
        b'x; a="\\ "',
        b'x; a="\\,"',
        b'x; a="\\""',
        b"x; a=\\1",
        b"x; \\a=1",
        b", (",
        b",;",
        b";a",
        b'x; a="1;2"',
        b'x; a="1"2',
        b"x; a=1 2",
        b"x y",
        b"x=1",
        b"x; a b",
        b"(x)",
        b"x\x0b",
    ],
)
def test_extensions_that_are_no_list(value: bytes) -> None:
    expected = (400, "Sec-WebSocket-Extensions is not a list of extensions")
    assert refusal(request((EXTENSIONS, value))) == expected
    # No list begins in one header and ends in another.
    assert refusal(request((EXTENSIONS, b"y"), (EXTENSIONS, value))) == expected


@pytest.mark.parametrize("values", [[b""], [b"", b""], [b",", b" ", b"\t,"]])
def test_headers_without_an_offer(values: list[bytes]) -> None:
    assert offers(*values) == []
    fields = [(EXTENSIONS, value) for value in values]
    head, deflate = Handshake(request(*fields)).accept(None, [], LIMITS)
    assert deflate is None
    assert EXTENSIONS not in head.block.lower()


def test_quoted_pairs_are_what_they_stand_for() -> None:
    value = b'permessage-deflate; client_max_window_bits="\\1\\0"'
    _, deflate = Handshake(request((EXTENSIONS, value))).accept(None, [], LIMITS)
    assert deflate is not None
    assert deflate.inward_bits == 10


# Many of them


def names(*values: bytes) -> list[bytes]:
    return [name for name, _ in offers(*values)]


def numbered(first: int, last: int) -> bytes:
    return b", ".join(b"x%d" % number for number in range(first, last))


@pytest.mark.parametrize("count", [MOST - 1, MOST, MOST + 1, 1000])
def test_no_more_than_16_offers_are_looked_at(count: int) -> None:
    expected = [b"x%d" % number for number in range(min(count, MOST))]
    assert names(numbered(0, count)) == expected
    assert names(b",".join([numbered(0, count), b"", b""])) == expected
    assert names(*(b"x%d" % number for number in range(count))) == expected
    assert names(numbered(0, 10), b",", numbered(10, count)) == expected


def test_what_is_behind_16_offers_may_be_anything() -> None:
    for bad in (b"(", b"x y", b'"'):
        assert len(names(numbered(0, MOST) + b", " + bad)) == MOST
        assert len(names(numbered(0, MOST), bad)) == MOST
        for values in ((numbered(1, MOST) + b", " + bad,), (numbered(1, MOST), bad)):
            assert refusal(request(*((EXTENSIONS, value) for value in values)))[0] == 400


@pytest.mark.parametrize("place", [1, MOST, MOST + 1])
def test_compression_is_found_among_16_offers(place: int) -> None:
    value = b", ".join([*[b"x"] * (place - 1), b"permessage-deflate"])
    _, deflate = Handshake(request((EXTENSIONS, value))).accept(None, [], LIMITS)
    assert (deflate is not None) is (place <= MOST)


class Counter:
    """What counts its calls, and what it has looked at."""

    def __init__(self, match: Any) -> None:
        self._match = match
        self.calls = 0
        self.looked_at = 0

    def __call__(self, value: bytes, position: int) -> re.Match[bytes] | None:
        found: re.Match[bytes] | None = self._match(value, position)
        self.calls += 1
        self.looked_at += 0 if found is None else found.end() - position
        return found


@pytest.mark.parametrize("piece", [b"x, ", b"x,", b"x;a=1,", b'x; a="1" ,,,', b"x" + b", " * 50])
@pytest.mark.parametrize("headers", [1, 50])
def test_cost_of_many_offers_is_that_of_16(
    monkeypatch: pytest.MonkeyPatch, piece: bytes, headers: int
) -> None:
    match, is_over = Counter(ws_handshake._match_extension), Counter(ws_handshake._is_over)
    monkeypatch.setattr(ws_handshake, "_match_extension", match)
    monkeypatch.setattr(ws_handshake, "_is_over", is_over)
    value = piece * (60_000 // len(piece) // headers)
    assert len(names(*[value] * headers)) == MOST
    assert match.calls == MOST
    assert is_over.calls <= 2 * MOST
    assert match.looked_at <= MOST * (len(piece) + 1)


@pytest.mark.parametrize("piece", [b"x;", b"x ", b"a=", b"x;a=1;", b" ;", b"\t", b'x;a="', b", "])
@pytest.mark.parametrize("end", [b"(", b'"'])
def test_what_nearly_matches_is_looked_at_once(piece: bytes, end: bytes) -> None:
    """Else this would take minutes."""
    value = piece * (60_000 // len(piece)) + end
    assert refusal(request((EXTENSIONS, value)))[0] == 400


def test_offer_with_many_parameters() -> None:
    assert len(offers(b"x" + b";a" * 30_000)[0][1]) == 30_000
    assert offers(b"," * 60_000) == []
