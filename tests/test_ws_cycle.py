"""What passes between an application and its client: messages, in each state of the WebSocket."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aserver.types import AppError, ClientDisconnected, Message
from tests.fakes import rounds
from tests.stage import Call
from tests.ws_stage import (
    ACCEPT,
    BYTES,
    CONNECT,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    SocketStage,
    close,
    close_frame,
    closing,
    denial,
    denial_body,
    ended,
    frame,
    heard,
    result,
    said,
    text,
    waiting,
)

pytestmark = pytest.mark.asyncio


# Messages from the client


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (text("hello"), "hello"),
        (frame(BYTES, b"hello"), b"hello"),
        (text(""), ""),
        (frame(BYTES), b""),
        (text("é\U0001f600"), "é\U0001f600"),
        (text("a", fin=False) + frame(CONTINUATION, b"b"), "ab"),
        (text("a", fin=False) + frame(PING) + frame(CONTINUATION, b"b"), "ab"),
        (frame(BYTES, fin=False) + frame(CONTINUATION), b""),
        (frame(BYTES, bytes(70_000)), bytes(70_000)),
    ],
)
async def test_message(data: bytes, expected: str | bytes) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(data)
    message = await call.receive()
    assert message == heard(expected)
    assert stage.cycle.messages_received == 1
    assert stage.cycle.received == len(expected.encode() if type(expected) is str else expected)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_message_in_pieces(size: int) -> None:
    stage = SocketStage()
    call = await stage.open()
    data = text("é") + frame(BYTES, bytes(200)) + text("a", fin=False) + frame(CONTINUATION, b"b")
    for start in range(0, len(data), size):
        stage.feed(data[start : start + size])
    messages = [await call.receive() for _ in range(3)]
    assert messages == [heard("é"), heard(bytes(200)), heard("ab")]


async def test_messages_wait_for_the_application_in_order() -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("1"), text("2"))
    stage.feed(text("3"))
    assert [await call.receive() for _ in range(3)] == [heard("1"), heard("2"), heard("3")]


async def test_application_waits_for_a_message() -> None:
    stage = SocketStage()
    call = await stage.open()
    for number in "12":
        task = await waiting(call.receive)
        stage.feed(text(number))
        assert await result(task) == heard(number)


async def test_each_message_has_one_reader() -> None:
    stage = SocketStage()
    call = await stage.open()
    tasks = [await waiting(call.receive) for _ in range(3)]
    stage.feed(text("1"))
    await rounds(3)
    assert sum(task.done() for task in tasks) == 1
    stage.feed(text("2"), text("3"))
    await rounds(3)
    texts = [task.result()["text"] for task in tasks]
    assert sorted(texts) == ["1", "2", "3"]


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_reader_loses_nothing(late: bool) -> None:
    """As frameworks do that listen with a timeout; even if the message comes in that moment."""
    stage = SocketStage()
    call = await stage.open()
    task = await waiting(call.receive)
    if late:
        stage.feed(text("1"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if not late:
        stage.feed(text("1"))
    stage.feed(text("2"))
    assert [await call.receive() for _ in range(2)] == [heard("1"), heard("2")]


async def test_connect_comes_once() -> None:
    stage = SocketStage()
    call = await stage.connect()
    task = await waiting(call.receive)
    await call.send(ACCEPT)
    await rounds()
    assert not task.done()
    stage.feed(text("a"))
    assert await result(task) == heard("a")


async def test_application_that_accepts_before_it_has_heard_of_the_handshake() -> None:
    stage = SocketStage(aside=True)
    stage.cycle.start()
    await rounds(3)
    (call,) = stage.calls
    await call.send(ACCEPT)
    stage.feed(text("a"))
    assert [await call.receive() for _ in range(2)] == [CONNECT, heard("a")]


async def test_messages_that_came_with_the_handshake() -> None:
    stage = SocketStage()
    stage.engine.early = text("1") + text("2")[:3]
    call = await stage.open()
    stage.feed(text("2")[3:])
    assert [await call.receive() for _ in range(2)] == [heard("1"), heard("2")]


async def test_close_frame_that_came_with_the_handshake() -> None:
    stage = SocketStage()
    stage.engine.early = text("1") + close(4000)
    call = await stage.open()
    assert [await call.receive() for _ in range(2)] == [heard("1"), ended(4000)]
    assert stage.frames() == [close_frame(4000)]


async def test_pings_are_not_the_applications_business() -> None:
    stage = SocketStage()
    call = await stage.open()
    task = await waiting(call.receive)
    stage.feed(frame(PING, b"1"), frame(PONG, b"?"), frame(PING, b"2"))
    await rounds(3)
    assert not task.done()
    assert stage.frames() == [Frame(PONG, b"1"), Frame(PONG, b"2")]
    assert stage.cycle.messages_received == 0
    task.cancel()


# Messages to the client


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("hello", Frame(TEXT, b"hello")),
        (b"hello", Frame(BYTES, b"hello")),
        ("", Frame(TEXT, b"")),
        (b"", Frame(BYTES, b"")),
        ("é", Frame(TEXT, b"\xc3\xa9")),
        (bytes(126), Frame(BYTES, bytes(126))),
        (bytes(70_000), Frame(BYTES, bytes(70_000))),
    ],
)
async def test_send(data: str | bytes, expected: Frame) -> None:
    stage = SocketStage()
    call = await stage.open()
    await call.send(said(data))
    assert stage.frames() == [expected]
    assert (stage.cycle.messages_sent, stage.cycle.sent) == (1, len(expected.payload))


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"text": None, "bytes": None},
        {"text": "a", "bytes": b"a"},
        {"text": b"a"},
        {"bytes": "a"},
        {"text": "\ud800"},
        {"text": "a\udfff" * 40_000},
    ],
)
async def test_send_of_nothing_that_can_be_sent(message: dict[str, Any]) -> None:
    stage = SocketStage()
    call = await stage.open()
    with pytest.raises(AppError):
        await call.send({"type": "websocket.send", **message})
    await call.send(said("after"))
    assert stage.frames() == [Frame(TEXT, b"after")]
    assert stage.cycle.messages_sent == 1


# Every message in every state


async def awaited(stage: SocketStage) -> Call:
    return await stage.connect()


async def opened(stage: SocketStage) -> Call:
    return await stage.open()


async def begun(stage: SocketStage) -> Call:
    call = await stage.connect()
    await call.send(denial())
    return call


async def streaming(stage: SocketStage) -> Call:
    call = await begun(stage)
    await call.send(denial_body(b"a", more=True))
    return call


async def denied(stage: SocketStage) -> Call:
    call = await begun(stage)
    await call.send(denial_body())
    return call


async def refused(stage: SocketStage) -> Call:
    call = await stage.connect()
    await call.send(closing())
    return call


async def closed(stage: SocketStage) -> Call:
    call = await stage.open()
    await call.send(closing())
    return call


async def left(stage: SocketStage) -> Call:
    call = await stage.open()
    stage.lose()
    return call


async def left_early(stage: SocketStage) -> Call:
    call = await stage.connect()
    stage.lose()
    return call


async def bidden_farewell(stage: SocketStage) -> Call:
    call = await stage.open()
    stage.feed(close())
    return call


async def stopped(stage: SocketStage) -> Call:
    call = await stage.open()
    stage.cycle.drain()
    return call


STATES: dict[str, Callable[[SocketStage], Awaitable[Call]]] = {
    "no answer": awaited,
    "open": opened,
    "response begun": begun,
    "response on its way": streaming,
    "response complete": denied,
    "refused": refused,
    "closed by the application": closed,
    "left": left,
    "left before an answer": left_early,
    "closed by the client": bidden_farewell,
    "server stops": stopped,
}
SENT = [
    ACCEPT,
    said("a"),
    closing(),
    denial(),
    denial_body(b"a"),
    {"type": "websocket.receive"},
    {"type": "http.response.start", "status": 200},
    {"type": "http.response.body", "body": b"a"},
    {"type": 5},
    {},
]
# By state, in the order of `SENT`: "+" is taken, "-" is taken and nothing comes of it, "!" is the
# application's mistake, "D" tells that there is nobody any more.
TABLE = {
    "no answer":                 "+!++!!!!!!",
    "open":                      "!++!!!!!!!",
    "response begun":            "!!!!+!!!!!",
    "response on its way":       "!!!!+!!!!!",
    "response complete":         "!D---!!!!!",
    "refused":                   "!D---!!!!!",
    "closed by the application": "!D-!!!!!!!",
    "left":                      "DD-DDDDDD!",
    "left before an answer":     "DD-DDDDDD!",
    "closed by the client":      "DD-DDDDDD!",
    "server stops":              "DD-DDDDDD!",
}  # fmt: skip


@pytest.mark.parametrize("column", range(len(SENT)))
@pytest.mark.parametrize("state", TABLE)
async def test_every_message_in_every_state(state: str, column: int) -> None:
    stage = SocketStage()
    call = await STATES[state](stage)
    before = len(stage.engine.calls), len(stage.tunnel.written), repr(stage.cycle)
    message: Message = {**SENT[column]}
    expected = TABLE[state][column]
    if expected == "!":
        with pytest.raises(AppError):
            await call.send(message)
    elif expected == "D":
        with pytest.raises(ClientDisconnected):
            await call.send(message)
    else:
        await call.send(message)
    after = len(stage.engine.calls), len(stage.tunnel.written), repr(stage.cycle)
    assert (before != after) == (expected == "+")
    assert message == SENT[column]


async def test_refused_message_changes_nothing() -> None:
    """Not even who the access log will say has ended it."""
    stage = SocketStage()
    call = await stage.open()
    with pytest.raises(AppError):
        await call.send(denial())
    stage.lose()
    assert stage.cycle.closed_by == "network"


async def test_unknown_keys_do_no_harm() -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send({**ACCEPT, "unknown": object()})
    await call.send({**said("a"), "unknown": object()})
    await call.send({**closing(4000), "unknown": object()})
    assert stage.frames() == [Frame(TEXT, b"a"), close_frame(4000)]
