"""Response heads: what is checked, what is remembered."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import pytest

from aserver.engines import fields
from aserver.engines.fields import (
    CLOSE,
    DATE,
    DROPPED,
    LENGTH,
    SERVER,
    ResponseHead,
    check_field,
    reason_phrase,
    refusal,
    response_head,
    trailer_line,
)
from aserver.types import AppError, Headers, ProtocolError
from tests.cases import each

CONTROLS = [*range(9), *range(10, 32), 127]


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_fields", "_heads"):
        monkeypatch.setattr(fields, name, {})
    monkeypatch.setattr(fields, "_recall_field", fields._fields.get)


def block(headers: Any, status: int = 200, method: str = "GET") -> bytes:
    return response_head(status, headers, method).block


@pytest.mark.parametrize(
    ("name", "value", "line", "special"),
    [
        (b"x-a", b"b", b"x-a: b\r\n", 0),
        (b"X-A", b"", b"X-A: \r\n", 0),
        (b"!#$%&'*+-.^_`|~09AZaz", b" ~\t\x80\xff", b"!#$%&'*+-.^_`|~09AZaz:  ~\t\x80\xff\r\n", 0),
        (b"Date", b"now", b"Date: now\r\n", DATE),
        (b"server", b"me", b"server: me\r\n", SERVER),
        (b"Content-Length", b"05", b"Content-Length: 5\r\n", LENGTH),
        (b"Transfer-Encoding", b"chunked", b"", DROPPED),
        (b"upgrade", b"websocket", b"", DROPPED),
        (b"Keep-Alive", b"timeout=5", b"", DROPPED),
        (b"proxy-connection", b"close", b"", CLOSE),
        (b"connection", b"keep-alive", b"", DROPPED),
        (b"connection", b"Upgrade, Close", b"", CLOSE),
    ],
)
def test_check_field(name: bytes, value: bytes, line: bytes, special: int) -> None:
    for _ in range(2):
        assert check_field(name, value) == (line, special)


@each("code", CONTROLS)
@pytest.mark.parametrize("name", [b"x", b"date", b"connection", b"Content-Length"])
def test_control_characters_in_values(name: bytes, code: int) -> None:
    for value in (b"1" + bytes([code]), bytes([code]) + b"1", b"1" + bytes([code]) + b"1"):
        with pytest.raises(AppError):
            block([(name, value)])


@each("code", [code for code in range(256) if not chr(code).isalnum()])
def test_characters_in_names(code: int) -> None:
    name = b"x" + bytes([code]) + b"y"
    if code in b"!#$%&'*+-.^_`|~":
        assert block([(name, b"")]).endswith(name + b": \r\n")
    else:
        with pytest.raises(AppError, match="not a token"):
            block([(name, b"")])


@pytest.mark.parametrize("name", [b"x", b"date", b"connection", b"content-length"])
def test_injection(name: bytes) -> None:
    for bad in [(name, b"1\r\nx: y"), (name + b"\r\nx", b"1"), (name + b": 1\r\nx", b"y")]:
        with pytest.raises(AppError):
            block([bad])


@pytest.mark.parametrize("value", [b"", b"+5", b"-5", b"5 ", b"0x5", b"5, 5", b"\xb2", b"9" * 20])
def test_length_that_is_no_number(value: bytes) -> None:
    with pytest.raises(AppError, match="content-length is not a number"):
        block([(b"content-length", value)])


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (None, "headers must be pairs"),
        (5, "headers must be pairs"),
        ([None], "a header must be a pair"),
        ([5], "a header must be a pair"),
        ([()], "a header must be a pair"),
        ([(b"x",)], "a header must be a pair"),
        ([(b"x", b"y", b"z")], "a header must be a pair"),
        ([("x", b"y")], "name 'x' expected to be `bytes`"),
        ([(b"x", "y")], "value 'y' expected to be `bytes`"),
        ([["x", b"y"]], "name 'x' expected to be `bytes`"),
        ([(b"x", 5)], "value 5 expected to be `bytes`"),
        ([(b"x", None)], "value None expected to be `bytes`"),
        ([(bytearray(b"x"), b"y")], "expected to be `bytes`"),
        ([(b"x", bytearray(b"y"))], "expected to be `bytes`"),
        ({b"content-type": b"text/plain"}, "a header must be a pair"),
        ("ab", "a header must be a pair"),
        ([(b"", b"x")], "not a token"),
    ],
)
def test_headers_that_are_none(headers: Any, message: str) -> None:
    for _ in range(2):
        with pytest.raises(AppError, match=message):
            response_head(200, headers, "GET")


@pytest.mark.parametrize(
    "status",
    [199, 100, 101, 0, -200, 1000, "200", None, 200.0, True, b"200", [200], HTTPStatus(100)],
)
def test_status_that_is_none(status: Any) -> None:
    response_head(200, [], "GET")
    with pytest.raises(AppError, match="status must be an integer from 200 to 999"):
        response_head(status, [], "GET")


@pytest.mark.parametrize("status", [200, 999, HTTPStatus.NOT_FOUND])
def test_status(status: int) -> None:
    for _ in range(2):
        head = response_head(status, [], "GET")
        assert head.status == status
        assert type(head.status) is int


PAIRS = [(b"x", b"1"), (b"Set-Cookie", b"a"), (b"set-cookie", b"b"), (b"x", b"1")]
LINES = b"HTTP/1.1 200 OK\r\nx: 1\r\nSet-Cookie: a\r\nset-cookie: b\r\nx: 1\r\n"


class Pair:
    """An iterable that can change, and still be hashed."""

    def __init__(self, *items: bytes) -> None:
        self.items = items

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.items)


@pytest.mark.parametrize(
    "headers",
    [
        lambda: PAIRS,
        lambda: tuple(PAIRS),
        lambda: [list(pair) for pair in PAIRS],
        lambda: iter(PAIRS),
        lambda: (list(pair) for pair in PAIRS),
        lambda: [iter(pair) for pair in PAIRS],
        lambda: (iter(pair) for pair in PAIRS),
        lambda: [Pair(*pair) for pair in PAIRS],
    ],
    ids=["list", "tuple", "lists", "iterator", "generator", "iterators", "nested", "objects"],
)
def test_any_iterable_of_pairs(headers: Any) -> None:
    for _ in range(2):
        assert block(headers()) == LINES


def test_pair_that_changes() -> None:
    pair: Any = Pair(b"x", b"1")
    assert block([pair]) == b"HTTP/1.1 200 OK\r\nx: 1\r\n"
    pair.items = (b"x", b"2")
    assert block([pair]) == b"HTTP/1.1 200 OK\r\nx: 2\r\n"


@pytest.mark.parametrize(
    ("status", "method", "bodyless"),
    [
        (200, "GET", False),
        (200, "HEAD", True),
        (204, "GET", True),
        (304, "GET", True),
        (205, "GET", False),
        (404, "HEAD", True),
    ],
)
def test_bodyless(status: int, method: str, bodyless: bool) -> None:
    for _ in range(2):
        assert response_head(status, [], method).bodyless is bodyless


def test_length() -> None:
    assert response_head(200, [], "GET").content_length is None
    head = response_head(200, [(b"Content-Length", b"0012")], "GET")
    assert head.content_length == 12
    assert head.block == b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n"
    for kept in ((304, "GET"), (200, "HEAD")):
        head = response_head(kept[0], [(b"content-length", b"12")], kept[1])
        assert head.content_length == 12
        assert head.block.endswith(b"\r\ncontent-length: 12\r\n")


def test_no_content_has_no_length() -> None:
    head = response_head(204, [(b"content-length", b"12"), (b"x", b"y")], "GET")
    assert head.content_length is None
    assert head.block == b"HTTP/1.1 204 No Content\r\nx: y\r\n"


def test_length_twice() -> None:
    twice = [(b"content-length", b"5"), (b"Content-Length", b"5")]
    assert block(twice) == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"
    with pytest.raises(AppError, match="two content-length headers, 5 and 6"):
        block([(b"content-length", b"5"), (b"content-length", b"6")])


@pytest.mark.parametrize(
    ("headers", "flags"),
    [
        ([], 0),
        ([(b"x", b"y"), (b"content-length", b"5")], 0),
        ([(b"date", b"x")], DATE),
        ([(b"Server", b"x"), (b"DATE", b"x")], DATE | SERVER),
        ([(b"connection", b"close"), (b"server", b"x")], CLOSE | SERVER),
    ],
)
def test_flags(headers: list[tuple[bytes, bytes]], flags: int) -> None:
    for _ in range(2):
        assert response_head(200, headers, "GET").flags & ~DROPPED == flags


def test_equal_heads_are_one() -> None:
    headers = [(b"x", b"y")]
    head = response_head(200, headers, "GET")
    assert response_head(200, headers, "POST") is head
    assert response_head(HTTPStatus.OK, [[b"x", b"y"]], "GET") is head
    for other in (
        response_head(201, headers, "GET"),
        response_head(200, headers, "HEAD"),
        response_head(200, [], "GET"),
        response_head(200, [(b"X", b"y")], "GET"),
    ):
        assert other is not head


def unique(count: int, size: int = 1) -> Iterable[list[tuple[bytes, bytes]]]:
    return ([(b"x", b"%d" % number + b"x" * size)] for number in range(count))


def test_memory_is_bounded() -> None:
    for headers in unique(3000):
        assert block(headers).endswith(headers[0][1] + b"\r\n")
    assert 0 < len(fields._heads) <= fields._MAX_HEADS
    assert 0 < len(fields._fields) <= fields._MAX_FIELDS


def test_large_things_are_not_remembered() -> None:
    for headers in unique(10, size=fields._MAX_HEAD_SIZE):
        block(headers)
    assert not fields._heads
    assert not fields._fields


def test_what_is_special_is_not_remembered_as_plain() -> None:
    special = [(b"date", b"x"), (b"content-length", b"1"), (b"connection", b"close")]
    block(special)
    assert not fields._fields


def test_what_is_refused_is_not_remembered() -> None:
    with pytest.raises(AppError):
        block([(b"x", b"\n")])
    assert not fields._heads
    assert not fields._fields


def test_reason_phrase() -> None:
    assert reason_phrase(404) == "Not Found"
    assert reason_phrase(799) == "Unknown"


# Lengths


@pytest.mark.parametrize(("status", "has"), [(200, True), (404, True), (204, False), (304, False)])
def test_length_of_a_head(status: int, has: bool) -> None:
    head = response_head(status, [(b"x", b"y")], "GET")
    other = head.with_length(7)
    assert (other.content_length == 7) is has
    assert (b"content-length: 7\r\n" in other.block) is has
    assert head.content_length is None
    assert b"content-length" not in head.block
    assert {name: getattr(other, name) for name in ResponseHead.__slots__} == {
        **{name: getattr(head, name) for name in ResponseHead.__slots__},
        "content_length": other.content_length,
        "block": other.block,
    }


def test_length_of_a_head_that_has_one() -> None:
    head = response_head(200, [(b"content-length", b"5")], "GET")
    assert head.with_length(7) is head


def test_length_of_a_head_in_its_fields() -> None:
    """Whether somebody has asked for them before or not."""
    head = response_head(200, [(b"x", b"y")], "GET")
    for _ in range(2):
        assert head.with_length(7).fields() == [(b"x", b"y"), (b"content-length", b"7")]
        assert head.fields() == [(b"x", b"y")]


# As fields


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        ([(b"X-A", b"B")], [(b"x-a", b"B")]),
        ([(b"x", b"1"), (b"X", b"2"), (b"x", b"1")], [(b"x", b"1"), (b"x", b"2"), (b"x", b"1")]),
        ([(b"x", b"")], [(b"x", b"")]),
        ([(b"x", b" \ta: b\t ")], [(b"x", b"a: b")]),
        ([(b"x", b"\xff")], [(b"x", b"\xff")]),
        ([(b"Set-Cookie", b"a=b; c")] * 2, [(b"set-cookie", b"a=b; c")] * 2),
        ([(b"Content-Length", b"007")], [(b"content-length", b"7")]),
        ([(b"content-length", b"5")] * 2, [(b"content-length", b"5")]),
        ([(b"Date", b"x"), (b"Server", b"y")], [(b"date", b"x"), (b"server", b"y")]),
        (
            [(b"Connection", b"close"), (b"x", b"y"), (b"Transfer-Encoding", b"chunked")],
            [(b"x", b"y")],
        ),
    ],
)
def test_fields(headers: Headers, expected: Headers) -> None:
    for _ in range(2):
        assert response_head(200, headers, "GET").fields() == expected


def test_fields_are_made_once() -> None:
    """A head is shared by equal responses."""
    head = response_head(200, [(b"x", b"y")], "GET")
    assert head.fields() is head.fields()


def test_fields_of_an_acceptance() -> None:
    head = ResponseHead(200, ((b"x", b"y"),), "GET")
    assert head.switching().fields() == head.fields() == [(b"x", b"y")]


# Trailers


@pytest.mark.parametrize("name", [b"x", b"X-Sum", b"set-cookie", b"sec-websocket-accept"])
def test_trailer(name: bytes) -> None:
    for _ in range(2):
        assert trailer_line(name, b"y") == name + b": y\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, b"5") for name in (b"Content-Length", b"date", b"server", b"connection")),
        *((name, b"5") for name in (b"transfer-encoding", b"upgrade", b"keep-alive")),
        *((b"x", value) for value in (b"\r\n", b"\0", b"a\nb")),
        *((name, b"y") for name in (b"", b"x y", b":path", b"x:")),
    ],
)
def test_trailer_that_must_not_be(name: bytes, value: bytes) -> None:
    with pytest.raises(AppError):
        trailer_line(name, value)


# The answer to a mistake


@pytest.mark.parametrize(
    ("error", "more"),
    [
        (ProtocolError(400, "no"), []),
        (ProtocolError(426, "no"), [(b"sec-websocket-version", b"13")]),
        (ProtocolError(503, "no"), [(b"retry-after", b"1")]),
        (ProtocolError(308, "no", [(b"location", b"/")]), [(b"location", b"/")]),
        (ProtocolError(503, "no", [(b"x", b"y")]), [(b"x", b"y"), (b"retry-after", b"1")]),
    ],
)
def test_refusal(error: ProtocolError, more: Headers) -> None:
    fields, body = refusal(error)
    text = (b"content-type", b"text/plain; charset=utf-8")
    assert fields == [text, (b"content-length", b"3"), *more]
    assert body == b"no\n"


@pytest.mark.parametrize(("reason", "body"), [("ä", b"\xc3\xa4\n"), ("\ud800", b"?\n")])
def test_refusal_for_a_person_to_read(reason: str, body: bytes) -> None:
    found = refusal(ProtocolError(400, reason))
    assert found[0][1] == (b"content-length", b"%d" % len(body))
    assert found[1] == body
