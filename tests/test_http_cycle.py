"""How a call of the application ends, well or badly, and what the client sees of it."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterator
from math import inf
from typing import Any, NoReturn

import pytest

from aserver import http_cycle, http_exchange
from aserver.access_notes import Exchange
from aserver.logs import app_log
from aserver.seams import Head
from aserver.throttle import SHOWN
from aserver.types import ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import EagerTask, FakeLog, body, new_context, rounds, start
from tests.over_http2 import carrier as carrier
from tests.stage import CycleStage

pytestmark = pytest.mark.asyncio

LENGTH_5 = (b"content-length", b"5")
PLAIN_500 = [("respond", 500, b"Internal Server Error", False)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


# The application's end


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(200, LENGTH_5))
    await send(body(b"hello"))


async def test_run(caplog: pytest.LogCaptureFixture) -> None:
    stage = CycleStage(hello)
    await stage.run()
    assert stage.engine.calls == [("respond", 200, b"hello", False)]
    assert stage.log.lines == [("GET", b"/path", 200, 5)]
    assert caplog.records == []


async def test_application_gets_the_scope_itself() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await hello(scope, receive, send)

    stage = CycleStage(app)
    await stage.run()
    assert seen[0] is stage.cycle.scope


async def test_work_behind_the_response() -> None:
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await done.wait()

    stage = CycleStage(app, http_timeout=1, application_close_timeout=1)
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
    "GeneratorExit": GeneratorExit(),
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
    stage = CycleStage(failing(FAILURES[failure], *before))
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
    assert record.message == "GET /path from 192.0.2.2:50000: exception in the application"
    assert record.exc_info
    assert record.exc_info[1] is FAILURES[failure]


@pytest.mark.parametrize("failure", FAILURES)
async def test_failure_behind_the_head(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    stage = CycleStage(failing(FAILURES[failure], start(), body(b"abc", more=True)))
    await stage.run()
    assert stage.engine.responses == [("respond", 200, b"abc", True), ("abort",)]
    assert stage.log.lines == [("GET", b"/path", 200, 3)]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("failure", FAILURES)
async def test_failure_behind_the_response(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    stage = CycleStage(failing(FAILURES[failure], start(), body(b"abc")))
    await stage.run()
    assert stage.engine.responses == [("respond", 200, b"abc", False)]
    assert len(caplog.records) == 1


async def test_keyboard_interrupt_is_not_the_applications() -> None:
    stage = CycleStage(failing(KeyboardInterrupt()))
    running = stage.cycle._run()
    with pytest.raises(KeyboardInterrupt):
        running.send(None)
    # Whoever goes on with the loop has no connection in it that waits for ever.
    assert stage.engine.calls == [("abort",)]
    assert stage.state == "DISCONNECTED"


async def test_keyboard_interrupt_where_signals_have_handlers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Then it is the application's own, a failure like any other."""
    error = KeyboardInterrupt()
    stage = CycleStage(failing(error))
    stage.context.has_signals = True
    await stage.run()
    assert stage.engine.responses == PLAIN_500
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is error


async def test_loop_that_is_closed_under_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    stage = CycleStage(app)
    stage.context.loop = asyncio.new_event_loop()
    running = stage.cycle._run()
    running.send(None)
    stage.context.loop.close()
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

    stage = CycleStage(app)
    await stage.run()
    assert stage.engine.responses == calls
    (record,) = caplog.records
    assert record.message.startswith(
        "GET /path from 192.0.2.2:50000: the application returned without completing its response ("
    )


async def test_head_request_that_fails() -> None:
    stage = CycleStage(failing(Oops()), method="HEAD")
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

    stage = CycleStage(app)
    await stage.run()
    assert stage.engine.responses == PLAIN_500


# No failure of ours leaves a client waiting


class Broken(Exception):
    """What a part of the server raises."""


def broken(*arguments: object, **options: object) -> NoReturn:
    raise Broken


