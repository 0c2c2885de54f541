"""Field lines to fields: the h11 parser, and what it has in common with the other."""

import pytest

from aserver.engines.grammar import split_fields
from aserver.engines.h1_h11 import parse
from aserver.seams import Parser
from aserver.types import Headers, ProtocolError
from tests.fakes import PARSERS

DECISIVE = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "Upgrade", "TE"]
VALUES = ["", "a", "5", "chunked", "close", "upgrade", "a, b", "100-continue", "\xe9", "a:b", '"']


@pytest.fixture(params=[*PARSERS])
def parser(request: pytest.FixtureRequest) -> Parser:
    return PARSERS[request.param]


def parsed(parser: Parser, block: bytes) -> Headers | None:
    """The fields, or None if they are refused."""
    try:
        return parser(block)
    except ProtocolError:
        return None


@pytest.mark.parametrize(
    "block",
    [
        b"Host: a\r\n\r\n",
        b"X:y\r\nx: z\r\nX:\t z \t\r\n\r\n",
        b"X:\r\nY: \r\nZ: \t \r\n\r\n",
        b"X: a b\tc\r\n\r\n",
        b"X: \xe9\x80\xff\r\n\r\n",
        b"X: :::\r\n\r\n",
        b"!#$%&'*+-.^_`|~09AZaz: x\r\n\r\n",
        b"A: 1\r\nHost: a\r\nB: 2\r\nContent-Length: 5\r\nC: 3\r\n\r\n",
        b"A: 1\r\nHost: a\r\nB: 2\r\nTransfer-Encoding: Chunked\r\nC: 3\r\n\r\n",
        b"Host: a\r\nHost: b\r\nContent-Length: 3\r\n\r\n",
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
        b"Connection: close\r\nConnection: x\r\n\r\n",
        b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"X: y\r\n" * 1000 + b"\r\n",
    ],
)
def test_fields(parser: Parser, block: bytes) -> None:
    fields = parser(block)
    assert type(fields) is list
    assert all(type(part) is bytes for field in fields for part in field)
    assert fields == split_fields(block)


def test_no_fields(parser: Parser) -> None:
    assert parser(b"\r\n") == []


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", DECISIVE)
def test_what_the_guard_judges_is_parsed_or_refused(parser: Parser, name: str, value: str) -> None:
    """A parser may dislike what is not allowed, but must not change what it lets pass."""
    block = f"{name}: {value}\r\nX: y\r\n\r\n".encode("latin-1")
    assert parsed(parser, block) in (None, split_fields(block))


@pytest.mark.parametrize(
    "line",
    [
        "X",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        ":",
        ": y",
        "X : y",
        "Content-Length : 5",
        "X\t: y",
        " X: y",
        "\tX: y",
        "X Y: z",
        "X(: y",
        "X\xe9: y",
        "X: y\x00",
        "X\x01: y",
    ],
)
@pytest.mark.parametrize("place", ["{}\r\nA: b", "A: b\r\n{}"])
def test_what_is_no_field_is_none(parser: Parser, line: str, place: str) -> None:
    """The guard counts on it: refused, or at least not one field for each line."""
    block = f"{place.format(line)}\r\n\r\n".encode("latin-1")
    assert len(parsed(parser, block) or []) < 2


def test_h11_is_not_asked_what_it_does_not_decide() -> None:
    """Its own limits, its view of hosts and lengths."""
    block = b"Host: a b\r\nHost: \r\nContent-Length: x\r\nTransfer-Encoding: gzip\r\n\r\n"
    assert parse(block) == split_fields(block)
