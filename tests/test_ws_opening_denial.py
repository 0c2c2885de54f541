"""A handshake that the application answers with a response (ASGI, WebSocket Denial Response)."""

import logging
from typing import Any

import pytest

from aserver.types import AppError, ClientDisconnected
from tests.fakes import rounds
from tests.ws_stage import (
    ACCEPT,
    SocketStage,
    closing,
    denial,
    denial_body,
    ended,
    hear_all,
    said,
    waiting,
)

pytestmark = pytest.mark.asyncio

CONNECTING = ("CONNECTING", b"/path", 0, 0)
JSON = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def test_denial(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial(401, JSON))
    assert stage.engine.calls == []
    await call.send(denial_body(b"{}"))
    assert stage.engine.responses == [("respond", 401, b"{}", False)]
    assert stage.engine.heads[0].block.split(b"\r\n")[1:-1] == [
        b"content-type: application/json",
        b"content-length: 2",
    ]
    assert stage.log.lines == [CONNECTING, ("GET", b"/path", 401, 2)]
    assert stage.cycle.closed_by == "application"
    assert not stage.cycle.accepted
    assert await hear_all(call.receive) == [ended(1006)]
    await call.end()
    assert stage.left_open == 0
    assert caplog.messages == [], "a denial is nothing to be worried about"


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 500, 503])
async def test_status(status: int) -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial(status))
    await call.send(denial_body())
    assert stage.engine.responses == [("respond", status, b"", False)]
    await call.end()


@pytest.mark.parametrize("status", [101, 100, 0, 99, 1000, "401", None])
async def test_status_that_cannot_be(status: Any) -> None:
    stage = SocketStage()
    call = await stage.connect()
    with pytest.raises(AppError):
        await call.send(denial(status))
    await call.send(closing())
    assert stage.engine.responses == [("respond", 403, b"", False)]
    await call.end()


async def test_denial_without_a_status() -> None:
    stage = SocketStage()
    call = await stage.connect()
    with pytest.raises(AppError, match=r"^websocket\.http\.response\.start must have a 'status'"):
        await call.send({"type": "websocket.http.response.start"})
    await call.end(ZeroDivisionError())


async def test_streamed_denial() -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial(403))
    await call.send(denial_body(b"a", more=True))
    await call.send(denial_body(b"b", more=True))
    task = await waiting(call.receive)
    await call.send(denial_body(b"c"))
    assert stage.engine.responses == [
        ("respond", 403, b"a", True),
        ("respond", None, b"b", True),
        ("respond", None, b"c", False),
    ]
    assert await task == ended(1006)
    await call.end()


async def test_slow_reader_of_a_denial() -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial())
    stage.engine.room = False

    async def more() -> Any:
        await call.send(denial_body(b"a", more=True))
        return {}

    task = await waiting(more)
    stage.engine.room = True
    stage.cycle.resume()
    await rounds(3)
    assert task.done()
    await call.send(denial_body())
    await call.end()


async def test_nothing_of_websocket_follows_a_denial() -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial())
    for message in (ACCEPT, closing(), said("a")):
        with pytest.raises(AppError, match="not allowed now"):
            await call.send(message)
    await call.send(denial_body())
    assert stage.engine.responses == [("respond", 401, b"", False)]
    await call.end()


async def test_complaints_are_about_what_the_application_has_sent() -> None:
    """Not about the messages of HTTP, which they are to the rest of us."""
    stage = SocketStage()
    call = await stage.connect()
    for prepare, message in (([], denial_body(b"a")), ([denial()], denial())):
        for each in prepare:
            await call.send(each)
        with pytest.raises(AppError) as caught:
            await call.send(message)
        complaint = str(caught.value)
        assert message["type"] in complaint
        assert complaint.count("http.") == complaint.count("websocket.http.") >= 2
    await call.send(denial_body())
    await call.end()


async def test_announced_trailers_are_not_waited_for() -> None:
    """They are not among the messages of this extension."""
    stage = SocketStage(accepts_trailers=True)
    call = await stage.connect()
    await call.send({**denial(), "trailers": True})
    await call.send(denial_body(b"a"))
    assert stage.engine.responses == [("respond", 401, b"a", False)]
    await call.end()


async def test_the_applications_message_is_not_changed() -> None:
    stage = SocketStage()
    call = await stage.connect()
    message = {**denial(), "trailers": True}
    before = message.copy()
    await call.send(message)
    assert message == before
    await call.send(denial_body())
    await call.end()


@pytest.mark.parametrize(
    ("bodies", "broken"),
    [([denial_body(b"{}}")], False), ([denial_body(b"{")], False),
     ([denial_body(b"{", more=True), denial_body(b"")], True)],
)  # fmt: skip
async def test_body_that_is_not_as_long_as_it_says(bodies: list[Any], broken: bool) -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial(401, JSON))
    for message in bodies[:-1]:
        await call.send(message)
    with pytest.raises(AppError) as caught:
        await call.send(bodies[-1])
    await call.end(caught.value)
    last = stage.engine.responses[-1]
    assert last == (("abort",) if broken else ("respond", 500, b"Internal Server Error", False))


@pytest.mark.parametrize("error", [None, ZeroDivisionError("a bug")])
async def test_application_that_ends_in_the_middle_of_a_denial(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial())
    await call.send(denial_body(b"a", more=True))
    await call.end(error)
    assert stage.engine.responses[-1] == ("abort",)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert stage.log.lines == [CONNECTING, ("GET", b"/path", 401, 1)]
    assert stage.left_open == 0


async def test_client_that_leaves_in_the_middle_of_a_denial(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial())
    await call.send(denial_body(b"a", more=True))
    stage.lose()
    assert stage.log.lines == [CONNECTING, ("GET", b"/path", 401, 1)]
    with pytest.raises(ClientDisconnected) as caught:
        await call.send(denial_body(b"b"))
    assert await hear_all(call.receive) == [ended(1006)]
    await call.end(caught.value)
    assert stage.left_open == 0
    assert caplog.messages == []


async def test_client_that_leaves_between_head_and_body_of_a_denial() -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial())
    stage.lose()
    assert stage.log.lines == [CONNECTING, ("GONE", b"/path", 0, 0)]
    await call.end()


async def test_what_comes_behind_a_denial_is_ignored() -> None:
    stage = SocketStage()
    call = await stage.connect()
    await call.send(denial())
    await call.send(denial_body())
    before = stage.engine.calls.copy()
    await call.send(denial_body(b"more"))
    await call.send(closing(4000))
    assert stage.engine.calls == before
    await call.end()