@pytest.fixture
def broken_logging() -> Iterator[None]:
    app_log.addFilter(broken)
    yield
    app_log.removeFilter(broken)


async def run_to_failure(stage: CycleStage) -> BaseException | None:
    await stage.run()
    await rounds(2)
    assert stage.cycle._task is not None
    return stage.cycle._task.exception()


@pytest.mark.usefixtures("broken_logging")
@pytest.mark.parametrize("before", [[], [start()], [start(), body(b"a", more=True)]])
@pytest.mark.parametrize("error", [None, Oops()])
async def test_logging_that_fails(error: BaseException | None, before: list[Message]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in before:
            await send(message)
        if error is not None:
            raise error

    stage = CycleStage(app)
    assert isinstance(await run_to_failure(stage), Broken)
    assert stage.state == "COMPLETE"
    assert stage.broken() if len(before) > 1 else stage.engine.responses == PLAIN_500


@pytest.mark.usefixtures("broken_logging")
async def test_logging_that_fails_at_a_deadline() -> None:
    stage = CycleStage(forever, http_timeout=5, application_close_timeout=3)
    stage.cycle.start()
    await rounds()
    stage.clock.run(5)
    assert stage.engine.responses == [("respond", 503, b"Service Unavailable", False)]
    stage.clock.run(100)  # the sweep has put it off
    await stage.end()


@pytest.mark.parametrize("app", [failing(Oops()), failing(Oops(), start())])
async def test_engine_that_fails(
    app: Callable[..., Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = CycleStage(app)
    monkeypatch.setattr(http_cycle, "response_head", broken)
    assert isinstance(await run_to_failure(stage), Broken)
    assert stage.broken()
    assert stage.state == "DISCONNECTED"


class BrokenLog(FakeLog):
    """An access log that raises."""

    def record(self, exchange: Exchange, head: Head | None) -> None:
        super().record(exchange, head)
        raise Broken


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ([start(200, LENGTH_5), body(b"hello")], ("respond", 200, b"hello", False)),
        ([start(), body(b"a", more=True)], ("abort",)),
        (
            [
                {**start(), "trailers": True},
                body(),
                {"type": "http.response.trailers", "headers": [(b"a", b"b")]},
            ],
            ("trailers", [(b"a", b"b")]),
        ),
    ],
)
async def test_access_log_that_fails(messages: list[Message], last: tuple[object, ...]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    stage = CycleStage(app, accepts_trailers=True, log=BrokenLog())
    await stage.run()
    assert stage.engine.responses[-1] == last
    assert stage.state == "COMPLETE"


async def test_access_log_that_fails_when_the_client_leaves() -> None:
    stage = CycleStage(after_disconnect(lambda error: error), log=BrokenLog())
    stage.cycle.start()
    await rounds()
    with pytest.raises(Broken):
        stage.cycle.lost()
    await stage.end()
    assert stage.state == "DISCONNECTED"


async def test_next_request_that_begins_with_the_last_bytes() -> None:
    """The log has the lines of both."""
    first = CycleStage(hello)
    second = CycleStage(context=first.context, log=first.log)
    respond = first.engine.respond

    def and_begin(*arguments: Any) -> bool:
        room = respond(*arguments)
        second.cycle.start()
        return room

    first.engine.respond = and_begin  # type: ignore[method-assign, assignment]
    await first.run()
    assert second.engine.responses == [("respond", 200, b"hello", False)]
    assert first.log.lines == [("GET", b"/path", 200, 5)] * 2


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


async def leave(stage: CycleStage) -> None:
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
    stage = CycleStage(after_disconnect(change))
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
    stage = CycleStage(after_disconnect(change))
    await leave(stage)
    assert len(caplog.records) == 1
    assert stage.engine.responses == [("respond", 200, b"a", True)]


async def test_clients_that_leave_cannot_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """However the application takes it."""
    context = new_context(after_disconnect(lambda error: ValueError("two\nlines")))
    for _ in range(20):
        await leave(CycleStage(context=context))
    assert len(caplog.records) == SHOWN
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].exc_info is None
    assert caplog.messages[0] == (
        "GET /path from 192.0.2.2:50000: exception in the application after its client had left: "
        "ValueError: two lines"
    )


async def test_traceback_behind_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aserver.app")
    await leave(CycleStage(after_disconnect(other_error)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.DEBUG]
    assert caplog.records[1].exc_info


async def test_return_behind_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    stage = CycleStage(app)
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

    await leave(CycleStage(app))
    assert steps == ["told", "released"]


# A client that hung up may be gone, or not


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_application_that_fails_behind_a_hang_up(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive)
        raise Oops

    stage = CycleStage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.hung_up()
    await stage.end()
    assert stage.engine.responses == PLAIN_500
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [None, asyncio.CancelledError()])
async def test_client_that_hung_up_and_is_gone(error: BaseException | None) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive)
        if error is not None:
            raise error

    stage = CycleStage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.hung_up()
    stage.cycle.lost()
    await stage.end()
    assert stage.engine.calls == []


