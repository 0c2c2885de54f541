"""A client that breaks the protocol: what it is told, and what becomes of what it said before."""

import logging
from typing import Any

import pytest

from aserver.types import ClientDisconnected
from tests.fakes import rounds
from tests.ws_stage import (
    BYTES,
    CONTINUATION,
    PING,
    TEXT,
    UNMASKED,
    Frame,
    SocketStage,
    close,
    closing,
    ended,
    frame,
    hear_all,
    heard,
    said,
    text,
    waiting,
)

pytestmark = pytest.mark.asyncio

LIMITS: dict[str, Any] = {
    "websocket_max_message_size": 100,
    "websocket_max_frame_size": 80,
    "websocket_max_fragments": 3,
}
PIECE = frame(CONTINUATION, b"a", fin=False)
MISTAKES = {
    "not masked": (UNMASKED, 1002),
    "reserved bit": (b"\xc1\x81\0\0\0\0a", 1002),
    "unknown opcode": (frame(3), 1002),
    "unknown control opcode": (frame(11), 1002),
    "control frame in pieces": (frame(PING, fin=False), 1002),
    "large control frame": (frame(PING, bytes(126)), 1002),
    "continuation of nothing": (PIECE, 1002),
    "message in a message": (text("a", fin=False) + text("b"), 1002),
    "no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "no UTF-8 in a second piece": (text("é", fin=False) + frame(CONTINUATION, b"\xc3"), 1007),
    "close code of one byte": (frame(8, b"\x03"), 1002),
    "close code that is none": (close(1006), 1002),
    "close code that is too small": (close(999), 1002),
    "close reason that is no UTF-8": (frame(8, b"\x03\xe8\xff"), 1007),
    "large frame": (frame(BYTES, bytes(81)), 1009),
    "large message": (frame(BYTES, bytes(60), fin=False) + frame(0, bytes(60)), 1009),
    "many pieces": (text("a", fin=False) + PIECE * 3, 1009),
    "many empty pieces": (text("", fin=False) + frame(0, fin=False) * 3, 1009),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("piece", [1, 1000])
async def test_mistake(mistake: str, piece: int) -> None:
    data, code = MISTAKES[mistake]
    stage = SocketStage(**LIMITS)
    call = await stage.open()
    task = await waiting(call.receive)
    for start in range(0, len(data), piece):
        stage.feed(data[start : start + piece])
    (told,) = stage.frames()
    assert told.opcode == 8
    assert int.from_bytes(told.payload[:2], "big") == code
    assert stage.tunnel.calls == ["close"]
    event = await task
    assert event == ended(code, event["reason"])
    assert await hear_all(call.receive) == []
    assert stage.cycle.closed_by == "server"
    assert len(stage.log.lines) == 3
    await call.end()
    assert stage.left_open == 0


async def test_mistake_is_logged_once_and_without_a_forgery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stage = SocketStage()
    call = await stage.open()
    stage.feed(UNMASKED)
    await hear_all(call.receive)
    await call.end()
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.name == "aserver.peer"
    assert record.getMessage().startswith(
        "Closed the WebSocket of 192.0.2.2:50000, for its mistake: "
    )


async def test_message_as_large_as_it_may_be() -> None:
    stage = SocketStage(**LIMITS)
    call = await stage.open()
    stage.feed(frame(BYTES, bytes(80), fin=False), frame(0, bytes(10), fin=False))
    stage.feed(frame(0, bytes(10)), frame(BYTES, bytes(80)))
    assert await call.receive() == heard(bytes(100))
    assert await call.receive() == heard(bytes(80))


async def test_good_messages_before_are_answered_first() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), text("2"), UNMASKED, text("3"))
    for number in "12":
        assert await call.receive() == heard(number)
        await call.send(said(number))
        assert stage.frames() == [Frame(TEXT, number.encode())]
    assert stage.tunnel.calls == []
    event = await call.receive()
    assert event["code"] == 1002
    (told,) = stage.frames()
    assert told.payload[:2] == (1002).to_bytes(2, "big")
    await call.send(said("late"))  # no error: it listens in another task than it was called in
    assert stage.frames() == []
    await call.end()
    assert stage.left_open == 0


async def test_waiting_application_takes_the_message_before_the_mistake() -> None:
    stage = SocketStage()
    call = await stage.open()
    task = await waiting(call.receive)
    stage.feed(text("1"), UNMASKED)
    assert stage.frames() == []
    assert await task == heard("1")
    await call.send(said("1"))
    (event,) = await hear_all(call.receive)
    assert event["code"] == 1002
    answer, told = stage.frames()
    assert answer == Frame(TEXT, b"1")
    assert told.opcode == 8


