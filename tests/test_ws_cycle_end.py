"""However a WebSocket ends: its code, who is told, and that it is one websocket.disconnect."""

import logging
from collections.abc import Callable

import pytest

from aserver.types import AppError, ClientDisconnected, Message
from tests.fakes import rounds
from tests.ws_stage import (
    PING,
    PONG,
    TEXT,
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


# By the client


@pytest.mark.parametrize(
    ("data", "answer", "event"),
    [
        (close(1000), close_frame(1000), ended(1000)),
        (close(4123, "é"), close_frame(4123), ended(4123, "é")),
        (close(1001), close_frame(1001), ended(1001)),
        (close(None), Frame(8, b""), ended(1005)),
    ],
)
async def test_client_closes(data: bytes, answer: Frame, event: Message) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(data)
    assert stage.frames() == [answer]
    assert stage.tunnel.calls == ["close"]
    assert await hear_all(call.receive) == [event]
    assert stage.cycle.closed_by == "client"
    assert line(stage) == [("GET", b"/path", 101, 0)]
    await call.end()
    assert stage.left_open == 0


def say_goodbye(stage: SocketStage) -> None:
    stage.feed(close(1001))


def leave(stage: SocketStage) -> None:
    stage.lose()


GOING = pytest.mark.parametrize("go", [say_goodbye, leave])


@GOING
async def test_waiting_application_hears_of_the_end(go: Callable[[SocketStage], None]) -> None:
    stage = SocketStage()
    call = await stage.open()
    task = await waiting(call.receive)
    go(stage)
    message = await result(task)
    assert message["type"] == "websocket.disconnect"
    await call.end()


async def test_one_of_two_readers_hears_of_the_end() -> None:
    stage = SocketStage()
    call = await stage.open()
    tasks = [await waiting(call.receive) for _ in range(2)]
    stage.lose()
    await rounds(3)
    assert sorted(type(task.exception()) is ClientDisconnected for task in tasks) == [False, True]


@GOING
async def test_what_came_before_the_end_is_heard_first(go: Callable[[SocketStage], None]) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), text("2"))
    go(stage)
    one, two, last = await hear_all(call.receive)
    assert [one, two] == [heard("1"), heard("2")]
    assert last["type"] == "websocket.disconnect"


async def test_nothing_counts_behind_a_close_frame() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(close(1000), text("late"), frame(PING), UNMASKED)
    stage.feed(text("later"))
    assert stage.frames() == [close_frame(1000)]
    assert await hear_all(call.receive) == [ended(1000)]


async def test_client_that_leaves_without_a_word() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("half", fin=False))
    stage.lose()
    assert await hear_all(call.receive) == [ended(1006)]
    assert stage.cycle.closed_by == "network"
    assert line(stage) == [("GET", b"/path", 101, 0)]
    await call.end()
    assert stage.left_open == 0


async def test_loss_behind_a_close_frame_is_no_second_end() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(close(4000))
    stage.lose()
    stage.lose()
    assert await hear_all(call.receive) == [ended(4000)]
    assert len(line(stage)) == 1
    await call.end()


# By the application


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (closing(), close_frame(1000)),
        (closing(4000, "bye"), close_frame(4000, "bye")),
        (closing(3000, "é" * 100), close_frame(3000, "é" * 61)),
    ],
)
async def test_application_closes(message: Message, sent: Frame) -> None:
    """It hears the code of the client's answer."""
    stage = SocketStage()
    call = await stage.open()
    await call.send(message)
    assert stage.frames() == [sent]
    assert stage.tunnel.calls == []
    task = await waiting(call.receive)
    assert line(stage) == []
    stage.feed(close(4001, "you too"))
    assert stage.frames() == []
    assert stage.tunnel.calls == ["close"]
    assert await result(task) == ended(4001, "you too")
    assert stage.cycle.closed_by == "application"
    assert len(line(stage)) == 1
    await call.end()
    assert stage.left_open == 0


async def test_what_the_client_says_before_its_answer_is_not_heard() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("before"), text("begun", fin=False))
    await call.send(closing())
    stage.feed(frame(0, b"end"), text("after"), frame(PING, b"?"), close(1000))
    assert await hear_all(call.receive) == [ended(1000)]
    assert stage.frames() == [close_frame(1000), Frame(PONG, b"?")]


async def test_close_frame_that_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = SocketStage(websocket_close_timeout=5)
    call = await stage.open()
    await call.send(closing(4000))
    task = await waiting(call.receive)
    stage.clock.run(5)
    assert stage.tunnel.calls == [], "the clock may be late by a tick"
    stage.clock.run(1)
    assert stage.tunnel.calls == ["abort"]
    assert stage.frames() == [close_frame(4000)], "and none besides"
    assert await result(task) == ended(1006)
    assert "did not answer a close frame (--websocket-close-timeout)" in caplog.messages[0]
    await call.end()
    assert stage.left_open == 0


async def test_client_that_leaves_instead_of_an_answer() -> None:
    stage = SocketStage()
    call = await stage.open()
    await call.send(closing(4000))
    stage.lose()
    assert await hear_all(call.receive) == [ended(1006)]
    assert stage.cycle.closed_by == "application"
    await call.end()
    assert stage.left_open == 0


async def test_mistake_in_place_of_an_answer() -> None:
    stage = SocketStage()
    call = await stage.open()
    await call.send(closing(4000))
    stage.feed(UNMASKED)
    assert stage.tunnel.calls == ["close"]
    assert stage.frames() == [close_frame(4000)], "there is one close frame only"
    (event,) = await hear_all(call.receive)
    assert event["type"] == "websocket.disconnect"
    await call.end()
    assert stage.left_open == 0


async def test_message_behind_its_own_close(caplog: pytest.LogCaptureFixture) -> None:
    """It may let the error pass; that is not logged as an error (ASGI, Disconnected Client)."""
    stage = SocketStage()
    call = await stage.open()
    await call.send(closing())
    with pytest.raises(ClientDisconnected, match="is closed") as caught:
        await call.send(said("late"))
    await call.end(caught.value)
    assert caplog.messages == []


async def test_message_behind_its_own_refusal(caplog: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(closing())
    with pytest.raises(ClientDisconnected) as caught:
        await call.send(said("late"))
    await call.end(caught.value)
    assert caplog.messages == []


async def test_reading_on_behind_the_end_of_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(closing())
    assert await call.receive() == ended(1006)
    with pytest.raises(ClientDisconnected) as caught:
        await call.receive()
    await call.end(caught.value)
    assert caplog.messages == []


@pytest.mark.parametrize("message", [closing(1005), closing(1), closing(1000, "\ud800")])
async def test_close_that_cannot_be(message: Message) -> None:
    """It leaves the WebSocket as it was."""
    stage = SocketStage()
    call = await stage.open()
    with pytest.raises(AppError):
        await call.send(message)
    await call.send(said("open"))
    assert stage.frames() == [Frame(TEXT, b"open")]
    await call.send(closing(4000))
    assert stage.frames() == [close_frame(4000)]


async def test_application_that_waits_for_nothing_behind_its_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its call is over; the WebSocket is until the client has answered."""
    stage = SocketStage()
    call = await stage.open()
    await call.send(closing(4000))
    await call.end()
    assert len(stage.context.cycles) == 0
    assert stage.left_open == 1
    assert line(stage) == []
    assert caplog.messages == []
    stage.feed(close(4000))
    assert stage.left_open == 0
    assert line(stage) == [("GET", b"/path", 101, 0)]
    assert stage.cycle.closed_by == "application"
