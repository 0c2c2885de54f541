"""Connections that lead to https."""

import logging

import pytest

from aserver.redirecting import RedirectingConnection
from aserver.seams import Parser
from tests.fakes import PARSERS, MemoryTransport, new_context, nothing


@pytest.fixture(params=list(PARSERS))
def engine(request: pytest.FixtureRequest) -> Parser:
    return PARSERS[request.param]


async def ask(
    request: bytes, port: int = 443, parser: Parser = PARSERS["httptools"]
) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, fields and body of the answer; behind it, the connection ends."""
    connection = RedirectingConnection(new_context(nothing, parser), port)
    transport = MemoryTransport(connection)
    connection.data_received(request)
    head, _, body = bytes(transport.received).partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines)
    assert fields[b"connection"] == b"close"
    assert transport.eof_received
    transport.abort()
    return status, fields, body


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("target", "host", "port", "location"),
    [
        ("/", "site.test", 443, "https://site.test/"),
        ("/", "site.test", 8443, "https://site.test:8443/"),
        ("/a%20b?c=d&e", "site.test:80", 443, "https://site.test/a%20b?c=d&e"),
        ("/", "192.0.2.1:8000", 8443, "https://192.0.2.1:8443/"),
        ("/", "[2001:db8::1]", 443, "https://[2001:db8::1]/"),
        ("/", "[2001:db8::1]:80", 8443, "https://[2001:db8::1]:8443/"),
        ("//other.test/x", "site.test", 443, "https://site.test//other.test/x"),
        # RFC 9112 section 3.2.2: an absolute target has the say.
        ("http://one.test:80/x", "two.test", 443, "https://one.test/x"),
    ],
)
async def test_where_to(engine: Parser, target: str, host: str, port: int, location: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    status, fields, body = await ask(request, port, engine)
    assert status == b"HTTP/1.1 308 Permanent Redirect"
    assert fields[b"location"] == location.encode()
    assert body == f"this is spoken with TLS only: {location}\n".encode()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "request_",
    [
        b"POST /x HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /x HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        b"GET /x HTTP/1.0\r\nHost: site.test\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: site.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ],
    ids=["length", "chunked", "old", "websocket"],
)
async def test_whatever_is_asked_for(request_: bytes) -> None:
    status, fields, _ = await ask(request_)
    assert status == b"HTTP/1.1 308 Permanent Redirect"
    assert fields[b"location"] == b"https://site.test/x"


@pytest.mark.asyncio
async def test_head_has_no_body() -> None:
    status, fields, body = await ask(b"HEAD /x HTTP/1.1\r\nHost: site.test\r\n\r\n")
    assert status == b"HTTP/1.1 308 Permanent Redirect"
    assert fields[b"location"] == b"https://site.test/x"
    assert body == b""


@pytest.mark.asyncio
async def test_the_server_as_a_whole() -> None:
    _, fields, _ = await ask(b"OPTIONS * HTTP/1.1\r\nHost: site.test\r\n\r\n")
    assert fields[b"location"] == b"https://site.test"


@pytest.mark.asyncio
async def test_nowhere_to_redirect_to() -> None:
    status, fields, body = await ask(b"GET / HTTP/1.0\r\n\r\n")
    assert status == b"HTTP/1.1 400 Bad Request"
    assert b"location" not in fields
    assert b"Host" in body


@pytest.mark.asyncio
async def test_a_redirect_is_no_refusal(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = b"GET /x HTTP/1.1\r\nHost: site.test\r\n\r\n", b"GET /x HTTP/1.1\r\n\r\n"
    with caplog.at_level(logging.INFO, "aserver.peer"):
        await ask(good)
    assert caplog.messages == []
    with caplog.at_level(logging.DEBUG, "aserver.peer"):
        await ask(good)
    (message,) = caplog.messages
    assert message.startswith("Redirected a request: ")
    assert caplog.records[0].levelno == logging.DEBUG
    caplog.clear()
    with caplog.at_level(logging.INFO, "aserver.peer"):
        await ask(bad)
    (message,) = caplog.messages
    assert message.startswith("Refused a request from ")
