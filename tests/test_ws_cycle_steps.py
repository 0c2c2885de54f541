"""A read of more than is looked at at once: the rest comes when others have had their turn."""

import asyncio
from typing import Any

import pytest

from tests.fakes import rounds
from tests.stage import Call
from tests.ws_stage import (
    BYTES,
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
    in_steps,
    said,
    text,
    waiting,
)

pytestmark = pytest.mark.asyncio

STEP = 7  # bytes: one of these messages
MESSAGES = [text(number) for number in "123456789"]


async def opened(**options: Any) -> tuple[SocketStage, Call]:
    stage = SocketStage(**options)
    stage.context.new_frames = in_steps(STEP)
    return stage, await stage.open()


async def test_messages_come_in_order() -> None:
    stage, call = await opened()
    stage.feed(*MESSAGES)
    assert stage.cycle.messages_received == 1
    assert stage.tunnel.calls == ["hold"], "nothing comes before the rest is looked at"
    assert [await waiting_for(call) for _ in MESSAGES] == [heard(number) for number in "123456789"]
    assert stage.tunnel.calls == ["hold", "release"]
    stage.feed(text("0"))
    assert await call.receive() == heard("0")


async def waiting_for(call: Call) -> Any:
    return await call.receive()


async def test_each_step_is_a_turn_of_the_event_loop() -> None:
    stage, _ = await opened()
    stage.feed(*MESSAGES)
    counts = []
    while stage.tunnel.held:
        counts.append(stage.cycle.messages_received)
        await asyncio.sleep(0)
    assert counts == [*range(1, len(MESSAGES))]
    assert stage.cycle.messages_received == len(MESSAGES)


async def test_one_step_needs_no_turn() -> None:
    stage, call = await opened()
    stage.feed(text("1"))
    assert stage.tunnel.calls == []
    assert await call.receive() == heard("1")
    assert stage.cycle.messages_received == 1


@pytest.mark.parametrize("size", range(1, 30))
async def test_read_of_any_size(size: int) -> None:
    stage, call = await opened()
    data = b"".join(MESSAGES)
    while data:
        stage.feed(data[:size])
        data = data[size:]
        await rounds(size // STEP + 2)
    assert [await call.receive() for _ in MESSAGES] == [heard(number) for number in "123456789"]


async def test_nothing_of_the_rest_is_looked_at_while_enough_waits() -> None:
    stage, call = await opened(websocket_queue=2)
    stage.feed(*MESSAGES)
    await rounds()
    assert stage.cycle.messages_received == 3
    assert stage.tunnel.calls == ["hold"]
    assert [await call.receive() for _ in range(2)] == [heard("1"), heard("2")]
    await rounds()
    assert stage.cycle.messages_received == 5, "and no more than fits"
    assert [await waiting_for(call) for _ in range(7)] == [heard(number) for number in "3456789"]
    await rounds()
    assert not stage.tunnel.held


async def test_large_message_in_steps() -> None:
    stage, call = await opened()
    task = await waiting(call.receive)
    stage.feed(frame(BYTES, bytes(200)))
    assert await task == heard(bytes(200))


async def test_pings_in_the_rest_are_answered() -> None:
    stage, _ = await opened()
    stage.feed(*[frame(PING, b"%d" % number) for number in range(5)])
    await rounds()
    assert stage.frames() == [Frame(PONG, b"%d" % number) for number in range(5)]


async def test_held_by_itself_it_is_not_given_up() -> None:
    """Its pong may be in the rest."""
    stage, _ = await opened(websocket_queue=1, ping_interval=20, ping_timeout=30)
    stage.feed(*MESSAGES)
    await rounds()
    stage.clock.run(200)
    assert not stage.closed


# The end, with a rest


async def test_close_frame_in_the_rest() -> None:
    stage, call = await opened()
    stage.feed(*MESSAGES[:3], close(4000), text("late"))
    assert stage.frames() == []
    assert await hear_all(call.receive) == [heard("1"), heard("2"), heard("3"), ended(4000)]
    assert stage.frames() == [close_frame(4000)]
    assert stage.tunnel.calls == ["hold", "close"]
    await rounds()
    await call.end()
    assert stage.left_open == 0


async def test_mistake_in_the_rest() -> None:
    stage, call = await opened()
    stage.feed(*MESSAGES[:2], UNMASKED, text("late"))
    *messages, event = await hear_all(call.receive)
    assert messages == [heard("1"), heard("2")]
    assert event["code"] == 1002
    assert stage.closed
    await rounds()
    await call.end()
    assert stage.left_open == 0


async def test_answer_to_our_close_frame_in_the_rest() -> None:
    stage, call = await opened()
    stage.feed(*MESSAGES, close(4001))
    await call.send(closing(4000))
    assert await hear_all(call.receive) == [ended(4001)]
    assert stage.frames() == [close_frame(4000)]
    assert stage.cycle.messages_received == 1
    assert stage.closed
    await call.end()
    assert stage.left_open == 0


async def test_close_while_the_rest_is_held() -> None:
    stage, call = await opened(websocket_queue=1)
    stage.feed(*MESSAGES, close(4001))
    await rounds()
    assert stage.cycle.messages_received == 2
    await call.send(closing(4000))
    assert await hear_all(call.receive) == [ended(4001)]
    assert stage.closed


@pytest.mark.parametrize("queue", [1, 100])
async def test_loss_before_the_rest_is_looked_at(queue: int) -> None:
    """Nobody is called behind the end, and nothing is kept."""
    stage, call = await opened(websocket_queue=queue)
    stage.feed(*MESSAGES)
    stage.lose()
    await rounds()
    assert await hear_all(call.receive) == [heard("1"), ended(1006)]
    assert stage.tunnel.calls == ["hold"]
    await call.end()
    assert stage.left_open == 0


async def test_silence_of_a_client_that_is_given_up_with_a_rest() -> None:
    stage, call = await opened(websocket_close_timeout=5)
    stage.feed(*MESSAGES[:2])
    await call.send(closing(4000))
    await rounds()
    stage.clock.run(6)
    assert stage.tunnel.calls[-1] == "abort"
    stage.cycle.resume()
    await rounds()
    await call.end()
    assert stage.left_open == 0


async def test_messages_that_came_with_the_handshake_in_steps() -> None:
    stage = SocketStage()
    stage.context.new_frames = in_steps(STEP)
    stage.engine.early = b"".join(MESSAGES)
    call = await stage.open()
    assert [await waiting_for(call) for _ in MESSAGES] == [heard(number) for number in "123456789"]
    await call.send(said("a"))
    assert len(stage.frames()) == 1