async def test_client_that_hung_up_and_was_answered() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive)
        await hello(scope, receive, send)
        raise asyncio.CancelledError

    stage = CycleStage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.hung_up()
    await stage.end()
    assert stage.engine.calls == [("respond", 200, b"hello", False)]


# Deadlines


async def forever(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def test_no_deadline_by_default() -> None:
    stage = CycleStage(forever)
    stage.cycle.start()
    await rounds()
    assert stage.clock.run(3600) == 0
    stage.cycle.cancel()
    await stage.end()


async def test_application_that_does_not_respond_in_time(caplog: pytest.LogCaptureFixture) -> None:
    cancelled = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await forever(scope, receive, send)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    stage = CycleStage(app, http_timeout=5, application_close_timeout=3)
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
    assert caplog.messages[1].endswith(
        "cancelled the application, which went on for too long behind the 503 in its place "
        "(--application-close-timeout)"
    )
    assert len(stage.engine.responses) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_body_that_does_not_begin_in_time(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The response has begun, as the client can see now; its body may take its time."""
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, LENGTH_5))
        await go_on.wait()
        await send(body(b"hello"))

    stage = CycleStage(app, method=method, http_timeout=5)
    stage.cycle.start()
    await rounds()
    stage.clock.run(4)
    assert stage.engine.responses == []
    stage.clock.tick()
    assert stage.engine.responses == [("respond", 200, b"", True)]
    assert stage.clock.run(3600) == 0
    go_on.set()
    await stage.end()
    rest = b"hello" if method == "GET" else b""
    assert stage.engine.responses[1:] == [("respond", None, rest, False)]
    assert caplog.records == []


async def test_stream_longer_than_the_timeout() -> None:
    stage = CycleStage(http_timeout=5)
    stage.context.app = after_disconnect(lambda error: error)
    stage.cycle.start()
    await rounds()
    assert stage.state == "STREAMING"
    assert stage.cycle.deadline == inf
    assert stage.clock.run(3600) == 0
    stage.cycle.lost()
    await stage.end()


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("lost", [True, False])
async def test_application_that_goes_on_without_its_client(
    lost: bool, asked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stage = CycleStage(forever, http_timeout=1000, application_close_timeout=10)
    stage.cycle.start()
    await rounds()
    stage.clock.run(100)
    if asked:
        await stage.cycle.receive()
    if lost:
        stage.cycle.lost()
    else:
        stage.cycle.hung_up()
    assert stage.clock.run(9) == 0
    assert stage.clock.tick() == 1
    await stage.end()
    (message,) = caplog.messages
    why = (
        "went on without its client for too long"
        if lost
        else "did not answer a client in time that has closed its sending side"
    )
    assert message == (
        f"GET /path from 192.0.2.2:50000: cancelled the application, which {why} "
        "(--application-close-timeout)"
    )
    assert stage.engine.responses == (
        [] if lost else [("respond", 503, b"Service Unavailable", False)]
    )


async def test_application_may_not_go_on_at_all_without_its_client() -> None:
    stage = CycleStage(forever, application_close_timeout=0)
    stage.cycle.start()
    await rounds()
    assert stage.clock.run(100) == 0
    stage.cycle.lost()
    assert stage.clock.tick() == 1
    await stage.end()


async def test_application_may_go_on_for_ever_without_its_client() -> None:
    stage = CycleStage(forever, application_close_timeout=-1)
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

    stage = CycleStage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.cancel()
    await stage.end()
    assert stage.engine.responses == calls
    said = ["GET /path from 192.0.2.2:50000: cancelled, answered 503"]
    assert caplog.messages == (said if stage.log.lines[0][2] == 503 else [])


async def test_cancel_before_the_first_step(caplog: pytest.LogCaptureFixture) -> None:
    """The task is cancelled before the application has run at all."""
    stage = CycleStage(forever)
    stage.cycle.start()
    stage.cycle.cancel()
    await stage.end()
    assert caplog.messages == ["GET /path from 192.0.2.2:50000: cancelled, answered 503"]
    assert stage.engine.responses == [("respond", 503, b"Service Unavailable", False)]


async def test_application_that_ignores_its_cancellation() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await forever(scope, receive, send)
        except asyncio.CancelledError:
            await hello(scope, receive, send)

    stage = CycleStage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.cancel()
    await stage.end()
    assert stage.engine.responses == [("respond", 200, b"hello", False)]


async def test_application_that_fails_when_it_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await forever(scope, receive, send)
        finally:
            raise Oops

    stage = CycleStage(app)
    stage.cycle.start()
    await rounds()
    stage.cycle.cancel()
    await stage.end()
    assert stage.engine.responses == PLAIN_500
    assert len(caplog.records) == 1


async def test_application_that_ignores_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once."""
    over = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    stage = CycleStage(app, application_close_timeout=10)
    stage.cycle.start()
    await rounds()
    stage.cycle.lost()
    stage.clock.run(10)
    await rounds()
    assert stage.clock.run(100) == 0
    assert len(caplog.records) == 1
    over.set()
    await stage.end()


async def test_settled_when_the_last_call_ends() -> None:
    stage = CycleStage(forever)
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
        await CycleStage(context=context).run()
    assert seen == ["lifespan", "request"] * 2
    assert variable.get() == "test"
    lifespan.run(variable.set, "later")
    await CycleStage(context=context).run()
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
        stage = CycleStage(hello)
        await stage.run()
    finally:
        loop.set_task_factory(None)
    assert len(made) == 1
    assert stage.engine.responses == [("respond", 200, b"hello", False)]


@pytest.mark.parametrize("app", [hello, failing(Oops())])
async def test_eager_task(app: Callable[..., Awaitable[None]]) -> None:
    stage = CycleStage(app)
    stage.context.new_task = EagerTask  # type: ignore[assignment]
    stage.cycle.start()
    assert len(stage.engine.responses) == 1
    assert stage.state == "COMPLETE"


async def test_eager_task_that_is_cancelled_in_its_first_step() -> None:
    """There is no task yet that could be: it goes on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        stage.cycle.cancel()
        await hello(scope, receive, send)

    stage = CycleStage(app)
    stage.context.new_task = EagerTask  # type: ignore[assignment]
    stage.cycle.start()
    assert stage.engine.responses == [("respond", 200, b"hello", False)]


async def test_names() -> None:
    stage = CycleStage(forever)
    stage.cycle.start()
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    assert task.get_name() == "aserver.http"
    assert repr(stage.cycle) == (
        "<HttpCycle GET b'/path' receiving=RECEIVED sending=AWAITED sent=0>"
    )
    stage.cycle.cancel()
    await stage.end()


async def test_no_access_log() -> None:
    stage = CycleStage(hello, has_log=False)
    await stage.run()
    other = CycleStage(after_disconnect(lambda error: error), has_log=False)
    await leave(other)
    assert stage.log.lines == other.log.lines == []
