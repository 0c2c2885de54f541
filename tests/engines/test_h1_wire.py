"""The bytes of unusual heads, interim responses and refusals."""

import pytest

from aserver.engines.fields import response_head
from aserver.engines.h1_wire import (
    interim_response,
    last_chunk,
    refusal_response,
    unusual_pieces,
)
from aserver.types import AppError, Headers, ProtocolError


class Lines:
    """The default lines of every response, easy to recognise."""

    date_line = b"date: D\r\n"
    server_line = b"server: S\r\n"
    default_lines = date_line + server_line
    last_lines = default_lines + b"\r\n"


@pytest.mark.parametrize(
    ("version", "keep_alive", "headers", "expected"),
    [
        ("1.1", False, [], b"HTTP/1.1 200 OK\r\ndate: D\r\nserver: S\r\nconnection: close\r\n\r\n"),
        ("1.0", False, [], b"HTTP/1.0 200 OK\r\ndate: D\r\nserver: S\r\nconnection: close\r\n\r\n"),
        (
            "1.0",
            True,
            [],
            b"HTTP/1.0 200 OK\r\ndate: D\r\nserver: S\r\nconnection: keep-alive\r\n\r\n",
        ),
        ("1.1", True, [(b"Date", b"x")], b"HTTP/1.1 200 OK\r\nDate: x\r\nserver: S\r\n\r\n"),
        ("1.1", True, [(b"server", b"x")], b"HTTP/1.1 200 OK\r\nserver: x\r\ndate: D\r\n\r\n"),
        (
            "1.1",
            True,
            [(b"date", b"x"), (b"server", b"y")],
            b"HTTP/1.1 200 OK\r\ndate: x\r\nserver: y\r\n\r\n",
        ),
    ],
)
def test_head(version: str, keep_alive: bool, headers: Headers, expected: bytes) -> None:
    head = response_head(200, headers, "GET")
    assert b"".join(unusual_pieces(head, version, b"", keep_alive, Lines())) == expected


def test_framing_stands_in_the_head() -> None:
    head = response_head(200, [], "GET")
    pieces = unusual_pieces(head, "1.1", b"content-length: 3\r\n", False, Lines())
    assert b"\r\ncontent-length: 3\r\n" in b"".join(pieces)


def test_interim_response() -> None:
    assert interim_response(100, []) == b"HTTP/1.1 100 Continue\r\n\r\n"
    link = interim_response(103, [(b"link", b"</a.css>")])
    assert link == b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"


def test_interim_response_refuses_an_injected_line() -> None:
    with pytest.raises(AppError, match="control character"):
        interim_response(103, [(b"link", b"a\r\nset-cookie: b")])


def test_refusal_says_why_and_closes() -> None:
    assert refusal_response(ProtocolError(400, "no ☃ here"), Lines()) == (
        b"HTTP/1.1 400 Bad Request\r\ndate: D\r\nserver: S\r\n"
        b"content-type: text/plain; charset=utf-8\r\ncontent-length: 12\r\n"
        b"connection: close\r\n\r\n"
        b"no \xe2\x98\x83 here\n"
    )


def test_refusal_without_its_body() -> None:
    """To HEAD: it says how long it would be."""
    error = ProtocolError(431, "too large")
    whole, head = (refusal_response(error, Lines(), with_body=each) for each in (True, False))
    assert whole == head + b"too large\n"
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"content-length: 10\r\n" in head


def test_refusal_for_now() -> None:
    assert b"\r\nretry-after: 1\r\n" in refusal_response(ProtocolError(503, "later"), Lines())
    assert b"retry-after" not in refusal_response(ProtocolError(400, "never"), Lines())


def test_last_chunk() -> None:
    assert last_chunk([]) == b"0\r\n\r\n"
    assert last_chunk([(b"x", b"y"), (b"Z", b"")]) == b"0\r\nx: y\r\nZ: \r\n\r\n"


@pytest.mark.parametrize(
    "field",
    [
        (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"date", b"now"),
        (b"x", b"a\r\nb: c"),
        (b"x\r\n", b"a"),
        (b"", b"a"),
    ],
)
def test_last_chunk_refuses(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(AppError):
        last_chunk([(b"x", b"y"), field])
