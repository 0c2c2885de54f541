"""Applications that fail, end early, or go on too long."""

import asyncio
import logging

import pytest

from aserver.types import AppError, ClientDisconnected
from tests.fakes import rounds
from tests.ws_stage import (
    SocketStage,
    close,
    close_frame,
    closing,
    ended,
    hear_all,
    result,
    said,
    text,
    waiting,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


# It ends while the WebSocket is open


async def test_return_closes(log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(text("unheard"))
    await call.end()
    assert stage.frames() == [close_frame(1000)]
    assert stage.tunnel.calls == []
    assert stage.cycle.closed_by == "application"
    stage.feed(close(1000))
    assert stage.tunnel.calls == ["close"]
    assert stage.left_open == 0
    assert log.messages == []
    assert stage.log.lines[2:] == [("GET", b"/path", 101, 0)]


async def test_return_and_no_answer() -> None:
    stage = SocketStage(websocket_close_timeout=5)
    call = await stage.open()
    await call.end()
    stage.clock.run(6)
    assert stage.tunnel.calls == ["abort"]
    assert stage.left_open == 0


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), AppError("a bug"), SystemExit(3)])
async def test_exception(error: BaseException, log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.open()
    await call.end(error)
    assert stage.frames() == [close_frame(1011)], "and not why: that is nobody's business"
    (record,) = log.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert stage.cycle.closed_by == "server"
    assert stage.cycle.close_code == 1011
    assert len(stage.log.lines) == 3
    stage.feed(close(1011))
    assert stage.tunnel.calls == ["close"]
    assert stage.left_open == 0


async def test_exception_in_a_listener_of_its_own_is_told_it() -> None:
    """A task that the application has left behind hears of the end."""
    stage = SocketStage()
    call = await stage.open()
    task = await waiting(call.receive)
    await call.end(ZeroDivisionError("a bug"))
    assert await result(task) == ended(1011)


async def test_exception_behind_its_own_close(log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.open()
    await call.send(closing(4000))
    await call.end(ZeroDivisionError("a bug"))
    assert stage.frames() == [close_frame(4000)]
    assert [record.levelno for record in log.records] == [logging.ERROR]
    assert stage.cycle.closed_by == "application"
    stage.feed(close(4000))
    assert stage.left_open == 0


async def test_cancelled_by_the_server() -> None:
    """As it does with calls that do not end in --graceful-timeout."""
    stage = SocketStage()
    call = await stage.open()
    stage.cycle.cancel()
    await rounds()
    assert call.cancellations == [True]
    assert stage.frames() == [close_frame(1012)]
    stage.feed(close(1012))
    assert stage.left_open == 0


async def test_cancelled_by_itself(log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.open()
    await call.end(asyncio.CancelledError())
    assert stage.frames() == [close_frame(1011)]
    assert [record.levelno for record in log.records] == [logging.ERROR]


# It ends behind the WebSocket


async def test_exception_that_is_the_clients_leaving(log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.lose()
    with pytest.raises(ClientDisconnected) as caught:
        await call.send(said("a"))
    try:
        raise RuntimeError("a framework's own") from caught.value
    except RuntimeError as error:
        await call.end(error)
    assert log.messages == []
    assert stage.left_open == 0


async def test_reading_on_behind_the_end_is_no_error_in_the_log(
    log: pytest.LogCaptureFixture,
) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.feed(close(1001))
    assert await call.receive() == ended(1001)
    with pytest.raises(ClientDisconnected, match=r"websocket\.disconnect was sent") as caught:
        await call.receive()
    await call.end(caught.value)
    assert log.messages == []


async def test_reader_that_waits_behind_the_end_is_woken() -> None:
    """Nobody waits for ever."""
    stage = SocketStage()
    call = await stage.open()
    stage.lose()
    for _ in range(3):
        await hear_all(call.receive)


async def test_other_exception_behind_the_end(log: pytest.LogCaptureFixture) -> None:
    stage = SocketStage()
    call = await stage.open()
    stage.lose()
    await call.end(ZeroDivisionError("a bug"))
    (record,) = log.records
    assert record.levelno == logging.WARNING
    assert "after its client had left" in record.getMessage()
    assert stage.left_open == 0


@pytest.mark.parametrize("data", [b"", close(1001)])
async def test_application_that_goes_on_without_its_client(
    data: bytes, log: pytest.LogCaptureFixture
) -> None:
    stage = SocketStage(application_close_timeout=10)
    call = await stage.open()
    if data:
        stage.feed(data)
    else:
        stage.lose()
    stage.clock.run(9)
    await rounds()
    assert call.cancellations == []
    stage.clock.run(1)
    await rounds()
    assert call.cancellations == [True]
    assert stage.left_open == 0
    assert len(log.messages) == 1
    assert "(--application-close-timeout)" in log.messages[0]


async def test_application_that_goes_on_behind_its_close_is_not_cancelled_too_soon() -> None:
    """It has until the client's answer, and the time to end behind that."""
    stage = SocketStage(application_close_timeout=10, websocket_close_timeout=5)
    call = await stage.open()
    await call.send(closing(4000))
    stage.clock.run(15)
    await rounds()
    assert call.cancellations == []
    stage.clock.run(1)
    await rounds()
    assert call.cancellations == [True]
