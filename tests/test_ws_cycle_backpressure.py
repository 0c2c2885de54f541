"""Who does not take what it is sent makes the other side wait: in both directions."""

import asyncio

import pytest

from aserver.types import ClientDisconnected, Message
from tests.fakes import rounds
from tests.stage import Call
from tests.ws_stage import (
    BYTES,
    PING,
    PONG,
    TEXT,
    Frame,
    SocketStage,
    close,
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


# An application that does not receive


async def test_messages_that_wait_are_counted() -> None:
    stage = SocketStage(websocket_queue=4)
    call = await stage.open()
    stage.feed(*[text(str(number)) for number in range(4)])
    assert stage.tunnel.calls == []
    stage.feed(text("4"))
    assert stage.tunnel.calls == ["hold"]
    assert await call.receive() == heard("0")
    assert await call.receive() == heard("1")
    assert stage.tunnel.held
    assert await call.receive() == heard("2")
    assert stage.tunnel.calls == ["hold", "release"], "when there are half as many"
    stage.feed(text("5"))
    assert [await call.receive() for _ in range(3)] == [heard("3"), heard("4"), heard("5")]
    assert stage.tunnel.calls == ["hold", "release"]


@pytest.mark.parametrize("kind", [TEXT, BYTES])
async def test_their_bytes_are_counted(kind: int) -> None:
    stage = SocketStage(read_buffer=100)
    call = await stage.open()
    stage.feed(frame(kind, b"a" * 50), frame(kind, b"a" * 50))
    assert stage.tunnel.calls == []
    stage.feed(frame(kind, b"a"))
    assert stage.tunnel.calls == ["hold"]
    await call.receive()
    assert stage.tunnel.held
    await call.receive()
    assert stage.tunnel.calls == ["hold", "release"]
    await call.receive()
    stage.feed(frame(kind, b"a" * 100))
    assert not stage.tunnel.held, "those that were taken count no more"


async def test_one_message_may_be_larger_than_the_buffer() -> None:
    stage = SocketStage(read_buffer=100)
    call = await stage.open()
    stage.feed(frame(BYTES, bytes(1000)))
    assert stage.tunnel.held
    assert await call.receive() == heard(bytes(1000))
    assert not stage.tunnel.held


async def test_smallest_queue() -> None:
    stage = SocketStage(websocket_queue=1, read_buffer=1)
    call = await stage.open()
    for number in range(3):
        stage.feed(text(f"{number}"), text(f"{number}+"))
        assert stage.tunnel.held
        assert await call.receive() == heard(f"{number}")
        assert stage.tunnel.held
        assert await call.receive() == heard(f"{number}+")
        assert not stage.tunnel.held


async def test_burst_to_a_waiting_application() -> None:
    stage = SocketStage(websocket_queue=2)
    call = await stage.open()
    task = await waiting(call.receive)
    stage.feed(text("1"))
    assert stage.tunnel.calls == []
    assert await result(task) == heard("1")
    task = await waiting(call.receive)
    stage.feed(*[text(number) for number in "23456"])
    assert stage.tunnel.calls == ["hold"]
    assert await result(task) == heard("2")
    assert [await call.receive() for _ in range(4)] == [heard(number) for number in "3456"]
    assert stage.tunnel.calls == ["hold", "release"]


async def test_frame_that_was_cut_by_the_hold() -> None:
    stage = SocketStage(websocket_queue=1)
    call = await stage.open()
    stage.feed(text("1"), text("2"), text("3")[:4])
    assert await call.receive() == heard("1")
    assert await call.receive() == heard("2")
    stage.feed(text("3")[4:])
    assert await call.receive() == heard("3")


async def test_messages_of_a_client_that_left_are_not_lost() -> None:
    stage = SocketStage(websocket_queue=1)
    call = await stage.open()
    stage.feed(*[text(number) for number in "1234"])
    stage.lose()
    *messages, event = await hear_all(call.receive)
    assert messages == [heard(number) for number in "1234"]
    assert event == ended(1006)
    assert stage.tunnel.calls == ["hold"], "there is nobody to be read from"


async def test_close_frame_behind_more_than_may_wait() -> None:
    stage = SocketStage(websocket_queue=1)
    call = await stage.open()
    stage.feed(text("1"), text("2"), close(4000))
    assert await hear_all(call.receive) == [heard("1"), heard("2"), ended(4000)]
    await call.end()
    assert stage.left_open == 0


async def test_close_of_a_held_client_reads_on_for_its_answer() -> None:
    stage = SocketStage(websocket_queue=1)
    call = await stage.open()
    stage.feed(text("1"), text("2"))
    await call.send(closing(4000))
    assert stage.tunnel.calls == ["hold", "release"]
    stage.feed(text("3"), text("4"), text("5"))
    assert not stage.tunnel.held, "nobody wants them"
    stage.feed(close(4000))
    assert await hear_all(call.receive) == [ended(4000)]


async def test_stop_of_the_server_reads_on_for_the_answer() -> None:
    stage = SocketStage(websocket_queue=1)
    call = await stage.open()
    stage.feed(text("1"), text("2"))
    stage.cycle.drain()
    assert stage.tunnel.calls == ["hold", "release"]
    await call.end()
    stage.feed(close(1012))
    assert stage.left_open == 0


async def test_client_that_is_held_is_pinged_but_not_judged() -> None:
    stage = SocketStage(websocket_queue=1, ping_interval=20, ping_timeout=30)
    call = await stage.open()
    stage.feed(text("1"), text("2"))
    stage.clock.run(200)
    assert stage.frames() == [Frame(PING, b"")] * 10
    assert stage.tunnel.calls == ["hold"]
    assert [await call.receive() for _ in range(2)] == [heard("1"), heard("2")]
    stage.feed(frame(PONG))
    stage.clock.run(30)
    assert stage.tunnel.calls == ["hold", "release"]


async def test_idle_application_ends_by_the_limit_though_its_client_is_held() -> None:
    stage = SocketStage(websocket_queue=1, websocket_idle_timeout=10)
    await stage.open()
    stage.feed(text("1"), text("2"))
    stage.clock.run(10)
    assert stage.frames()[-1].opcode == 8
    assert stage.tunnel.calls == ["hold", "release"]


# A client that does not read


async def sending(call: Call, message: Message) -> "asyncio.Task[None]":
    async def send() -> None:
        await call.send(message)

    task = asyncio.ensure_future(send())
    await rounds(3)
    return task


async def test_send_waits_for_a_slow_reader() -> None:
    stage = SocketStage()
    call = await stage.open()
    assert (await sending(call, said("1"))).done()
    stage.tunnel.is_full = True
    tasks = [await sending(call, said(number)) for number in "23"]
    assert not any(task.done() for task in tasks)
    assert [each.payload for each in stage.frames()] == [b"1", b"2", b"3"]
    stage.tunnel.is_full = False
    stage.cycle.resume()
    await rounds(3)
    assert all(task.done() for task in tasks)
    assert (await sending(call, said("4"))).done()
    assert stage.frames() == [Frame(TEXT, b"4")]


async def test_cancelled_send_leaves_the_others_waiting() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.tunnel.is_full = True
    first, second = [await sending(call, said(number)) for number in "12"]
    first.cancel()
    await rounds(3)
    assert first.cancelled()
    assert not second.done()
    stage.tunnel.is_full = False
    stage.cycle.resume()
    await rounds(3)
    assert second.done()


async def test_waiting_send_hears_of_the_loss() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.tunnel.is_full = True
    task = await sending(call, said("1"))
    stage.lose()
    await rounds(3)
    assert isinstance(task.exception(), ClientDisconnected)


async def test_waiting_send_hears_of_the_stop() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.tunnel.is_full = True
    task = await sending(call, said("1"))
    stage.cycle.drain()
    await rounds(3)
    assert isinstance(task.exception(), ClientDisconnected)
    assert [each.opcode for each in stage.frames()] == [TEXT, 8]


async def test_receiving_goes_on_while_a_send_waits() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.tunnel.is_full = True
    task = await sending(call, said("1"))
    stage.feed(text("2"))
    assert await call.receive() == heard("2")
    assert not task.done()
    stage.lose()
    await rounds(3)
    assert task.done()


async def test_close_does_not_wait() -> None:
    """Else a client that reads nothing could keep the call for ever."""
    stage = SocketStage(websocket_close_timeout=5)
    call = await stage.open()
    stage.tunnel.is_full = True
    assert (await sending(call, closing(4000))).done()
    await call.end()
    stage.clock.run(6)
    assert stage.tunnel.calls == ["abort"]
    assert stage.left_open == 0


async def test_send_that_waits_beside_a_close_ends_with_it() -> None:
    stage = SocketStage(websocket_close_timeout=5)
    call = await stage.open()
    stage.tunnel.is_full = True
    task = await sending(call, said("1"))
    await call.send(closing(4000))
    stage.clock.run(6)
    await rounds(3)
    assert isinstance(task.exception(), ClientDisconnected)


async def test_only_the_last_ping_of_a_slow_reader_is_answered() -> None:
    stage = SocketStage()
    await stage.open()
    stage.tunnel.is_full = True
    stage.feed(*[frame(PING, b"%d" % number) for number in range(100)])
    assert stage.frames() == []
    stage.tunnel.is_full = False
    stage.cycle.resume()
    assert stage.frames() == [Frame(PONG, b"99")]
    stage.cycle.resume()
    assert stage.frames() == []


async def test_slow_reader_that_takes_something_is_alive() -> None:
    stage = SocketStage(ping_interval=20, ping_timeout=30)
    call = await stage.open()
    stage.tunnel.taken = 0
    await call.send(said(bytes(100_000)))
    for _ in range(50):
        stage.tunnel.taken += 200
        stage.clock.run(10)
        assert stage.tunnel.calls == []
    stage.clock.run(100)
    assert stage.tunnel.calls == ["abort"], "nothing that we say would come to it"
