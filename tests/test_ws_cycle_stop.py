"""WebSockets that the server ends, and those that everybody ends at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aserver.types import Message
from tests.stage import Call
from tests.ws_stage import (
    PING,
    PONG,
    UNMASKED,
    Frame,
    SocketStage,
    close,
    close_frame,
    closing,
    ended,
    frame,
    hear_all,
    heard,
    result,
    said,
    text,
    waiting,
)

pytestmark = pytest.mark.asyncio


def line(stage: SocketStage) -> list[tuple[str, bytes, int, int]]:
    return stage.log.lines[2:]


async def test_server_stops() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("unread"))
    task = await waiting_behind(call, heard("unread"))
    stage.cycle.drain()
    assert stage.frames() == [close_frame(1012)]
    assert await result(task) == ended(1012), "at once"
    assert stage.cycle.closed_by == "server"
    stage.feed(close(1012))
    assert stage.tunnel.calls == ["close"]
    await call.end()
    assert stage.left_open == 0
    assert len(line(stage)) == 1


async def waiting_behind(call: Call, message: Message) -> "asyncio.Task[Message]":
    assert await call.receive() == message
    return await waiting(call.receive)


async def test_server_stops_and_the_client_does_not_answer() -> None:
    stage = SocketStage(websocket_close_timeout=5)
    call = await stage.open()
    stage.cycle.drain()
    assert await hear_all(call.receive) == [ended(1012)]
    await call.end()
    assert stage.left_open == 1
    stage.clock.run(6)
    assert stage.tunnel.calls == ["abort"]
    assert stage.left_open == 0


async def test_server_stops_before_an_answer() -> None:
    """The handshake is the application's still: what becomes of it is the engine's business."""
    stage = SocketStage()
    call = await stage.connect()
    stage.cycle.drain()
    assert stage.engine.calls == []
    await call.send(closing())
    await call.end()


@pytest.mark.parametrize(
    "option", [{"websocket_timeout": 10}, {"websocket_idle_timeout": 10, "ping_interval": 3}]
)
async def test_old_and_idle(option: dict[str, Any]) -> None:
    stage = SocketStage(**option)
    call = await stage.open()
    for _ in range(10):
        stage.clock.tick()
        stage.feed(frame(PONG))
    frames = [each for each in stage.frames() if each != Frame(PING, b"")]
    (frame_,) = frames
    assert frame_.payload[:2] == (1001).to_bytes(2, "big")
    (event,) = await hear_all(call.receive)
    assert event["code"] == 1001
    assert "websocket" in event["reason"]
    assert stage.cycle.closed_by == "server"
    stage.feed(close(1001))
    await call.end()
    assert stage.left_open == 0


@pytest.mark.parametrize("own", [text("a"), frame(2, b"a")])
async def test_messages_either_way_keep_it_from_being_idle(own: bytes) -> None:
    stage = SocketStage(websocket_idle_timeout=10, ping_interval=0)
    call = await stage.open()
    for _ in range(3):
        stage.clock.run(9)
        stage.feed(own)
        stage.clock.run(9)
        await call.send(said("a"))
    assert not any(each.opcode == 8 for each in stage.frames())
    stage.clock.run(10)
    assert stage.frames()[-1].opcode == 8


async def test_silent_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = SocketStage(ping_interval=20, ping_timeout=30)
    call = await stage.open()
    task = await waiting(call.receive)
    stage.clock.run(20)
    assert stage.frames() == [Frame(PING, b"")]
    stage.clock.run(29)
    assert not task.done()
    stage.frames()
    stage.clock.run(1)
    assert stage.frames() == [close_frame(1011)], "in case that it is there after all"
    assert stage.tunnel.calls == ["close"]
    assert await result(task) == ended(1006)
    assert stage.cycle.closed_by == "network"
    (message,) = caplog.messages
    assert message == (
        "Closed the WebSocket of 192.0.2.2:50000: it did not answer a ping (--ping-timeout)"
    )
    await call.end()
    assert stage.left_open == 0


async def test_half_a_frame_is_a_sign_of_life() -> None:
    stage = SocketStage(ping_interval=20, ping_timeout=30)
    await stage.open()
    data = frame(2, bytes(1000))
    for byte in data[:500]:
        stage.clock.tick()
        stage.feed(bytes([byte]))
    assert stage.tunnel.calls == []


# In every way, at most one end


def grow_old(stage: SocketStage) -> None:
    stage.clock.run(20)


ENDS: list[Callable[[SocketStage, Call], Awaitable[None] | None]] = [
    lambda stage, _: stage.feed(close(4000)),
    lambda stage, _: stage.lose(),
    lambda stage, _: stage.cycle.drain(),
    lambda stage, _: stage.feed(UNMASKED),
    lambda stage, _: grow_old(stage),
    lambda _, call: call.send(closing(4001)),
]


@pytest.mark.parametrize("second", range(len(ENDS)))
@pytest.mark.parametrize("first", range(len(ENDS)))
async def test_two_ends_are_one(first: int, second: int) -> None:
    stage = SocketStage(websocket_timeout=15, websocket_close_timeout=30, ping_interval=0)
    call = await stage.open()
    for end in (ENDS[first], ENDS[second]):
        awaitable = end(stage, call)
        if awaitable is not None:
            await awaitable
    stage.clock.run(60)
    (event,) = await hear_all(call.receive)
    assert event["type"] == "websocket.disconnect"
    assert len(line(stage)) == 1
    assert sum(each.opcode == 8 for each in stage.frames()) <= 1
    await call.end()
    stage.lose()
    assert stage.left_open == 0
