"""The HTTP exchange between a fake engine and scripted applications: messages both ways."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aserver import http_exchange
from aserver.types import AppError, ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import body, rounds, start
from tests.over_http2 import carrier as carrier
from tests.stage import CycleStage

pytestmark = pytest.mark.asyncio

LENGTH_5 = (b"content-length", b"5")
DISCONNECT = {"type": "http.disconnect"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


async def raised(call: Awaitable[None]) -> str:
    """What comes out of a `send()`: a name."""
    try:
        await call
    except (AppError, ClientDisconnected) as error:
        return type(error).__name__
    return "ok"


# Every message in every state

MESSAGES: dict[str, Any] = {
    "start": start(),
    "bare start": {"type": "http.response.start", "status": 200},
    "start without status": {"type": "http.response.start"},
    "start with a bad status": {"type": "http.response.start", "status": "200"},
    "start with a bad header": start(200, (b"x", b"\n")),
    "start with bad headers": {"type": "http.response.start", "status": 200, "headers": 5},
    "body": body(b"hello"),
    "bare body": {"type": "http.response.body"},
    "more body": body(b"hello", more=True),
    "bad body": {"type": "http.response.body", "body": "text"},
    "unknown": {"type": "http.response.what"},
    "trailers": {"type": "http.response.trailers", "headers": []},
    "disconnect": DISCONNECT,
    "of another protocol": {"type": "websocket.send", "text": "x"},
    "without type": {"status": 200},
    "empty": {},
}
BAD_STARTS = {
    "start without status",
    "start with a bad status",
    "start with a bad header",
    "start with bad headers",
}


async def in_state(state: str) -> CycleStage:
    """A cycle that has got so far."""
    stage = CycleStage()
    if state in ("HELD", "STREAMING", "COMPLETE", "DISCONNECTED streaming"):
        await stage.cycle.send(start())
    if state in ("STREAMING", "DISCONNECTED streaming"):
        await stage.cycle.send(body(b"1", more=True))
    if state == "COMPLETE":
        await stage.cycle.send(body())
    if state.startswith("DISCONNECTED"):
        stage.cycle.lost()
    assert stage.state == state.split()[0]
    return stage


def expected(state: str, message: str) -> tuple[str, str]:
    """What `send()` raises, and the state after it."""
    if message in ("without type", "empty"):
        return "AppError", state
    if state == "COMPLETE":
        return "ok", "COMPLETE"
    if state.startswith("DISCONNECTED"):
        return "ClientDisconnected", "DISCONNECTED"
    if state == "AWAITED" and message in ("start", "bare start"):
        return "ok", "HELD"
    if state in ("HELD", "STREAMING"):
        if message in ("body", "bare body"):
            return "ok", "COMPLETE"
        if message == "more body":
            return "ok", "STREAMING"
    return "AppError", state


STATES = ["AWAITED", "HELD", "STREAMING", "COMPLETE", "DISCONNECTED", "DISCONNECTED streaming"]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("state", STATES)
async def test_every_message_in_every_state(state: str, message: str) -> None:
    stage = await in_state(state)
    before = stage.engine.calls.copy()
    error, after = expected(state, message)
    assert await raised(stage.cycle.send(MESSAGES[message])) == error
    assert stage.state == after.split()[0]
    if error != "ok" or after == "HELD" or state == "COMPLETE":
        assert stage.engine.calls == before


async def test_errors_name_state_and_message() -> None:
    stage = await in_state("AWAITED")
    with pytest.raises(AppError, match=r"'http\.response\.body' .* no http\.response\.start yet"):
        await stage.cycle.send(body())


@pytest.mark.parametrize("message", sorted(BAD_STARTS))
async def test_a_bad_start_may_be_mended(message: str) -> None:
    stage = CycleStage()
    assert await raised(stage.cycle.send(MESSAGES[message])) == "AppError"
    await stage.cycle.send(start())
    await stage.cycle.send(body())
    assert stage.engine.responses == [("respond", 200, b"", False)]


async def test_keys_that_are_unknown_are_ignored() -> None:
    stage = CycleStage()
    await stage.cycle.send({**start(), "trailers": False, "x": object()})
    await stage.cycle.send({**body(b"a"), "x": object()})
    assert stage.engine.responses == [("respond", 200, b"a", False)]


# The response


async def test_head_is_held_until_the_body() -> None:
    stage = CycleStage()
    await stage.cycle.send(start(201, (b"x", b"y")))
    assert stage.engine.calls == []
    await stage.cycle.send(body(b"hello"))
    assert stage.engine.calls == [("respond", 201, b"hello", False)]
    assert b"x: y\r\n" in stage.engine.heads[0].block


async def test_stream() -> None:
    stage = CycleStage()
    await stage.cycle.send(start())
    for message in (body(b"", more=True), body(b"a", more=True), body(b"b")):
        await stage.cycle.send(message)
    assert stage.engine.calls == [
        ("respond", 200, b"", True),
        ("respond", None, b"a", True),
        ("respond", None, b"b", False),
    ]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_kinds_of_bytes(kind: Callable[[bytes], object]) -> None:
    stage = CycleStage()
    await stage.cycle.send(start())
    await stage.cycle.send({"type": "http.response.body", "body": kind(b"hello")})
    assert stage.engine.responses == [("respond", 200, b"hello", False)]
    assert type(stage.engine.calls[0][2]) is bytes


@pytest.mark.parametrize("value", ["text", None, 5, [b"x"]])
async def test_body_that_is_none(value: object) -> None:
    stage = CycleStage()
    await stage.cycle.send(start())
    with pytest.raises(AppError, match="the body must be bytes, not "):
        await stage.cycle.send({"type": "http.response.body", "body": value})
    assert stage.engine.calls == []
    await stage.cycle.send(body(b"x"))
    assert stage.engine.responses == [("respond", 200, b"x", False)]


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
async def test_no_body_where_none_may_be(status: int, method: str) -> None:
    stage = CycleStage(method=method)
    await stage.cycle.send(start(status, LENGTH_5))
    await stage.cycle.send(body(b"a lot more than five", more=True))
    await stage.cycle.send(body(b"and more"))
    assert stage.engine.calls == [("respond", status, b"", True), ("respond", None, b"", False)]
    assert stage.log.lines == [(method, b"/path", status, 0)]


async def test_length_is_kept() -> None:
    stage = CycleStage()
    await stage.cycle.send(start(200, LENGTH_5))
    await stage.cycle.send(body(b"he", more=True))
    await stage.cycle.send(body(b"llo", more=True))
    await stage.cycle.send(body())
    assert not stage.broken()
    assert stage.cycle.sent == 5


WRONG_LENGTHS = [(b"hello, ", True, "2 bytes longer"), (b"hel", False, "2 bytes shorter")]


@pytest.mark.parametrize(("data", "more", "error"), WRONG_LENGTHS)
async def test_wrong_length_before_the_head_is_out(data: bytes, more: bool, error: str) -> None:
    stage = CycleStage()
    stage.cycle.deadline = 7.0
    await stage.cycle.send(start(200, LENGTH_5))
    with pytest.raises(AppError, match=f"{error} than its content-length"):
        await stage.cycle.send(body(data, more=more))
    assert stage.engine.calls == []
    assert stage.state == "HELD"
    assert stage.cycle.deadline == 7.0  # the response has not begun


@pytest.mark.parametrize(("data", "more", "error"), WRONG_LENGTHS)
async def test_wrong_length_of_a_stream(data: bytes, more: bool, error: str) -> None:
    stage = CycleStage()
    await stage.cycle.send(start(200, LENGTH_5))
    await stage.cycle.send(body(data[:1], more=True))
    with pytest.raises(AppError, match=f"{error} than its content-length"):
        await stage.cycle.send(body(data[1:], more=more))
    # What would complete it, or go beyond it, is not sent: the client sees that bytes are missing.
    assert stage.engine.calls == [("respond", 200, data[:1], True), ("abort",)]
    assert stage.state == "COMPLETE"
    assert stage.log.lines == [("GET", b"/path", 200, 1)]


async def test_wrong_length_is_a_500_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, LENGTH_5))
        await send(body(b"hello!"))

    stage = CycleStage(app)
    await stage.run()
    assert stage.engine.calls == [("respond", 500, b"Internal Server Error", False)]
    (record,) = caplog.records
    assert "exception in the application" in record.message
    assert "1 bytes longer than its content-length" in str(record.exc_info)


# Backpressure


async def test_send_waits_for_room() -> None:
    stage = CycleStage()
    stage.engine.room = False
    await stage.cycle.send(start())
    sending = asyncio.ensure_future(stage.cycle.send(body(b"a", more=True)))
    await rounds()
    assert stage.engine.responses == [("respond", 200, b"a", True)]  # sent, but not done
    assert not sending.done()
    stage.engine.room = True
    stage.cycle.resume()
    await sending
    await stage.cycle.send(body(b"b", more=True))


async def test_last_send_does_not_wait() -> None:
    stage = CycleStage()
    stage.engine.room = False
    await stage.cycle.send(start())
    await stage.cycle.send(body(b"a"))


async def test_senders_at_once() -> None:
    stage = CycleStage()
    stage.engine.room = False
    await stage.cycle.send(start())
    sending = [asyncio.ensure_future(stage.cycle.send(body(b"a", more=True))) for _ in range(3)]
    await rounds()
    sending[1].cancel()
    await rounds()
    stage.cycle.resume()
    await rounds()
    assert [task.done() for task in sending] == [True, True, True]
    assert [task.cancelled() for task in sending] == [False, True, False]


async def test_sender_that_waits_when_another_ends_the_response() -> None:
    stage = CycleStage()
    stage.engine.room = False
    await stage.cycle.send(start())
    sending = asyncio.ensure_future(stage.cycle.send(body(b"a", more=True)))
    await rounds()
    await stage.cycle.send(body())
    await sending


async def test_sender_that_waits_hears_of_the_disconnect() -> None:
    stage = CycleStage()
    stage.engine.room = False
    await stage.cycle.send(start())
    sending = asyncio.ensure_future(stage.cycle.send(body(b"a", more=True)))
    await rounds()
    stage.cycle.lost()
    with pytest.raises(ClientDisconnected):
        await sending


async def test_resume_without_senders() -> None:
    stage = CycleStage()
    stage.cycle.resume()
    await stage.cycle.send(start())
    stage.cycle.resume()
    assert stage.engine.calls == []


# The request body


def request_body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_receive_without_body() -> None:
    stage = CycleStage()
    assert await stage.cycle.receive() == request_body()
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    assert not receiving.done()
    await stage.cycle.send(start())
    await stage.cycle.send(body(b"", more=True))
    await rounds()
    assert not receiving.done()
    await stage.cycle.send(body())
    assert await receiving == DISCONNECT
    assert await stage.cycle.receive() == DISCONNECT
    assert stage.engine.credit == 0


async def test_receive_body_in_one() -> None:
    stage = CycleStage(size=10)
    stage.cycle.feed(b"hello")
    stage.cycle.feed(b"world")
    stage.cycle.feed_eof()
    assert await stage.cycle.receive() == request_body(b"helloworld")
    assert stage.engine.credit == 10


async def test_receive_body_in_pieces() -> None:
    stage = CycleStage(size=10)
    stage.cycle.feed(b"hello")
    assert await stage.cycle.receive() == request_body(b"hello", more=True)
    assert stage.engine.credit == 5
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    assert not receiving.done()
    stage.cycle.feed(b"wor")
    stage.cycle.feed(b"ld")
    assert await receiving == request_body(b"world", more=True)
    stage.cycle.feed_eof()
    assert await stage.cycle.receive() == request_body()
    assert stage.engine.credit == 10


async def test_end_of_the_body_wakes_the_receiver() -> None:
    stage = CycleStage(size=None)
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.feed_eof()
    assert await receiving == request_body()


async def test_receivers_at_once() -> None:
    """Every piece goes to one of them, and nobody sleeps through the end."""
    stage = CycleStage(size=10)
    receiving = [asyncio.ensure_future(stage.cycle.receive()) for _ in range(3)]
    await rounds()
    stage.cycle.feed(b"hello")
    await rounds()
    assert [task.done() for task in receiving] == [True, False, False]
    stage.cycle.feed(b"world")
    stage.cycle.feed_eof()
    await rounds()
    assert [task.done() for task in receiving] == [True, True, False]
    stage.cycle.lost()
    assert [await task for task in receiving] == [
        request_body(b"hello", more=True),
        request_body(b"world"),
        DISCONNECT,
    ]


async def test_cancelled_receiver_takes_nothing() -> None:
    stage = CycleStage(size=10)
    receiving = [asyncio.ensure_future(stage.cycle.receive()) for _ in range(2)]
    await rounds()
    receiving[0].cancel()
    await rounds()
    stage.cycle.feed(b"hello")
    assert await receiving[1] == request_body(b"hello", more=True)
    assert receiving[0].cancelled()


async def test_receiver_that_is_woken_when_cancelled() -> None:
    stage = CycleStage(size=10)
    receiving = [asyncio.ensure_future(stage.cycle.receive()) for _ in range(2)]
    await rounds()
    receiving[0].cancel()
    stage.cycle.feed(b"hello")
    await rounds()
    assert receiving[0].cancelled()
    assert await receiving[1] == request_body(b"hello", more=True)


async def test_receiver_that_is_cancelled_when_woken() -> None:
    stage = CycleStage(size=10)
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.feed(b"hello")
    receiving.cancel()
    await rounds()
    assert receiving.cancelled()
    assert await stage.cycle.receive() == request_body(b"hello", more=True)


async def test_asking_in_vain_leaves_nothing_behind() -> None:
    """A framework may look for a disconnect before each piece of an endless stream."""
    stage = CycleStage()
    await stage.cycle.receive()
    for _ in range(2):
        before = len(gc.get_objects())
        for _ in range(1000):
            receiving = asyncio.ensure_future(stage.cycle.receive())
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])
        del receiving
        after = len(gc.get_objects())
    assert after - before < 500


async def test_unread_body_is_credited_at_the_end() -> None:
    stage = CycleStage(size=20)
    stage.cycle.feed(b"hello")
    stage.cycle.feed(b"world")
    await stage.cycle.send(start())
    await stage.cycle.send(body())
    assert stage.engine.credit == 10
    stage.cycle.feed(b"later")
    assert stage.engine.credit == 15
    assert await stage.cycle.receive() == DISCONNECT


async def test_credit_comes_before_the_response() -> None:
    """Else the engine would still count the bytes when it looks at what is left to read."""
    stage = CycleStage(size=20)
    stage.cycle.feed(b"hello")
    await stage.cycle.send(start())
    await stage.cycle.send(body())
    assert stage.engine.calls == [("consumed", 5), ("respond", 200, b"", False)]


async def test_continue_is_asked_for_by_receive() -> None:
    stage = CycleStage(size=5, expects_continue=True)
    await rounds()
    assert stage.engine.calls == []
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    assert stage.engine.calls == [("inform", 100)]
    stage.cycle.feed(b"hello")
    stage.cycle.feed_eof()
    assert await receiving == request_body(b"hello")


async def test_no_continue_for_a_body_that_is_here() -> None:
    stage = CycleStage(size=5, expects_continue=True)
    stage.cycle.feed(b"hello")
    stage.cycle.feed_eof()
    assert await stage.cycle.receive() == request_body(b"hello")
    assert ("inform", 100) not in stage.engine.calls


@pytest.mark.parametrize("size", [0, 5])
async def test_no_continue_without_body_or_expectation(size: int) -> None:
    stage = CycleStage(size=size, expects_continue=size == 0)
    if size == 0:
        assert await stage.cycle.receive() == request_body()
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    assert stage.engine.calls == []
    receiving.cancel()
    await rounds()


# The client leaves


async def test_truncated_body_never_looks_complete() -> None:
    stage = CycleStage(size=100)
    stage.cycle.feed(b"x" * 50)
    assert await stage.cycle.receive() == request_body(b"x" * 50, more=True)
    stage.cycle.feed(b"y" * 10)
    stage.cycle.lost()
    assert await stage.cycle.receive() == DISCONNECT
    assert await stage.cycle.receive() == DISCONNECT


async def test_receiver_that_waits_hears_of_the_disconnect() -> None:
    stage = CycleStage(size=100)
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.lost()
    assert await receiving == DISCONNECT


async def test_listener_hears_of_the_disconnect_before_the_sender() -> None:
    order = []
    stage = CycleStage()
    await stage.cycle.send(start())
    await stage.cycle.receive()

    async def listen() -> None:
        await stage.cycle.receive()
        order.append("listener")

    listening = asyncio.ensure_future(listen())
    await rounds()
    stage.cycle.lost()
    with pytest.raises(ClientDisconnected):
        await stage.cycle.send(body(b"", more=True))
    order.append("sender")
    await listening
    assert order == ["listener", "sender"]


async def test_lost_twice() -> None:
    stage = await in_state("STREAMING")
    stage.cycle.lost()
    stage.cycle.lost()
    assert stage.log.lines == [("GET", b"/path", 200, 1)]


async def test_lost_twice_moves_no_deadline() -> None:
    stage = await in_state("DISCONNECTED")
    deadline = stage.cycle.deadline
    stage.clock.run(5)
    stage.cycle.lost()
    assert stage.cycle.deadline == deadline


async def test_body_for_nobody_is_credited() -> None:
    stage = await in_state("DISCONNECTED")
    stage.cycle.feed(b"hello")
    assert stage.engine.credit == 5
    assert await stage.cycle.receive() == DISCONNECT


async def test_lost_behind_the_end() -> None:
    stage = await in_state("COMPLETE")
    stage.cycle.lost()
    assert stage.state == "COMPLETE"
    assert len(stage.log.lines) == 1


async def test_hung_up_is_told_behind_the_body() -> None:
    stage = CycleStage(size=5)
    stage.cycle.feed(b"hello")
    stage.cycle.feed_eof()
    stage.cycle.hung_up()
    assert await stage.cycle.receive() == request_body(b"hello")
    assert await stage.cycle.receive() == DISCONNECT
    assert await stage.cycle.receive() == DISCONNECT


async def test_hung_up_is_told_behind_a_body_of_nothing() -> None:
    stage = CycleStage()
    stage.cycle.hung_up()
    assert await stage.cycle.receive() == request_body()
    assert await stage.cycle.receive() == DISCONNECT


async def test_hung_up_then_gone_then_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """The application gives up when there is no connection any more: nothing is left to do."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert await receive() == {"type": "http.disconnect"}
        stage.cycle.lost()
        raise asyncio.CancelledError

    stage = CycleStage(app)
    stage.cycle.hung_up()
    await stage.run()
    assert stage.engine.calls == []
    assert caplog.records == []


async def test_hung_up_wakes_the_listener_and_can_be_answered() -> None:
    stage = CycleStage()
    await stage.cycle.receive()
    listening = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.hung_up()
    assert await listening == DISCONNECT
    await stage.cycle.send(start())
    await stage.cycle.send(body(b"still"))
    assert stage.engine.responses == [("respond", 200, b"still", False)]


@pytest.mark.parametrize("error", [None, asyncio.CancelledError()])
async def test_application_that_gives_up_behind_a_hang_up(
    error: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    """As Django does: it cancels the view, and lets that out."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if error is not None:
            raise error

    stage = CycleStage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.hung_up()
    await stage.end()
    assert stage.engine.responses == [("abort",)]
    assert stage.state == "DISCONNECTED"
    assert caplog.records == []
