"""The lifespan protocol: start-up, state, shutdown, and applications that do it wrong."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest

from aserver import lifespan
from aserver.event_loops import new_loop
from aserver.lifespan import Lifespan, LifespanError
from aserver.types import AppError, ASGIApplication, Message, Receive, Scope, Send

pytestmark = pytest.mark.asyncio

STARTUP = {"type": "lifespan.startup"}
SHUTDOWN = {"type": "lifespan.shutdown"}
STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}
WITHOUT_END = 3600


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications that do not end are given up soon."""
    monkeypatch.setattr(lifespan, "_END_SECONDS", 0.05)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[int], list[str]]:
    """The messages logged by now, from this level on."""
    caplog.set_level(logging.DEBUG)

    def messages(level: int = logging.INFO) -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelno >= level]

    return messages


Log = Callable[..., list[str]]
Handler = Callable[[Receive, Send], Awaitable[None]]


def an_app(handler: Handler) -> ASGIApplication:
    """An application that does nothing else."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await handler(receive, send)

    return app


def lifespan_of(app: ASGIApplication, mode: str = "auto") -> Lifespan:
    return Lifespan(app, mode, copy_context())


@asynccontextmanager
async def living(handler: Handler) -> AsyncIterator[Lifespan]:
    """An application that has started; it is shut down in the end."""
    span = lifespan_of(an_app(handler), "on")
    await span.startup()
    yield span
    await asyncio.wait_for(span.shutdown(0.1), 5)


async def good(receive: Receive, send: Send) -> None:
    assert await receive() == STARTUP
    await send(STARTED)
    assert await receive() == SHUTDOWN
    await send(STOPPED)


async def raises(receive: Receive, send: Send) -> None:
    raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")


async def raises_in_startup(receive: Receive, send: Send) -> None:
    await receive()
    raise RuntimeError("no\ndatabase")


async def returns(receive: Receive, send: Send) -> None:
    return


async def returns_in_startup(receive: Receive, send: Send) -> None:
    await receive()


async def fails(receive: Receive, send: Send, message: str = "no database") -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": message})


# Start-up and shutdown


async def test_what_the_application_sees(log: Log) -> None:
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await good(receive, send)

    span = lifespan_of(app, "on")
    await span.startup()
    await span.shutdown(5)
    (scope,) = scopes
    assert scope == {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": {},
    }
    assert log() == []


async def test_start_and_stop_wait_for_the_answers() -> None:
    events: list[str] = []
    may_go_on = asyncio.Event()

    async def slow(receive: Receive, send: Send) -> None:
        for answer in (STARTED, STOPPED):
            events.append((await receive())["type"])
            await may_go_on.wait()
            may_go_on.clear()
            await send(answer)

    span = lifespan_of(an_app(slow))
    for step in (span.startup, partial(span.shutdown, 5)):
        task = asyncio.ensure_future(step())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        events.append("waiting")
        may_go_on.set()
        await task
        events.append("done")
    assert events == [
        *("lifespan.startup", "waiting", "done"),
        *("lifespan.shutdown", "waiting", "done"),
    ]


async def test_state_is_what_the_application_put_there() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        scope["state"]["pool"] = "open"
        await send(STARTED)
        await receive()
        seen.append(dict(scope["state"]))
        await send(STOPPED)

    seen: list[dict[str, str]] = []
    assert lifespan_of(app).state is None
    span = lifespan_of(app)
    await span.startup()
    assert span.state == {"pool": "open"}
    await span.shutdown(5)
    assert seen == [{"pool": "open"}], "there until the end"


async def test_requests_see_variables_set_in_startup(loop_name: str) -> None:
    variable = ContextVar("variable", default="unset")

    async def sets(receive: Receive, send: Send) -> None:
        variable.set("set")
        await good(receive, send)

    async def main() -> None:
        context = copy_context()
        span = Lifespan(an_app(sets), "on", context)
        await span.startup()
        assert context[variable] == "set"
        assert variable.get() == "unset", "not in the server's own"
        await span.shutdown(5)

    def run() -> None:
        with asyncio.Runner(loop_factory=partial(new_loop, loop_name)) as runner:
            runner.run(main())

    await asyncio.to_thread(run)


async def test_an_application_may_end_before_it_is_asked_to(log: Log) -> None:
    async def leaves(receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)

    async with living(leaves):
        pass
    assert log() == []


# Applications without lifespan: auto, on, off


@pytest.mark.parametrize("handler", [raises, returns, returns_in_startup])
async def test_auto_takes_an_application_without_lifespan(handler: Handler, log: Log) -> None:
    span = lifespan_of(an_app(handler), "auto")
    await span.startup()
    assert span.state is None
    await span.shutdown(5)
    assert log() == [], "nothing to worry anybody"
    (line,) = log(logging.DEBUG)
    assert line.startswith("The application does not support lifespan: ")


async def test_auto_goes_on_after_an_exception_in_startup_but_not_in_silence(log: Log) -> None:
    span = lifespan_of(an_app(raises_in_startup), "auto")
    await span.startup()
    assert span.state is None
    assert log(logging.ERROR) == ["The application raised in lifespan start-up"]


@pytest.mark.parametrize(
    ("handler", "reason", "logged"),
    [
        (raises, "ValueError: Django can only handle", []),
        (returns, "it returned", []),
        (returns_in_startup, "it returned", []),
        (
            raises_in_startup,
            "RuntimeError: no database",
            ["The application raised in lifespan start-up"],
        ),
    ],
)
async def test_on_demands_it(handler: Handler, reason: str, logged: list[str], log: Log) -> None:
    span = lifespan_of(an_app(handler), "on")
    with pytest.raises(LifespanError) as caught:
        await span.startup()
    assert caught.value.exit_code == 4
    expected = "the application did not complete its lifespan start-up (--lifespan on): "
    assert str(caught.value).startswith(expected + reason)
    assert log() == logged
    assert span.state is None


async def test_off_never_asks() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("called")

    span = lifespan_of(app, "off")
    await span.startup()
    assert span.state is None
    await span.shutdown(5)


# What would end the event loop if a task raised it

ENDS = [KeyboardInterrupt(), SystemExit(0)]


def raises_at(stage: str, error: BaseException) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == stage:
                raise error
            await send({"type": message["type"] + ".complete"})

    return app


@pytest.mark.parametrize("error", ENDS, ids=repr)
async def test_end_of_the_loop_in_startup(error: BaseException, log: Log) -> None:
    app = raises_at("lifespan.startup", error)
    span = Lifespan(app, "on", copy_context(), has_signals=True)
    with pytest.raises(LifespanError, match=type(error).__name__):
        await span.startup()
    assert log() == [RAISED]


@pytest.mark.parametrize("error", ENDS, ids=repr)
async def test_end_of_the_loop_in_shutdown(error: BaseException, log: Log) -> None:
    app = raises_at("lifespan.shutdown", error)
    span = Lifespan(app, "on", copy_context(), has_signals=True)
    await span.startup()
    await span.shutdown(5)
    assert log() == ["The application raised in its lifespan"]


async def test_ctrl_c_where_signals_have_no_handlers() -> None:
    """It may be a real one."""
    span = lifespan_of(raises_at("lifespan.startup", KeyboardInterrupt()))
    running = span._run()
    with pytest.raises(KeyboardInterrupt):
        running.send(None)


# Start-up that fails


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_reported_failure_stops_the_start(mode: str, log: Log) -> None:
    span = lifespan_of(an_app(fails), mode)
    with pytest.raises(LifespanError, match=r"^the application failed to start: no database$"):
        await span.startup()
    assert log() == []
    await span.shutdown(5)  # nothing is left to shut down


async def fails_and_raises(receive: Receive, send: Send, message: str) -> None:
    await fails(receive, send, message)
    raise RuntimeError("no database")


TRACEBACK = "Traceback (most recent call last):\n  ...\nRuntimeError: no database\n"
RAISED = "The application raised in lifespan start-up"


@pytest.mark.parametrize(
    ("handler", "reason", "logged"),
    [
        # As Starlette does it: the same traceback is not logged twice.
        (
            partial(fails_and_raises, message=TRACEBACK),
            "RuntimeError: no database",
            f"The application failed to start:\n{TRACEBACK.strip()}",
        ),
        (partial(fails_and_raises, message="locked"), "locked", RAISED),
        (partial(fails_and_raises, message=""), "RuntimeError: no database", RAISED),
        (partial(fails, message=" \n"), "it gives no reason", None),
    ],
)
async def test_a_failure_is_one_line_and_what_does_not_fit_is_logged(
    handler: Handler, reason: str, logged: str | None, log: Log
) -> None:
    with pytest.raises(LifespanError, match=f"^the application failed to start: {reason}$"):
        await lifespan_of(an_app(handler)).startup()
    assert log() == ([] if logged is None else [logged])


async def test_an_application_that_failed_and_does_not_end_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def lingers(receive: Receive, send: Send) -> None:
        await fails(receive, send)
        try:
            await asyncio.sleep(WITHOUT_END)
        finally:
            cancelled.set()

    with pytest.raises(LifespanError):
        await lifespan_of(an_app(lingers)).startup()
    assert cancelled.is_set()


@pytest.mark.parametrize("error", [None, OSError("while cleaning up")])
async def test_a_start_that_is_given_up_cancels_the_application(
    error: Exception | None, log: Log
) -> None:
    started = asyncio.Event()
    cancelled = asyncio.Event()

    async def never_starts(receive: Receive, send: Send) -> None:
        started.set()
        try:
            await asyncio.sleep(WITHOUT_END)
        finally:
            cancelled.set()
            if error is not None:
                raise error

    span = lifespan_of(an_app(never_starts))
    task = asyncio.ensure_future(span.startup())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
    assert span.state is None
    await span.shutdown(5)
    assert log() == ([] if error is None else ["The application raised in its lifespan"])


async def test_a_start_that_is_given_up_and_an_application_without_lifespan(log: Log) -> None:
    async def only_http(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("No application configured for scope type 'lifespan'")

    span = lifespan_of(only_http)
    task = asyncio.ensure_future(span.startup())
    await asyncio.sleep(0)  # the call is about to begin
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log() == []


# Shutdown that fails


async def fails_to_stop(receive: Receive, send: Send, **message: str) -> None:
    await receive()
    await send(STARTED)
    await receive()
    await send({"type": "lifespan.shutdown.failed", **message})


async def fails_to_stop_and_raises(receive: Receive, send: Send) -> None:
    await fails_to_stop(receive, send, message="still writing\n")
    raise RuntimeError("still writing")


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (partial(fails_to_stop, message="still writing"), "still writing"),
        (fails_to_stop, "it gives no reason"),
        (fails_to_stop_and_raises, "still writing"),
    ],
)
async def test_a_failed_shutdown_is_logged_once(handler: Handler, reason: str, log: Log) -> None:
    async with living(handler):
        pass
    assert log() == [f"The application failed to shut down: {reason}"]


async def test_an_exception_in_shutdown_is_logged(log: Log) -> None:
    async def raises_in_shutdown(receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        raise RuntimeError

    async with living(raises_in_shutdown):
        pass
    assert log() == ["The application raised in its lifespan"]


async def test_an_exception_after_startup_is_logged_when_it_happens(log: Log) -> None:
    crash = asyncio.Event()

    async def crashes(receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await crash.wait()
        raise RuntimeError

    async with living(crashes) as span:
        crash.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert log() == ["The application raised in its lifespan"]
        assert span.state == {}, "requests still have it"
    assert len(log()) == 1


async def ignores_shutdown(receive: Receive, send: Send) -> None:
    await receive()
    await send(STARTED)
    await receive()
    await asyncio.sleep(WITHOUT_END)


async def ignores_everything(receive: Receive, send: Send) -> None:
    await receive()
    await send(STARTED)
    for _ in range(2):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(WITHOUT_END)
    await receive()


async def asks_for_ever(receive: Receive, send: Send) -> None:
    await receive()
    await send(STARTED)
    while True:
        await receive()


@pytest.mark.parametrize("handler", [ignores_shutdown, ignores_everything, asks_for_ever])
async def test_an_application_that_never_answers_shutdown_does_not_stop_the_end(
    handler: Handler, log: Log
) -> None:
    started = time.perf_counter()
    async with living(handler):
        pass
    assert time.perf_counter() - started < 5
    assert log() == ["The application did not complete lifespan.shutdown in 0.1 seconds"]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_an_application_that_answers_and_asks_on_ends_quietly(log: Log) -> None:
    async def loops(receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})

    async with living(loops):
        pass
    assert log() == []


# Messages that are not allowed


@pytest.mark.parametrize(
    ("messages", "refused", "stage"),
    [
        ([], {"type": "http.response.start"}, "lifespan.startup"),
        ([], {}, "lifespan.startup"),
        ([STARTED], STARTED, "lifespan.startup"),
        ([STARTED], {"type": "lifespan.startup.failed"}, "lifespan.startup"),
        ([], STOPPED, "lifespan.startup"),
        ([STARTED], STOPPED, "lifespan.startup"),
    ],
)
async def test_messages_out_of_order(messages: list[Message], refused: Message, stage: str) -> None:
    errors: list[AppError] = []

    async def app(receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)
        with pytest.raises(AppError) as caught:
            await send(refused)
        errors.append(caught.value)
        if STARTED not in messages:
            await send(STARTED)
        await receive()
        await send(STOPPED)
        with pytest.raises(AppError):
            await send(STOPPED)

    async with living(app):
        pass
    kind: Any = refused.get("type")
    assert [str(error) for error in errors] == [
        f"the message {kind!r} is not allowed now: events so far: {stage}"
    ]


async def test_a_message_before_any_event() -> None:
    async def app(receive: Receive, send: Send) -> None:
        with pytest.raises(AppError, match="is not allowed now: events so far: none yet"):
            await send(STOPPED)
        await good(receive, send)

    async with living(app):
        pass
