"""What the application's messages bring: bytes, links, trailers, and the errors in them."""

from typing import Any

import pytest

from aserver.engines.fields import response_head
from aserver.http_messages import Trailers, as_bytes, link_fields, wrong_length
from aserver.types import AppError, Request

WANTED = Request("GET", b"/", "1.1", [], accepts_trailers=True)
UNWANTED = Request("GET", b"/", "1.1", [])


# The body


@pytest.mark.parametrize("body", [b"a", bytearray(b"a"), memoryview(b"a")])
def test_bytes(body: object) -> None:
    assert as_bytes(body) == b"a"
    assert type(as_bytes(body)) is bytes


@pytest.mark.parametrize("body", ["a", None, 5, [b"a"]])
def test_what_are_no_bytes(body: object) -> None:
    with pytest.raises(AppError, match=f"must be bytes, not {type(body).__name__}"):
        as_bytes(body)


def test_wrong_length() -> None:
    assert "3 bytes longer than its content-length" in str(wrong_length(-3))
    assert "3 bytes shorter than its content-length" in str(wrong_length(3))


# Early hints


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_links(kind: Any) -> None:
    links = kind([b"</a.css>; rel=preload", b"</b>"])
    assert link_fields({"links": links}) == [
        (b"link", b"</a.css>; rel=preload"),
        (b"link", b"</b>"),
    ]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"links": None},
        {"links": 5},
        {"links": b"</a>"},
        {"links": "</a>"},
        {"links": ["</a>"]},
        {"links": [b"</a>", None]},
        {"links": [bytearray(b"</a>")]},
    ],
)
def test_bad_links(message: dict[str, Any]) -> None:
    with pytest.raises(AppError, match="'links' must be byte strings"):
        link_fields(message)


@pytest.mark.parametrize("link", [b"</a>\r\nx: y", b"</a>\n", b"\x00"])
def test_injection_by_links(link: bytes) -> None:
    with pytest.raises(AppError, match="control character"):
        link_fields({"links": [link]})


# Trailers


@pytest.mark.parametrize(
    ("request_", "status", "method", "headers", "sendable"),
    [
        (WANTED, 200, "GET", [], True),
        (UNWANTED, 200, "GET", [], False),
        (WANTED, 200, "GET", [(b"content-length", b"5")], False),
        (WANTED, 200, "HEAD", [], False),
        (WANTED, 204, "GET", [], False),
    ],
)
def test_where_trailers_go(
    request_: Request, status: int, method: str, headers: Any, sendable: bool
) -> None:
    assert Trailers(request_, response_head(status, headers, method)).sendable is sendable


def trailers() -> Trailers:
    return Trailers(WANTED, response_head(200, [], "GET"))


def test_trailers_are_collected() -> None:
    collected = trailers()
    assert not collected.take({"headers": iter([[b"a", b"1"]]), "more_trailers": True})
    assert not collected.take({"more_trailers": True})
    assert collected.take({"headers": [(b"b", b"2")]})
    assert collected.fields == [(b"a", b"1"), (b"b", b"2")]


@pytest.mark.parametrize(
    "headers",
    [
        5,
        None,
        b"ab",
        "ab",
        [b"a"],
        [(b"a",)],
        [(b"a", b"b", b"c")],
        [("a", "b")],
        [(b"a", "b")],
        [("a", b"b")],
        ["ab"],
        [(b"a", b"b\r\nc: d")],
        [(b"a", b"b\x00")],
        [(b"a:", b"b")],
        [(b"", b"b")],
        [(b"good", b"b"), (b"bad\n", b"b")],
        [(b"Content-Length", b"5")],
        [(b"transfer-encoding", b"chunked")],
        [(b"connection", b"close")],
    ],
)
def test_bad_trailers(headers: Any) -> None:
    collected = trailers()
    with pytest.raises(AppError):
        collected.take({"headers": headers})
    assert collected.fields == []


def test_too_many_trailers() -> None:
    collected = trailers()
    message = {"headers": [(b"a", b"x" * 1000)], "more_trailers": True}
    for _ in range(65):
        collected.take(message)
    with pytest.raises(AppError, match="larger than 65536 bytes"):
        collected.take(message)
    assert len(collected.fields) == 65