async def test_busy_application_does_not_keep_it_secret() -> None:
    """Messages before are heard all the same."""
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), UNMASKED)
    assert stage.frames() == []
    stage.clock.run(2)
    (told,) = stage.frames()
    assert told.opcode == 8
    assert stage.tunnel.calls == ["close"]
    first, last = await hear_all(call.receive)
    assert first == heard("1")
    assert last["code"] == 1002
    await call.end()
    assert stage.left_open == 0


async def test_what_the_client_says_behind_its_mistake_is_nothing() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(UNMASKED)
    stage.feed(text("late"), frame(PING), close(4000))
    assert stage.frames() == []
    stage.clock.run(2)
    (told,) = stage.frames()
    assert told.opcode == 8
    (event,) = await hear_all(call.receive)
    assert event["code"] == 1002
    assert stage.cycle.messages_received == 0


async def test_loss_before_the_mistake_is_told() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), UNMASKED)
    stage.lose()
    stage.clock.run(10)
    assert stage.frames() == []
    assert await hear_all(call.receive) == [heard("1"), ended(1006)]
    await call.end()
    assert stage.left_open == 0


async def test_application_that_closes_before_the_mistake_is_told() -> None:
    """The mistake is what the client has to know of; there is one close frame."""
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), UNMASKED)
    await call.send(closing(4000))
    (told,) = stage.frames()
    assert told.payload[:2] == (1002).to_bytes(2, "big")
    assert stage.tunnel.calls == ["close"]
    assert stage.cycle.closed_by == "server"
    assert stage.cycle.close_code == 1002
    first, last = await hear_all(call.receive)
    assert first == heard("1")
    assert last["code"] == 1002
    assert len(stage.log.lines) == 3
    await call.end()
    assert stage.left_open == 0


async def test_fin_before_the_mistake_is_told() -> None:
    """Who has closed its side may still read."""
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), UNMASKED)
    stage.cycle.hung_up()
    (told,) = stage.frames()
    assert told.payload[:2] == (1002).to_bytes(2, "big")
    assert stage.tunnel.calls == ["close"]
    assert stage.cycle.closed_by == "server"
    first, last = await hear_all(call.receive)
    assert first == heard("1")
    assert last["code"] == 1002
    await call.end()
    assert stage.left_open == 0


async def test_fin_behind_the_mistake_that_was_told() -> None:
    stage = SocketStage()
    call = await stage.open()
    task = await waiting(call.receive)
    stage.feed(UNMASKED)
    before = len(stage.tunnel.written)
    stage.cycle.hung_up()
    stage.lose()
    assert len(stage.tunnel.written) == before
    assert (await task)["code"] == 1002
    assert await hear_all(call.receive) == []
    assert len(stage.log.lines) == 3
    await call.end()


async def test_application_that_sends_behind_the_mistake_is_told_it_at_the_end() -> None:
    """As long as the client is not told, it is answered as any."""
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), UNMASKED)
    await call.send(said("a"))
    assert stage.frames() == [Frame(TEXT, b"a")]
    stage.clock.run(2)
    with pytest.raises(ClientDisconnected):
        await call.send(said("b"))


async def test_server_that_stops_before_the_mistake_is_told() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(UNMASKED)
    stage.cycle.drain()
    (told,) = stage.frames()
    assert told.opcode == 8
    (event,) = await hear_all(call.receive)
    assert event["type"] == "websocket.disconnect"
    assert len(stage.log.lines) == 3
    await call.end()
    assert stage.left_open == 0


@pytest.mark.parametrize("error", [None, ZeroDivisionError("a bug")])
async def test_application_that_ends_before_the_mistake_is_told(error: Exception | None) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), UNMASKED)
    await call.end(error)
    (told,) = stage.frames()
    assert told.payload[:2] == (1002).to_bytes(2, "big")
    assert stage.tunnel.calls == ["close"]
    assert (stage.cycle.close_code, stage.cycle.closed_by) == (1002, "server")
    assert len(stage.log.lines) == 3
    assert stage.left_open == 0


async def test_mistake_behind_more_than_may_wait() -> None:
    stage = SocketStage(websocket_queue=2)
    call = await stage.open()
    stage.feed(text("1"), text("2"), text("3"), UNMASKED)
    assert stage.tunnel.calls == ["hold"]
    messages = await hear_all(call.receive)
    assert messages[:3] == [heard("1"), heard("2"), heard("3")]
    assert [each["code"] for each in messages[3:]] == [1002]
    assert stage.tunnel.calls == ["hold", "release", "close"]
    await rounds()
    await call.end()
    assert stage.left_open == 0
