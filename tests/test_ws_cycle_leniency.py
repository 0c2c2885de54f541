"""A `send()` to a client that has left, and who hears of that by an exception.

Frameworks listen in two ways: in the task that they were called in, as Starlette, or in one of
their own, as Channels, whose consumer would be ended by an exception before it has heard of the
end. What decides is how the application has last waited.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from aserver import http_exchange, ws_cycle
from aserver.types import ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import rounds
from tests.ws_stage import (
    ACCEPT,
    CONNECT,
    SocketStage,
    close,
    closing,
    denial,
    ended,
    hear_all,
    heard,
    said,
    text,
    waiting,
)

pytestmark = pytest.mark.asyncio

FOR_EVER = 1e6  # seconds, of the event loop


async def started(app: Callable[[Scope, Receive, Send], Any], **options: Any) -> SocketStage:
    """A stage on which this application has taken its first steps."""
    stage = SocketStage(**options)
    stage.context.app = app
    stage.cycle.start()
    await rounds(5)
    return stage


# Aside, as Channels


async def opened_aside(**options: Any) -> tuple[SocketStage, "asyncio.Task[Message]"]:
    """With a listener that waits."""
    stage = SocketStage(aside=True, **options)
    call = await stage.open()
    return stage, await waiting(call.receive)


async def test_send_in_the_moment_of_the_loss_does_not_kill_the_consumer() -> None:
    """Its listener hears of the loss, and it is to be told by that."""
    stage, task = await opened_aside()
    (call,) = stage.calls
    stage.feed(text("1"), text("2"))
    stage.lose()
    await call.send(said("0"))
    assert await task == heard("1")
    await call.send(said("1"))
    assert await hear_all(call.receive) == [heard("2"), ended(1006)]
    await call.send(said("a last one"))
    assert stage.frames() == []
    assert stage.cycle.messages_sent == 0
    await call.end()
    assert stage.left_open == 0


@pytest.mark.parametrize("data", [close(4000), b""])
async def test_client_that_says_goodbye(data: bytes) -> None:
    stage, task = await opened_aside()
    (call,) = stage.calls
    if data:
        stage.feed(data)
    else:
        stage.cycle.drain()
    for _ in range(10):
        await call.send(said("a"))
    assert (await task)["type"] == "websocket.disconnect"
    await call.end()


async def test_waiting_send_in_the_moment_of_the_loss() -> None:
    stage, task = await opened_aside()
    stage.tunnel.is_full = True
    sending = asyncio.ensure_future(stage.cycle.send(said("1")))
    await rounds(3)
    assert not sending.done()
    stage.lose()
    await sending
    assert await task == ended(1006)


async def test_it_never_raises_however_much_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_cycle, "_LENIENT_PAUSE", 0)
    stage, task = await opened_aside()
    stage.lose()
    for _ in range(3000):
        await stage.cycle.send(said("a"))
    assert await task == ended(1006)
    with pytest.raises(ClientDisconnected):
        await stage.cycle.receive()
    await stage.cycle.send(said("a"))


async def test_others_get_their_turn() -> None:
    stage, task = await opened_aside()
    stage.lose()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    for _ in range(100):
        await stage.cycle.send(said("a"))
    assert turns >= 100
    counting.cancel()
    task.cancel()


async def test_much_that_is_sent_into_nothing_is_slowed_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ws_cycle, "_LENIENT_PAUSE", FOR_EVER)
    stage, task = await opened_aside()
    stage.lose()
    for _ in range(ws_cycle._LENIENT_COUNT - 1):
        await stage.cycle.send(said("a"))
    sending = asyncio.ensure_future(stage.cycle.send(said("a")))
    await rounds()
    assert not sending.done()
    sending.cancel()
    assert await task == ended(1006)


async def test_application_that_sends_for_ever_is_cancelled() -> None:
    """Though it never hears of the end: its listener has forgotten to tell it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            while True:
                heard_of.append(await receive())

        listener = asyncio.ensure_future(listen())
        try:
            await send(ACCEPT)
            while True:
                await send(said("a"))
                await asyncio.sleep(0)
        finally:
            listener.cancel()

    heard_of: list[Message] = []
    stage = await started(app, application_close_timeout=10)
    stage.lose()
    stage.clock.run(9)
    await rounds()
    assert heard_of == [CONNECT, ended(1006)]
    assert stage.left_open == 1
    stage.clock.run(1)
    await rounds()
    assert stage.left_open == 0


@pytest.mark.parametrize("message", [ACCEPT, denial()])
async def test_answer_to_a_client_that_left_already(message: Message) -> None:
    stage = SocketStage(aside=True)
    call = await stage.connect()
    task = await waiting(call.receive)
    stage.lose()
    await call.send(message)
    assert stage.engine.calls == []
    assert stage.cycle.closed_by == "network" or message != ACCEPT
    assert await task == ended(1006)
    await call.end()
    assert stage.left_open == 0


