"""The HTTP cycle between a fake engine and scripted applications."""

import asyncio
import contextvars
import gc
import logging
import re
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, ClassVar

import pytest

from aserver import http_cycle
from aserver.context import Context
from aserver.http_cycle import HttpCycle
from aserver.types import AppError, ClientDisconnected, Message, Receive, Request, Scope, Send
from tests.fakes import FakeClock, FakeEngine, FakeLog, body, new_context, nothing, rounds, start

pytestmark = pytest.mark.asyncio

LENGTH_5 = (b"content-length", b"5")
DISCONNECT = {"type": "http.disconnect"}
PLAIN_500 = [("respond", 500, b"Internal Server Error", False)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_cycle, "_TELL_SECONDS", 0)


class Stage:
    """A cycle with all that is around it."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]] = nothing,
        *,
        method: str = "GET",
        size: int | None = 0,
        expects_continue: bool = False,
        context: Context | None = None,
        **options: Any,
    ) -> None:
        self.context = context or new_context(app, **options)
        self.clock = FakeClock(self.context)
        self.log = FakeLog()
        self.context.access_log = self.log  # type: ignore[assignment]
        self.engine = FakeEngine()
        request = Request(method, b"/path", "1.1", [], size, True, expects_continue)
        scope: Scope = {"type": "http", "path": "/path"}
        self.cycle = HttpCycle(self.context, self.engine, request, scope, ("192.0.2.2", 50000))

    async def run(self) -> None:
        """Until the application has ended."""
        self.cycle.start()
        await self.end()

    async def end(self) -> None:
        """Wait until the application has ended."""
        for _ in range(50):
            if not self.context.cycles:
                return
            await asyncio.sleep(0)
        raise AssertionError("the application does not end")

    @property
    def state(self) -> str:
        """How far the response is."""
        match = re.search(r"sending=(\w+)", repr(self.cycle))
        assert match is not None
        return match[1]

    def broken(self) -> bool:
        return ("abort",) in self.engine.calls


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


async def in_state(state: str) -> Stage:
    """A cycle that has got so far."""
    stage = Stage()
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
    stage = Stage()
    assert await raised(stage.cycle.send(MESSAGES[message])) == "AppError"
    await stage.cycle.send(start())
    await stage.cycle.send(body())
    assert stage.engine.responses == [("respond", 200, b"", False)]


async def test_keys_that_are_unknown_are_ignored() -> None:
    stage = Stage()
    await stage.cycle.send({**start(), "trailers": False, "x": object()})
    await stage.cycle.send({**body(b"a"), "x": object()})
    assert stage.engine.responses == [("respond", 200, b"a", False)]


# The response


async def test_head_is_held_until_the_body() -> None:
    stage = Stage()
    await stage.cycle.send(start(201, (b"x", b"y")))
    assert stage.engine.calls == []
    await stage.cycle.send(body(b"hello"))
    assert stage.engine.calls == [("respond", 201, b"hello", False)]
    assert b"x: y\r\n" in stage.engine.heads[0].block


async def test_stream() -> None:
    stage = Stage()
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
    stage = Stage()
    await stage.cycle.send(start())
    await stage.cycle.send({"type": "http.response.body", "body": kind(b"hello")})
    assert stage.engine.responses == [("respond", 200, b"hello", False)]
    assert type(stage.engine.calls[0][2]) is bytes


@pytest.mark.parametrize("value", ["text", None, 5, [b"x"]])
async def test_body_that_is_none(value: object) -> None:
    stage = Stage()
    await stage.cycle.send(start())
    with pytest.raises(AppError, match="the body must be bytes, not "):
        await stage.cycle.send({"type": "http.response.body", "body": value})
    assert stage.engine.calls == []
    await stage.cycle.send(body(b"x"))
    assert stage.engine.responses == [("respond", 200, b"x", False)]


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
async def test_no_body_where_none_may_be(status: int, method: str) -> None:
    stage = Stage(method=method)
    await stage.cycle.send(start(status, LENGTH_5))
    await stage.cycle.send(body(b"a lot more than five", more=True))
    await stage.cycle.send(body(b"and more"))
    assert stage.engine.calls == [("respond", status, b"", True), ("respond", None, b"", False)]
    assert stage.log.lines == [(method, b"/path", status, 0)]


async def test_length_is_kept() -> None:
    stage = Stage()
    await stage.cycle.send(start(200, LENGTH_5))
    await stage.cycle.send(body(b"he", more=True))
    await stage.cycle.send(body(b"llo", more=True))
    await stage.cycle.send(body())
    assert not stage.broken()
    assert stage.cycle.sent == 5


@pytest.mark.parametrize("first", [True, False])
async def test_body_longer_than_its_length(first: bool) -> None:
    stage = Stage()
    await stage.cycle.send(start(200, LENGTH_5))
    if not first:
        await stage.cycle.send(body(b"he", more=True))
    with pytest.raises(AppError, match="2 bytes longer than its content-length"):
        await stage.cycle.send(body(b"hello, " if first else b"llo, ", more=True))
    sent = b"".join(call[2] for call in stage.engine.calls if call[0] == "respond")
    assert sent == b"hello"
    assert stage.engine.calls[-1] == ("abort",)
    assert all(call[3] for call in stage.engine.calls[:-1])  # no end was sent
    assert stage.state == "COMPLETE"
    assert stage.log.lines == [("GET", b"/path", 200, 5)]


@pytest.mark.parametrize("first", [True, False])
async def test_body_shorter_than_its_length(first: bool) -> None:
    stage = Stage()
    await stage.cycle.send(start(200, LENGTH_5))
    if not first:
        await stage.cycle.send(body(b"", more=True))
    with pytest.raises(AppError, match="2 bytes shorter than its content-length"):
        await stage.cycle.send(body(b"hel"))
    assert stage.engine.calls[-2:] == [
        ("respond", 200 if first else None, b"hel", True),
        ("abort",),
    ]


async def test_wrong_length_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, LENGTH_5))
        await send(body(b"hello!"))

    stage = Stage(app)
    await stage.run()
    assert stage.engine.calls == [("respond", 200, b"hello", True), ("abort",)]
    (record,) = caplog.records
    assert "Exception in the application" in record.message
    assert "1 bytes longer than its content-length" in str(record.exc_info)


# Backpressure


async def test_send_waits_for_room() -> None:
    stage = Stage()
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
    stage = Stage()
    stage.engine.room = False
    await stage.cycle.send(start())
    await stage.cycle.send(body(b"a"))


async def test_senders_at_once() -> None:
    stage = Stage()
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


async def test_sender_that_waits_hears_of_the_disconnect() -> None:
    stage = Stage()
    stage.engine.room = False
    await stage.cycle.send(start())
    sending = asyncio.ensure_future(stage.cycle.send(body(b"a", more=True)))
    await rounds()
    stage.cycle.lost()
    with pytest.raises(ClientDisconnected):
        await sending


async def test_resume_without_senders() -> None:
    stage = Stage()
    stage.cycle.resume()
    await stage.cycle.send(start())
    stage.cycle.resume()
    assert stage.engine.calls == []


# The request body


def request_body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_receive_without_body() -> None:
    stage = Stage()
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
    stage = Stage(size=10)
    stage.cycle.feed(b"hello")
    stage.cycle.feed(b"world")
    stage.cycle.feed_eof()
    assert await stage.cycle.receive() == request_body(b"helloworld")
    assert stage.engine.credit == 10


async def test_receive_body_in_pieces() -> None:
    stage = Stage(size=10)
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
    stage = Stage(size=None)
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.feed_eof()
    assert await receiving == request_body()


async def test_receivers_at_once() -> None:
    """Every piece goes to one of them, and nobody sleeps through the end."""
    stage = Stage(size=10)
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
    stage = Stage(size=10)
    receiving = [asyncio.ensure_future(stage.cycle.receive()) for _ in range(2)]
    await rounds()
    receiving[0].cancel()
    await rounds()
    stage.cycle.feed(b"hello")
    assert await receiving[1] == request_body(b"hello", more=True)
    assert receiving[0].cancelled()


async def test_receiver_that_is_cancelled_when_woken() -> None:
    stage = Stage(size=10)
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.feed(b"hello")
    receiving.cancel()
    await rounds()
    assert receiving.cancelled()
    assert await stage.cycle.receive() == request_body(b"hello", more=True)


async def test_asking_in_vain_leaves_nothing_behind() -> None:
    """A framework may look for a disconnect before each piece of an endless stream."""
    stage = Stage()
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
    stage = Stage(size=20)
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
    stage = Stage(size=20)
    stage.cycle.feed(b"hello")
    await stage.cycle.send(start())
    await stage.cycle.send(body())
    assert stage.engine.calls == [("consumed", 5), ("respond", 200, b"", False)]


async def test_continue_is_asked_for_by_receive() -> None:
    stage = Stage(size=5, expects_continue=True)
    await rounds()
    assert stage.engine.calls == []
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    assert stage.engine.calls == [("inform", 100)]
    stage.cycle.feed(b"hello")
    stage.cycle.feed_eof()
    assert await receiving == request_body(b"hello")


async def test_no_continue_for_a_body_that_is_here() -> None:
    stage = Stage(size=5, expects_continue=True)
    stage.cycle.feed(b"hello")
    stage.cycle.feed_eof()
    assert await stage.cycle.receive() == request_body(b"hello")
    assert ("inform", 100) not in stage.engine.calls


@pytest.mark.parametrize("size", [0, 5])
async def test_no_continue_without_body_or_expectation(size: int) -> None:
    stage = Stage(size=size, expects_continue=size == 0)
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    assert stage.engine.calls == []
    receiving.cancel()
    await rounds()


# The client leaves


async def test_truncated_body_never_looks_complete() -> None:
    stage = Stage(size=100)
    stage.cycle.feed(b"x" * 50)
    assert await stage.cycle.receive() == request_body(b"x" * 50, more=True)
    stage.cycle.feed(b"y" * 10)
    stage.cycle.lost()
    assert await stage.cycle.receive() == DISCONNECT
    assert await stage.cycle.receive() == DISCONNECT


async def test_receiver_that_waits_hears_of_the_disconnect() -> None:
    stage = Stage(size=100)
    receiving = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.lost()
    assert await receiving == DISCONNECT


async def test_listener_hears_of_the_disconnect_before_the_sender() -> None:
    order = []
    stage = Stage()
    await stage.cycle.send(start())
    await stage.cycle.receive()

    async def listen() -> None:
        await stage.cycle.receive()
        order.append("listener")

    async def send() -> None:
        with pytest.raises(ClientDisconnected):
            await stage.cycle.send(body(b"", more=True))
        order.append("sender")

    listening = asyncio.ensure_future(listen())
    await rounds()
    stage.cycle.lost()
    await asyncio.gather(send(), listening)
    assert order == ["listener", "sender"]


async def test_lost_twice() -> None:
    stage = await in_state("STREAMING")
    stage.cycle.lost()
    stage.cycle.lost()
    assert stage.log.lines == [("GET", b"/path", 200, 1)]


async def test_lost_behind_the_end() -> None:
    stage = await in_state("COMPLETE")
    stage.cycle.lost()
    assert stage.state == "COMPLETE"
    assert len(stage.log.lines) == 1


async def test_hung_up_is_told_behind_the_body() -> None:
    stage = Stage(size=5)
    stage.cycle.feed(b"hello")
    stage.cycle.feed_eof()
    stage.cycle.hung_up()
    assert await stage.cycle.receive() == request_body(b"hello")
    assert await stage.cycle.receive() == DISCONNECT
    assert await stage.cycle.receive() == DISCONNECT


async def test_hung_up_wakes_the_listener_and_can_be_answered() -> None:
    stage = Stage()
    await stage.cycle.receive()
    listening = asyncio.ensure_future(stage.cycle.receive())
    await rounds()
    stage.cycle.hung_up()
    assert await listening == DISCONNECT
    await stage.cycle.send(start())
    await stage.cycle.send(body(b"still"))
    assert stage.engine.responses == [("respond", 200, b"still", False)]


# The application's end


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(200, LENGTH_5))
    await send(body(b"hello"))


async def test_run(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(hello)
    await stage.run()
    assert stage.engine.calls == [("respond", 200, b"hello", False)]
    assert stage.log.lines == [("GET", b"/path", 200, 5)]
    assert caplog.records == []


async def test_application_gets_the_scope_itself() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await hello(scope, receive, send)

    stage = Stage(app)
    await stage.run()
    assert seen[0] is stage.cycle.scope


async def test_work_behind_the_response() -> None:
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await done.wait()

    stage = Stage(app, http_timeout=1, application_close_timeout=1)
    stage.cycle.start()
    await rounds()
    stage.cycle.lost()
    stage.clock.run(10)
    await rounds()
    assert stage.context.cycles == {stage.cycle}
    done.set()
    await stage.end()


class Oops(Exception):
    """What an application raises."""


FAILURES: dict[str, BaseException] = {
    "an exception": Oops("oops"),
    "SystemExit": SystemExit(3),
    "CancelledError": asyncio.CancelledError(),
    "a group": BaseExceptionGroup("all", [Oops("oops"), SystemExit(3)]),
    "a timeout": TimeoutError(),
    "OSError": OSError("disk"),
    "ClientDisconnected of its own": ClientDisconnected("no"),
}


def failing(error: BaseException, *messages: Message) -> Callable[..., Awaitable[None]]:
    """An application that sends this, then raises."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise error

    return app


