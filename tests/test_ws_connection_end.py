"""The end of a connection that is a WebSocket: FIN, reset and mistakes in every phase."""

import pytest

from aserver import http_exchange
from aserver.limits import DRAIN_SECONDS, HALF_CLOSE_SECONDS
from aserver.types import ClientDisconnected
from tests.fakes import rounds
from tests.stage import MORE, Stage
from tests.ws_stage import (
    ACCEPT,
    ASK,
    SWITCHED,
    TEXT,
    UNMASKED,
    Frame,
    close,
    close_frame,
    closing,
    denial,
    denial_body,
    ended,
    frames,
    hear_all,
    heard,
    is_half_closed,
    nothing_is_left,
    open_socket,
    result,
    said,
    text,
    undated,
    waiting,
    waiting_send,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


async def test_fin_before_an_answer() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK)
    client.send_eof()
    task = await waiting(call.receive)
    stage.clock.run(int(HALF_CLOSE_SECONDS))
    assert await result(task) == ended(1006)
    assert client.closed()
    assert client.received() == b""
    await call.send(ACCEPT)
    assert client.received() == b""
    await nothing_is_left(stage, call)


async def test_fin_shortly_before_the_acceptance() -> None:
    """What it said before is heard."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK + text("last words"))
    client.send_eof()
    await call.send(ACCEPT)
    assert undated(client.received()) == SWITCHED
    assert client.closed()
    assert await hear_all(call.receive) == [heard("last words"), ended(1006)]
    await nothing_is_left(stage, call)


async def test_close_frame_and_fin_before_the_acceptance() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK + close(4000))
    client.send_eof()
    await call.send(ACCEPT)
    assert client.received().endswith(b"\x88\x02\x0f\xa0")
    assert client.closed()
    assert await hear_all(call.receive) == [ended(4000)]
    await nothing_is_left(stage, call)


async def test_fin_shortly_before_a_refusal() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK)
    client.send_eof()
    await call.send(closing())
    assert client.received().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert client.closed()
    await nothing_is_left(stage, call)


async def test_fin_in_a_denial() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK)
    await call.send(denial())
    await call.send(denial_body(b"a", more=True))
    client.send_eof()
    assert client.closed()
    with pytest.raises(ClientDisconnected):
        await call.send(denial_body(b"b"))
    await nothing_is_left(stage, call)


async def test_fin_while_open() -> None:
    stage = Stage()
    client = stage.connect()
    call = await open_socket(stage, client)
    task = await waiting(call.receive)
    client.send_eof()
    assert client.closed()
    assert await result(task) == ended(1006)
    assert client.received() == b""
    await nothing_is_left(stage, call)


async def test_fin_of_a_client_that_does_not_read() -> None:
    stage = Stage(write_timeout=60)
    client = stage.connect()
    call = await open_socket(stage, client)
    client.transport.reads = False
    task = await waiting_send(call)
    client.send_eof()
    await rounds()
    assert isinstance(task.exception(), ClientDisconnected)
    assert not client.closed()
    client.transport.take(2 * MORE)
    assert client.closed(), "what was sent is out"
    await nothing_is_left(stage, call)


async def test_application_that_only_sends_notices_a_reset() -> None:
    """It does not wait by itself, so that nobody could tell it; see `H1Tunnel.send`."""
    stage = Stage()
    client = stage.connect()
    call = await open_socket(stage, client)
    client.vanish()

    async def send_on() -> None:
        for _ in range(1000):
            await call.send(said("a"))

    with pytest.raises(ClientDisconnected):
        await send_on()
    await nothing_is_left(stage, call)


async def test_fin_in_place_of_a_close_frame() -> None:
    stage = Stage()
    client = stage.connect()
    call = await open_socket(stage, client)
    await call.send(closing(4000))
    assert frames(client) == [close_frame(4000)]
    client.send_eof()
    assert client.closed()
    assert await hear_all(call.receive) == [ended(1006)]
    await nothing_is_left(stage, call)


async def test_close_frame_and_fin_at_once() -> None:
    stage = Stage()
    client = stage.connect()
    call = await open_socket(stage, client)
    client.send(close(4000))
    assert is_half_closed(client)
    client.send_eof()
    assert frames(client) == [close_frame(4000)]
    assert client.closed()
    assert await hear_all(call.receive) == [ended(4000)]
    await nothing_is_left(stage, call)


async def test_mistake_is_told_before_the_end() -> None:
    """The server closes its side, and reads on for a moment: what it says would be lost else."""
    stage = Stage()
    client = stage.connect()
    call = await open_socket(stage, client)
    client.send(text("1") + UNMASKED)
    assert await call.receive() == heard("1")
    await call.send(said("1"))
    (event,) = await hear_all(call.receive)
    assert event["code"] == 1002
    answer, told = frames(client)
    assert answer == Frame(TEXT, b"1")
    assert told.payload[:2] == (1002).to_bytes(2, "big")
    assert client.transport.eof_received
    assert not client.closed()
    client.send(b"whatever " * 1000)
    client.send_eof()
    assert client.closed()
    await nothing_is_left(stage, call)


async def test_mistake_and_fin_at_once() -> None:
    """It may still read what it did wrong."""
    stage = Stage()
    client = stage.connect()
    call = await open_socket(stage, client)
    client.send(text("1") + UNMASKED)
    client.send_eof()
    (told,) = frames(client)
    assert told.payload[:2] == (1002).to_bytes(2, "big")
    assert client.closed()
    first, last = await hear_all(call.receive)
    assert first == heard("1")
    assert last["code"] == 1002
    await nothing_is_left(stage, call)


async def test_nobody_lingers_for_ever() -> None:
    stage = Stage()
    client = stage.connect()
    call = await open_socket(stage, client)
    task = await waiting(call.receive)
    client.send(UNMASKED)
    assert (await result(task))["code"] == 1002
    for _ in range(int(DRAIN_SECONDS)):
        assert not client.closed()
        client.send(bytes(1000))
        stage.clock.tick()
    assert client.closed()
    await nothing_is_left(stage, call)


async def test_client_vanishes() -> None:
    for prepare in (ASK, None):
        stage = Stage()
        client = stage.connect()
        if prepare is None:
            call = await open_socket(stage, client)
        else:
            call = await stage.call(client, prepare)
        task = await waiting(call.receive)
        client.vanish()
        await rounds()
        assert await result(task) == ended(1006)
        await nothing_is_left(stage, call)
