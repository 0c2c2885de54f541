"""The answer to a handshake: acceptance or refusal."""

import asyncio
import logging
from typing import Any

import pytest

from aserver.engines.ws_handshake import accept_key
from aserver.throttle import SHOWN
from aserver.types import AppError, Headers, Request
from aserver.ws_opening import is_handshake
from tests.fakes import rounds
from tests.ws_stage import (
    ACCEPT,
    KEY,
    SocketStage,
    closing,
    ended,
    hear_all,
    text,
    waiting,
)

pytestmark = pytest.mark.asyncio

CONNECTING = ("CONNECTING", b"/path", 0, 0)
CONNECTED = ("CONNECT", b"/path", 0, 0)
GONE = ("GONE", b"/path", 0, 0)


def answered(status: int) -> tuple[str, bytes, int, int]:
    """An access log line without a body."""
    return ("GET", b"/path", status, 0)


def fields_of(stage: SocketStage) -> list[bytes]:
    (head,) = stage.engine.heads
    return head.block.split(b"\r\n")[1:-1]


# What a handshake is


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [((), False), ((b"websocket",), True), ((b"h2c", b"websocket"), True), ((b"h2c",), False),
     ((b"websockets",), False)],
)  # fmt: skip
async def test_is_handshake(upgrade: tuple[bytes, ...], expected: bool) -> None:
    assert is_handshake(Request("GET", b"/", "1.1", [], upgrade=upgrade)) == expected


# Acceptance


async def test_accept() -> None:
    stage = SocketStage()
    call = await stage.connect()
    assert stage.engine.calls == []
    assert stage.log.lines == [CONNECTING]
    await call.send(ACCEPT)
    assert stage.engine.calls == [("upgrade", b"websocket", 101)]
    assert fields_of(stage) == [b"Sec-WebSocket-Accept: " + accept_key(KEY)]
    assert stage.log.lines == [CONNECTING, CONNECTED]
    assert stage.cycle.accepted
    assert stage.left_open == 2, "the call, and the deadlines"


async def test_nothing_is_read_before_the_acceptance() -> None:
    stage = SocketStage()
    stage.engine.early = text("early")
    call = await stage.connect()
    task = await waiting(call.receive)
    await rounds()
    assert not task.done()
    await call.send(ACCEPT)
    assert (await task)["text"] == "early"


@pytest.mark.parametrize(
    ("offered", "subprotocol", "expected"),
    [
        ([], None, None),
        ([b"chat"], None, None),
        ([b"chat"], "", None),
        ([b"chat"], "chat", b"chat"),
        ([b"chat, superchat"], "superchat", b"superchat"),
        ([b"chat", b"superchat"], "superchat", b"superchat"),
    ],
)
async def test_subprotocol(
    offered: list[bytes], subprotocol: str | None, expected: bytes | None
) -> None:
    stage = SocketStage(fields=[(b"sec-websocket-protocol", value) for value in offered])
    call = await stage.connect()
    await call.send({**ACCEPT, "subprotocol": subprotocol})
    lines = [line for line in fields_of(stage) if b"Protocol" in line]
    assert lines == ([] if expected is None else [b"Sec-WebSocket-Protocol: " + expected])


@pytest.mark.parametrize("chosen", ["other", "Chat", "chat, superchat", "chat\r\nx: y", "é"])
async def test_subprotocol_that_was_not_offered(
    chosen: str, caplog: pytest.LogCaptureFixture
) -> None:
    """None is chosen then: a client that is told one that it did not offer must fail."""
    stage = SocketStage(fields=[(b"sec-websocket-protocol", b"chat, superchat")])
    call = await stage.connect()
    await call.send({**ACCEPT, "subprotocol": chosen})
    assert stage.cycle.accepted
    assert len(fields_of(stage)) == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "WebSocket /path from 192.0.2.2:50000: accepted without the subprotocol "
        f"{chosen!r}: not offered"
    )


async def test_subprotocol_that_was_not_offered_is_not_logged_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = SocketStage()
    for _ in range(20):
        other = SocketStage()
        other.context.throttle = stage.context.throttle
        call = await other.connect()
        await call.send({**ACCEPT, "subprotocol": "chat"})
        await call.end()
    assert len(caplog.records) == SHOWN


@pytest.mark.parametrize("chosen", [b"chat", 5, ["chat"], False])
async def test_subprotocol_that_is_no_text(chosen: object) -> None:
    stage = SocketStage(fields=[(b"sec-websocket-protocol", b"chat")])
    call = await stage.connect()
    with pytest.raises(AppError, match="must have a str as 'subprotocol'"):
        await call.send({**ACCEPT, "subprotocol": chosen})
    assert stage.engine.calls == []
    await call.send({**ACCEPT, "subprotocol": "chat"})
    assert stage.cycle.accepted


async def test_headers_of_the_acceptance() -> None:
    stage = SocketStage()
    call = await stage.connect()
    headers = [(b"set-cookie", b"a=1"), (b"x", b"1"), (b"set-cookie", b"b=2")]
    await call.send({**ACCEPT, "headers": headers})
    assert fields_of(stage)[1:] == [b"set-cookie: a=1", b"x: 1", b"set-cookie: b=2"]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"sec-websocket-protocol", b"chat")],
        [(b"Sec-WebSocket-Accept", b"x")],
        [(b"sec-websocket-extensions", b"x")],
        [(b"content-length", b"0")],
        [(b"x", b"1\r\nset-cookie: a=1")],
        [(b"x y", b"1")],
        [(b":status", b"200")],
        [("x", "1")],
        [b"x"],
        5,
    ],
)
async def test_headers_that_cannot_be(headers: object) -> None:
    """The application may try again, or refuse."""
    stage = SocketStage()
    call = await stage.connect()
    with pytest.raises(AppError):
        await call.send({**ACCEPT, "headers": headers})
    assert stage.engine.calls == []
    assert not stage.cycle.accepted
    await call.send(ACCEPT)
    assert stage.engine.calls == [("upgrade", b"websocket", 101)]


@pytest.mark.parametrize("compression", [True, False])
async def test_compression(compression: bool) -> None:
    fields = [(b"sec-websocket-extensions", b"permessage-deflate")]
    stage = SocketStage(fields=fields, websocket_compression=compression)
    await stage.open()
    lines = [line for line in fields_of(stage) if line.startswith(b"Sec-WebSocket-Extensions: ")]
    assert len(lines) == compression


# Refusal


@pytest.mark.parametrize("message", [closing(), closing(4000, "no"), {"type": "websocket.close"}])
async def test_close_before_the_acceptance_refuses(
    message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage = SocketStage()
    call = await stage.connect()
    await call.send(message)
    assert stage.engine.responses == [("respond", 403, b"", False)]
    assert stage.log.lines == [CONNECTING, answered(403)]
    assert stage.cycle.closed_by == "application"
    assert await hear_all(call.receive) == [ended(1006)]
    await call.end()
    assert stage.left_open == 0
    assert caplog.messages == []


async def test_task_has_a_name() -> None:
    stage = SocketStage()
    call = await stage.connect()
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert "aserver.websocket" in names
    await call.end(ZeroDivisionError())


OFFERED: Headers = [(b"sec-websocket-protocol", b"chat")]


async def test_accept_with_keys_that_are_none() -> None:
    stage = SocketStage(fields=OFFERED)
    call = await stage.connect()
    await call.send({**ACCEPT, "subprotocol": None, "headers": None})
    assert stage.cycle.accepted