@pytest.mark.parametrize("before", [(), (start(201, LENGTH_5),)], ids=["nothing", "start"])
@pytest.mark.parametrize("failure", FAILURES)
async def test_failure_before_the_head(
    failure: str, before: tuple[Message, ...], caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(failing(FAILURES[failure], *before))
    await stage.run()
    assert stage.engine.responses == PLAIN_500
    assert stage.engine.heads[0].block == (
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n"
    )
    assert stage.engine.heads[0].flags  # close
    assert stage.log.lines == [("GET", b"/path", 500, 21)]
    (record,) = caplog.records
    assert record.name == "aserver.app"
    assert record.levelno == logging.ERROR
    assert record.message.startswith("Exception in the application: <HttpCycle GET b'/path'")
    assert record.exc_info
    assert record.exc_info[1] is FAILURES[failure]


@pytest.mark.parametrize("failure", FAILURES)
async def test_failure_behind_the_head(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(failing(FAILURES[failure], start(), body(b"abc", more=True)))
    await stage.run()
    assert stage.engine.responses == [("respond", 200, b"abc", True), ("abort",)]
    assert stage.log.lines == [("GET", b"/path", 200, 3)]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("failure", FAILURES)
async def test_failure_behind_the_response(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(failing(FAILURES[failure], start(), body(b"abc")))
    await stage.run()
    assert stage.engine.responses == [("respond", 200, b"abc", False)]
    assert len(caplog.records) == 1


async def test_keyboard_interrupt_is_not_the_applications() -> None:
    stage = Stage(failing(KeyboardInterrupt()))
    running = stage.cycle._run()
    with pytest.raises(KeyboardInterrupt):
        running.send(None)
    assert stage.engine.calls == []


async def test_loop_that_is_closed_under_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    stage = Stage(app)
    running = stage.cycle._run()
    running.send(None)
    running.close()
    assert stage.engine.calls == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("before", "calls"),
    [
        ([], PLAIN_500),
        ([start()], PLAIN_500),
        ([start(), body(b"a", more=True)], [("respond", 200, b"a", True), ("abort",)]),
        ([start(200, LENGTH_5), body(b"hello", more=True)],
         [("respond", 200, b"hello", True), ("abort",)]),
    ],
)  # fmt: skip
async def test_return_without_a_response(
    before: list[Message], calls: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in before:
            await send(message)

    stage = Stage(app)
    await stage.run()
    assert stage.engine.responses == calls
    (record,) = caplog.records
    assert record.message.startswith("The application returned without completing its response")


async def test_head_request_that_fails() -> None:
    stage = Stage(failing(Oops()), method="HEAD")
    await stage.run()
    assert stage.engine.responses == [("respond", 500, b"", False)]


@pytest.mark.parametrize(
    "bad",
    [
        (b"x\r\ny", b"z"),
        (b"x", b"y\r\nz: 1"),
        (b"x", b"y\nz: 1"),
        (b"x", b"y\x00"),
        (b"x y", b"z"),
        (b"content-length", b"5\r\nx: y"),
        (b"connection", b"close\r\nx: y"),
    ],
)
async def test_header_injection(bad: tuple[bytes, bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/plain"), bad))
        await send(body(b"never"))

    stage = Stage(app)
    await stage.run()
    assert stage.engine.responses == PLAIN_500


# Failures because the client left are nobody's fault


def wrapped_in_a_group(error: BaseException) -> BaseException:
    return BaseExceptionGroup("x", [error, BaseExceptionGroup("y", [error])])


def as_the_cause(error: BaseException) -> BaseException:
    other = Oops("stream ended")
    other.__cause__ = error
    return other


def as_the_context(error: BaseException) -> BaseException:
    other, another = Oops("stream ended"), Oops("and again")
    other.__context__ = error
    another.__context__ = other
    return another


def a_group_as_the_context(error: BaseException) -> BaseException:
    return as_the_context(wrapped_in_a_group(error))


def beside_another(error: BaseException) -> BaseException:
    return BaseExceptionGroup("x", [error, Oops()])


def caused_by_itself(error: BaseException) -> BaseException:
    other = Oops()
    other.__cause__ = other
    return other


def caused_in_a_circle(error: BaseException) -> BaseException:
    first, second = Oops(), Oops()
    first.__cause__, second.__cause__ = second, first
    return first


def other_error(error: BaseException) -> BaseException:
    return Oops()


def after_disconnect(
    change: Callable[[BaseException], BaseException],
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An application that sees its client leave, and makes something of it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        await send(body(b"a", more=True))
        await receive()
        try:
            await send(body(b"b", more=True))
        except ClientDisconnected as error:
            failure = change(error)
        raise failure

    return app


async def leave(stage: Stage) -> None:
    stage.cycle.start()
    await rounds()
    stage.cycle.lost()
    await stage.end()


@pytest.mark.parametrize(
    "change",
    [lambda e: e, wrapped_in_a_group, as_the_cause, as_the_context, a_group_as_the_context],
)
async def test_disconnect_is_not_logged(
    change: Callable[[BaseException], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(after_disconnect(change))
    await leave(stage)
    assert caplog.records == []
    assert stage.engine.responses == [("respond", 200, b"a", True)]
    assert stage.log.lines == [("GET", b"/path", 200, 1)]


@pytest.mark.parametrize(
    "change", [beside_another, caused_by_itself, caused_in_a_circle, other_error]
)
async def test_other_failures_behind_a_disconnect_are_logged(
    change: Callable[[BaseException], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(after_disconnect(change))
    await leave(stage)
    assert len(caplog.records) == 1
    assert stage.engine.responses == [("respond", 200, b"a", True)]


async def test_return_behind_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    stage = Stage(app)
    await leave(stage)
    assert caplog.records == []
    assert stage.engine.calls == []
    assert stage.log.lines == []


async def test_disconnect_does_not_cancel() -> None:
    steps = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
            await receive()
            steps.append("told")
            await asyncio.sleep(0)
            await send(start())
        finally:
            await asyncio.sleep(0)
            steps.append("released")

    await leave(Stage(app))
    assert steps == ["told", "released"]


# Deadlines


async def forever(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def test_no_deadline_by_default() -> None:
    stage = Stage(forever)
    stage.cycle.start()
    await rounds()
    assert stage.clock.run(3600) == 0
    stage.cycle.cancel()
    await stage.end()


@pytest.mark.parametrize("before", [[], [start()]])
async def test_application_that_does_not_respond_in_time(
    before: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    cancelled = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in before:
            await send(message)
        try:
            await forever(scope, receive, send)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    stage = Stage(app, http_timeout=5, application_close_timeout=3)
    stage.cycle.start()
    await rounds()
    assert stage.clock.run(4) == 0
    assert stage.clock.tick() == 1
    assert stage.engine.responses == [("respond", 503, b"Service Unavailable", False)]
    assert stage.engine.heads[0].flags  # close
    await rounds()
    assert stage.clock.run(2) == 0
    assert not cancelled
    assert stage.clock.tick() == 1
    await stage.end()
    assert cancelled
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "--http-timeout" in caplog.messages[0]
    assert "--application-close-timeout" in caplog.messages[1]
    assert len(stage.engine.responses) == 1


async def test_stream_longer_than_the_timeout() -> None:
    stage = Stage(http_timeout=5)
    stage.context.app = after_disconnect(lambda error: error)
    stage.cycle.start()
    await rounds()
    assert stage.state == "STREAMING"
    assert stage.cycle.deadline == inf
    assert stage.clock.run(3600) == 0
    stage.cycle.lost()
    await stage.end()


@pytest.mark.parametrize("lost", [True, False])
async def test_application_that_goes_on_without_its_client(
    lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(forever, http_timeout=1000, application_close_timeout=10)
    stage.cycle.start()
    await rounds()
    stage.clock.run(100)
    if lost:
        stage.cycle.lost()
    else:
        stage.cycle.hung_up()
    assert stage.clock.run(9) == 0
    assert stage.clock.tick() == 1
    await stage.end()
    (message,) = caplog.messages
    assert message.startswith("Cancelled the application")
    assert "--application-close-timeout" in message
    assert stage.engine.responses == (
        [] if lost else [("respond", 503, b"Service Unavailable", False)]
    )


async def test_application_may_go_on_for_ever_without_its_client() -> None:
    stage = Stage(forever, application_close_timeout=0)
    stage.cycle.start()
    await rounds()
    stage.cycle.lost()
    assert stage.clock.run(3600) == 0
    stage.cycle.cancel()
    await stage.end()


# Cancelling, as a server does that stops


@pytest.mark.parametrize(
    ("before", "calls"),
    [
        ([], [("respond", 503, b"Service Unavailable", False)]),
        ([start()], [("respond", 503, b"Service Unavailable", False)]),
        ([start(), body(b"a", more=True)], [("respond", 200, b"a", True), ("abort",)]),
        ([start(), body(b"a")], [("respond", 200, b"a", False)]),
    ],
)
async def test_cancel(
    before: list[Message], calls: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in before:
            await send(message)
        await forever(scope, receive, send)

    stage = Stage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.cancel()
    await stage.end()
    assert stage.engine.responses == calls
    assert caplog.records == []


async def test_cancel_before_the_first_step(caplog: pytest.LogCaptureFixture) -> None:
    """The task is cancelled before the application has run at all."""
    stage = Stage(hello)
    stage.cycle.start()
    stage.cycle.cancel()
    await rounds()
    assert stage.context.cycles == set()
    assert stage.engine.responses == [("respond", 503, b"Service Unavailable", False)]


async def test_application_that_ignores_its_cancellation() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await forever(scope, receive, send)
        except asyncio.CancelledError:
            await hello(scope, receive, send)

    stage = Stage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.cancel()
    await stage.end()
    assert stage.engine.responses == [("respond", 200, b"hello", False)]


async def test_settled_when_the_last_call_ends() -> None:
    stage = Stage(forever)
    stage.cycle.start()
    settled = asyncio.ensure_future(stage.context.settled())
    await rounds()
    assert not settled.done()
    stage.cycle.cancel()
    await settled


# Context variables

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_context_variables() -> None:
    """A request sees what the lifespan set, and nothing of another request."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        variable.set("request")
        await hello(scope, receive, send)
        seen.append(variable.get())

    lifespan = contextvars.Context()
    lifespan.run(variable.set, "lifespan")
    context = new_context(app, task_context=lifespan)
    variable.set("test")
    for _ in range(2):
        await Stage(context=context).run()
    assert seen == ["lifespan", "request"] * 2
    assert variable.get() == "test"
    lifespan.run(variable.set, "later")
    await Stage(context=context).run()
    assert seen[4] == "later"


# The rest


async def test_a_factory_for_tasks_is_asked() -> None:
    made = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        stage = Stage(hello)
        await stage.run()
    finally:
        loop.set_task_factory(None)
    assert len(made) == 1
    assert stage.engine.responses == [("respond", 200, b"hello", False)]


class EagerTask:
    """A task that takes its steps when it is made, as Python 3.12 can."""

    made: ClassVar[list["EagerTask"]] = []

    def __init__(self, coro: Any, **options: Any) -> None:
        with pytest.raises(StopIteration):
            coro.send(None)

    def cancelling(self) -> int:
        return 0


@pytest.mark.parametrize("app", [hello, failing(Oops())])
async def test_eager_task(app: Callable[..., Awaitable[None]]) -> None:
    stage = Stage(app)
    stage.context.new_task = EagerTask  # type: ignore[assignment]
    stage.cycle.start()
    assert len(stage.engine.responses) == 1
    assert stage.state == "COMPLETE"


async def test_names() -> None:
    stage = Stage(forever)
    stage.cycle.start()
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    assert task.get_name() == "aserver.http"
    assert repr(stage.cycle) == (
        "<HttpCycle GET b'/path' receiving=RECEIVED sending=AWAITED sent=0>"
    )
    stage.cycle.cancel()
    await stage.end()


async def test_no_access_log() -> None:
    stage = Stage(hello)
    stage.context.access_log = None
    await stage.run()
    other = Stage(after_disconnect(lambda error: error))
    other.context.access_log = None
    await leave(other)
    assert stage.log.lines == other.log.lines == []
