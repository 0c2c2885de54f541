"""Handshakes without an answer: it comes too late, or not at all, or the client does not wait."""

import asyncio
import logging

import pytest

from aserver.types import ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import rounds
from tests.stage import Call
from tests.ws_stage import (
    ACCEPT,
    CONNECT,
    SocketStage,
    closing,
    denial,
    denial_body,
    ended,
    hear_all,
    said,
)

pytestmark = pytest.mark.asyncio

CONNECTING = ("CONNECTING", b"/path", 0, 0)
GONE = ("GONE", b"/path", 0, 0)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


async def test_late_application(log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage(websocket_connect_timeout=5, application_close_timeout=10)
    call = await stage.connect()
    stage.clock.run(4)
    assert stage.engine.calls == []
    stage.clock.run(1)
    assert stage.engine.responses == [("respond", 503, b"Service Unavailable", False)]
    assert stage.cycle.closed_by == "server"
    assert stage.log.lines == [CONNECTING, ("GET", b"/path", 503, 19)]
    assert await hear_all(call.receive) == [ended(1006)]
    (message,) = log.messages
    assert message.endswith(
        "did not accept or refuse in time (--websocket-connect-timeout), answered 503"
    )
    stage.clock.run(9)
    assert call.cancellations == []
    stage.clock.run(1)
    await rounds()
    assert call.cancellations == [True]
    assert stage.left_open == 0
    assert "(--application-close-timeout)" in log.messages[1]
    assert stage.log.lines[2:] == []


@pytest.mark.parametrize(
    "messages",
    [
        [ACCEPT],
        [{**ACCEPT, "subprotocol": "chat", "headers": [(b"a", b"b")]}],
        [denial(), denial_body(b"no")],
        [denial(), ACCEPT],
        [closing(4000)],
        [closing(), closing()],
    ],
)
async def test_late_answer_is_nothing(
    messages: list[Message], log: pytest.LogCaptureFixture
) -> None:
    """The application hears of the end when it listens; it has made no mistake but to be late."""
    stage = SocketStage(websocket_connect_timeout=5)
    call = await stage.connect()
    stage.clock.run(5)
    lines = stage.log.lines.copy()
    for message in messages:
        await call.send(message)
    with pytest.raises(ClientDisconnected) as caught:
        await call.send(said("a"))
    assert await hear_all(call.receive) == [ended(1006)]
    await call.end(caught.value)
    assert stage.engine.responses == [("respond", 503, b"Service Unavailable", False)]
    assert stage.log.lines == lines
    assert stage.cycle.closed_by == "server"
    assert not stage.cycle.accepted
    assert len(log.messages) == 1
    assert stage.left_open == 0


async def test_answer_of_an_application_that_was_cancelled() -> None:
    """As it may in a `finally`."""
    answers = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await send(closing())
            answers.append(True)

    stage = SocketStage()
    stage.context.app = app
    stage.cycle.start()
    await rounds(3)
    stage.cycle.cancel()
    await rounds()
    assert answers == [True]
    assert stage.engine.responses == [("respond", 403, b"", False)]
    assert stage.left_open == 0


@pytest.mark.parametrize("off", [0, -1])
async def test_no_connect_timeout(off: int) -> None:
    stage = SocketStage(websocket_connect_timeout=off)
    call = await stage.connect()
    assert stage.clock.run(1000) == 0
    await call.send(ACCEPT)
    assert stage.cycle.accepted


async def test_connect_timeout_is_over_with_the_acceptance() -> None:
    stage = SocketStage(websocket_connect_timeout=5, ping_interval=0, http_timeout=5)
    call = await stage.open()
    assert stage.clock.run(1000) == 0
    await call.send(said("a"))
    assert len(stage.frames()) == 1


async def test_late_application_that_has_begun_a_response() -> None:
    """Then its body may take as long as that of any."""
    stage = SocketStage(websocket_connect_timeout=5)
    call = await stage.connect()
    await call.send(denial(401))
    stage.clock.run(100)
    assert stage.engine.responses == [("respond", 401, b"", True)]
    await call.send(denial_body(b"no"))
    assert stage.engine.responses[1:] == [("respond", None, b"no", False)]
    await call.end()
    assert stage.log.lines == [CONNECTING, ("GET", b"/path", 401, 2)]


async def begun(stage: SocketStage) -> Call:
    call = await stage.connect()
    await call.send(denial(401))
    return call


async def test_application_that_returns_without_an_answer(log: pytest.LogCaptureFixture) -> None:
    for prepare in (SocketStage.connect, begun):
        log.clear()
        stage = SocketStage()
        call = await prepare(stage)
        await call.end()
        assert stage.engine.responses == [("respond", 500, b"Internal Server Error", False)]
        assert "returned without completing" in log.messages[0]
        assert [record.levelno for record in log.records] == [logging.ERROR]
        assert stage.log.lines == [CONNECTING, ("GET", b"/path", 500, 21)]
        assert stage.cycle.closed_by == "server"
        assert stage.left_open == 0


async def test_application_that_raises_before_an_answer(log: pytest.LogCaptureFixture) -> None:
    for prepare in (SocketStage.connect, begun):
        log.clear()
        stage = SocketStage()
        call = await prepare(stage)
        error = ZeroDivisionError("a bug")
        await call.end(error)
        assert stage.engine.responses == [("respond", 500, b"Internal Server Error", False)]
        (record,) = log.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[1] is error
        assert stage.log.lines[1:] == [("GET", b"/path", 500, 21)]
        assert stage.left_open == 0


async def test_application_that_is_cancelled_before_an_answer(
    log: pytest.LogCaptureFixture,
) -> None:
    stage = SocketStage()
    call = await stage.connect()
    stage.cycle.cancel()
    await rounds()
    assert call.cancellations == [True]
    assert stage.engine.responses == [("respond", 503, b"Service Unavailable", False)]
    assert [record.levelno for record in log.records] == [logging.WARNING]
    assert stage.left_open == 0


# A client that does not wait


async def test_client_that_leaves_before_the_answer(log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.connect()
    stage.lose()
    assert await hear_all(call.receive) == [ended(1006)]
    assert stage.log.lines == [CONNECTING, GONE]
    await call.end()
    assert stage.left_open == 0
    assert stage.engine.calls == []
    assert log.messages == []


async def test_client_that_closes_its_side_before_the_answer() -> None:
    stage = SocketStage()
    call = await stage.connect()
    stage.cycle.hung_up()
    assert stage.engine.calls == [("abort",)]
    assert await hear_all(call.receive) == [ended(1006)]
    assert stage.log.lines == [CONNECTING, GONE]
    await call.end()


async def test_call_that_goes_on_without_its_client_is_cancelled() -> None:
    stage = SocketStage(application_close_timeout=10)
    call = await stage.connect()
    stage.lose()
    stage.clock.run(9)
    await rounds()
    assert call.cancellations == []
    stage.clock.run(1)
    await rounds()
    assert call.cancellations == [True]
    assert stage.left_open == 0


async def test_client_that_leaves_before_the_application_runs() -> None:
    """It hears of the handshake, too: frameworks set things up there."""
    stage = SocketStage(aside=True)
    stage.cycle.start()
    stage.lose()
    await rounds()
    (call,) = stage.calls
    assert await hear_all(call.receive) == [CONNECT, ended(1006)]
    await call.end()