async def test_its_own_close_is_no_surprise() -> None:
    """Who has closed knows that there is an end: a message behind is told to be late."""
    stage, task = await opened_aside()
    await stage.cycle.send(closing(4000))
    with pytest.raises(ClientDisconnected):
        await stage.cycle.send(said("a"))
    task.cancel()


# In its own task, as Starlette


class Sequential:
    """Hears and says everything in the task that it was called in."""

    def __init__(self, *, first_aside: bool = False) -> None:
        self.error: Exception | None = None
        self._first_aside = first_aside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._first_aside:  # with a timeout
            assert await asyncio.ensure_future(_call(receive)) == CONNECT
        else:
            assert await receive() == CONNECT
        await send(ACCEPT)
        try:
            while (await receive())["type"] == "websocket.receive":
                for _ in range(100):
                    await send(said("a"))
                    await asyncio.sleep(0)
        except ClientDisconnected as error:
            self.error = error


async def _call(receive: Receive) -> Message:
    return await receive()


@pytest.mark.parametrize("first_aside", [False, True])
async def test_application_that_listens_in_its_own_task_is_told_at_once(first_aside: bool) -> None:
    """Even if it took websocket.connect aside, which there is no waiting for."""
    app = Sequential(first_aside=first_aside)
    stage = await started(app)
    stage.feed(text("1"))
    await rounds(3)
    stage.lose()
    await rounds(3)
    assert app.error is not None
    assert stage.left_open == 0


@pytest.mark.parametrize("messages", [0, 1])
async def test_who_listens_aside_need_not_have_waited(messages: int) -> None:
    """A consumer may be at work on what came with the handshake, or on the handshake itself."""
    stage = SocketStage(aside=True)
    call = await stage.open()
    for _ in range(messages):
        stage.feed(text("1"))
        assert await call.receive() == heard("1")
    stage.lose()
    await call.send(said("a"))
    assert (await call.receive())["type"] == "websocket.disconnect"


async def test_its_last_way_to_listen_counts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        assert await asyncio.ensure_future(_call(receive)) == heard("1")
        assert await receive() == heard("2")
        try:
            while True:
                await send(said("a"))
                await asyncio.sleep(0)
        except ClientDisconnected:
            told.append(True)

    told: list[bool] = []
    stage = await started(app)
    for number in "12":
        stage.feed(text(number))
        await rounds(5)
    stage.lose()
    await rounds(3)
    assert told == [True]


@pytest.mark.parametrize("seconds", [0, FOR_EVER])
async def test_sender_beside_a_listener_in_its_own_task_is_told_behind_it(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits in `receive()` hears of it first, and has a moment to end the sender gently."""
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", seconds)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def stream() -> None:
            while True:
                await send(said("a"))
                await asyncio.sleep(0)

        await receive()
        await send(ACCEPT)
        sender = asyncio.ensure_future(stream())
        ends.append(await receive())
        await rounds()
        sender.cancel()
        await asyncio.wait([sender])
        errors.append(None if sender.cancelled() else sender.exception())

    ends: list[Message] = []
    errors: list[BaseException | None] = []
    stage = await started(app)
    assert stage.tunnel.written
    stage.lose()
    await rounds(30)
    assert ends == [ended(1006)]
    (error,) = errors
    assert isinstance(error, ClientDisconnected) if seconds == 0 else error is None
    assert stage.left_open == 0


async def test_moment_of_a_listener_is_a_short_one() -> None:
    assert 0 < http_exchange._TELL_SECONDS <= 0.1
    assert ws_cycle._LENIENT_COUNT * ws_cycle._LENIENT_PAUSE <= 60


# Tasks that begin at once


def eager_task(
    coro: Coroutine[Any, Any, None], *, loop: asyncio.AbstractEventLoop, **options: Any
) -> "asyncio.Task[None]":
    """A task that takes its first steps when it is made, as Python 3.12 can."""
    first = coro.send(None)

    @types.coroutine
    def rest() -> Generator[Any, Any, None]:
        yield first
        while True:
            try:
                waited_for = coro.send(None)
            except StopIteration:
                return
            yield waited_for

    async def run() -> None:
        await rest()

    return asyncio.Task(run(), loop=loop, **options)


async def test_eager_application_listens_in_its_own_task() -> None:
    """It waits before the cycle knows its task."""
    app = Sequential()
    stage = SocketStage()
    stage.context.app = app
    stage.context.new_task = eager_task
    stage.cycle.start()
    assert stage.cycle.accepted
    stage.feed(text("1"))
    await rounds(3)
    stage.lose()
    await rounds(3)
    assert app.error is not None
    assert stage.left_open == 0
