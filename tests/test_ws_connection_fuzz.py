"""Handshakes with anything in them: answered by 101, 400 or 426, and never by an error of ours."""

import asyncio
import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.config import Config
from aserver.types import Receive, Scope, Send
from tests.fakes import PARSERS, Client, FakeSocket, body, new_context, rounds, start
from tests.ws_stage import ACCEPT, ASK, KEY

HEADERS = {
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": KEY,
    b"Sec-WebSocket-Protocol": b"chat, superchat",
    b"Sec-WebSocket-Extensions": b'permessage-deflate; client_max_window_bits="15", x; y=z',
    b"Sec-WebSocket-Accept": b"x",
    b"Sec-WebSocket-Unknown": b"x",
    b"Upgrade": b"websocket",
    b"Connection": b"keep-alive, Upgrade",
    b"Host": b"example.org:80",
    b"Origin": b"http://example.org",
    b"Cookie": b"a=1; b=2",
}
OURS = [name for name in HEADERS if name.startswith(b"Sec-")]


def handshake(name: bytes, value: bytes) -> bytes:
    """One with this header."""
    line = b"%b: %b\r\n" % (name, value)
    data, found = re.subn(rb"(?im)^%b: [^\r]*\r\n" % name, lambda _: line, ASK)
    return data if found else data.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """It takes the first subprotocol that there is."""
    if scope["type"] == "http":
        await send(start())
        await send(body())
        return
    subprotocols = scope["subprotocols"]
    assert all(each.isascii() and each.isprintable() for each in subprotocols)
    await receive()
    await send({**ACCEPT, "subprotocol": next(iter(subprotocols), None)})
    await receive()


async def statuses(parser: str, handshakes: list[bytes]) -> list[int]:
    """What each is answered with."""
    context = new_context(app, PARSERS[parser])
    found = []
    for data in handshakes:
        client = Client(context, FakeSocket())
        client.send(data)
        await rounds(4)
        received = client.received()
        match = re.match(rb"HTTP/1\.1 (\d\d\d) ", received)
        assert match is not None
        head, _, _ = received.partition(b"\r\n\r\n")
        assert re.fullmatch(rb"HTTP/1\.1 \d\d\d [ -~]+(\r\n[a-z-]+: [\t -~]*)+", head, re.I)
        found.append(int(match[1]))
        client.vanish()
        await rounds(4)
    assert not context.cycles
    assert not context.watched
    return found


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("parser", PARSERS)
def test_every_byte_in_every_place(
    parser: str, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    good = HEADERS[name]
    values = []
    for byte in map(bytes, zip(range(256), strict=True)):
        half = len(good) // 2
        values += [byte, byte * 300, byte + good, good + byte, good[:half] + byte + good[half:]]
    found = asyncio.run(statuses(parser, [handshake(name, value) for value in values]))
    allowed = {101, 400, 426} if name in OURS else {101, 400, 200}
    assert set(found) <= allowed
    assert 400 in found
    ours = [record for record in caplog.records if record.name.startswith("aserver")]
    assert not [record for record in ours if record.levelno > logging.INFO]


SPECIAL = st.sampled_from([b",", b";", b"=", b'"', b" ", b"\t", b"\\", b"chat", b"13", b"0"])
VALUES = st.lists(SPECIAL | st.binary(max_size=3), max_size=12).map(b"".join)


@settings(max_examples=300)
@given(st.sampled_from([*PARSERS]), st.lists(st.tuples(st.sampled_from(OURS), VALUES), max_size=3))
def test_any_value(parser: str, headers: list[tuple[bytes, bytes]]) -> None:
    data = ASK
    for name, value in headers:
        data = handshake(name, value.replace(b"\n", b"").replace(b"\r", b""))
    (status,) = asyncio.run(statuses(parser, [data]))
    assert status in (101, 400, 426)


@pytest.mark.parametrize("name", OURS[:2])
@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("parser", PARSERS)
def test_header_that_is_not_there_once(parser: str, name: bytes, count: int) -> None:
    line = b"%b: %b\r\n" % (name, HEADERS[name])
    data = handshake(name, b"x").replace(b"%b: x\r\n" % name, line * count)
    assert asyncio.run(statuses(parser, [data])) == [400]


@pytest.mark.parametrize("version", [b"12", b"8", b"0", b"14", b"255", b"013", b"1.3"])
def test_other_versions(version: bytes) -> None:
    """The answer says which one is spoken (RFC 6455 section 4.4)."""

    async def answer() -> bytes:
        client = Client(new_context(app), FakeSocket())
        client.send(handshake(b"Sec-WebSocket-Version", version))
        return client.received()

    received = asyncio.run(answer())
    assert received.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nsec-websocket-version: 13\r\n" in received
    assert b"\r\nupgrade: websocket\r\n" in received


@pytest.mark.parametrize(
    "data",
    [
        ASK.replace(b"GET", b"POST"),
        ASK.replace(b"GET", b"HEAD"),
        ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"),
        ASK.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        handshake(b"Sec-WebSocket-Key", b"short"),
        handshake(b"Sec-WebSocket-Key", b"A" * 24),
        handshake(b"Sec-WebSocket-Key", b"A" * 21 + b"B=="),
        handshake(b"Sec-WebSocket-Protocol", b"a, a"),
        handshake(b"Sec-WebSocket-Protocol", "é".encode()),
        handshake(b"Sec-WebSocket-Extensions", b"a;"),
        handshake(b"Sec-WebSocket-Extensions", b'a; b="c'),
    ],
)
def test_what_is_no_handshake_but_looks_like_one(data: bytes) -> None:
    assert asyncio.run(statuses("httptools", [data])) == [400]


@pytest.mark.parametrize("name", [b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"])
@pytest.mark.parametrize("value", [b"", b",", b"a,", b",a", b"a, ,b", b" , ,"])
def test_empty_elements_of_lists(name: bytes, value: bytes) -> None:
    """They are no mistake in HTTP (RFC 2616 section 2.1, "#rule")."""
    assert asyncio.run(statuses("httptools", [handshake(name, value)])) == [101]


def test_handshake_that_is_too_large() -> None:
    limits = Config().limits
    large = handshake(b"Sec-WebSocket-Protocol", b"a" * (limits.max_header_size + 1))
    assert asyncio.run(statuses("httptools", [large])) == [431]
