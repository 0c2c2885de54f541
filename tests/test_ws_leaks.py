"""However a WebSocket ends, nothing of it is left, not even for the garbage collector.

It has buffers and compression windows, which would else wait for a collection that may come late.
"""

import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from aserver import http_exchange
from aserver.types import ClientDisconnected
from tests.fakes import Client, rounds
from tests.stage import Call, Stage
from tests.ws_stage import (
    ACCEPT,
    ASK,
    BYTES,
    UNMASKED,
    close,
    closing,
    denial,
    denial_body,
    frame,
    hear_all,
    heard,
    hold,
    open_socket,
    said,
    text,
)

pytestmark = pytest.mark.asyncio

DEFLATED = ASK.replace(
    b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)  # fmt: skip
Ending = Callable[[Stage, Client, Call], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


# Response heads are, for who sends the same again. wsproto's objects point at each other, and at
# our extension; that is no excuse for its windows.
REMEMBERED = {"ResponseHead", "_PerMessageDeflate"}


def alive() -> Counter[str]:
    """How many objects of ours there are, by class."""
    counts = Counter(map(type, gc.get_objects()))
    return Counter(
        {
            kind.__name__: count
            for kind, count in counts.items()
            if str(kind.__module__).startswith("aserver.") and kind.__name__ not in REMEMBERED
        }
    )


async def client_closes(stage: Stage, client: Client, call: Call) -> None:
    client.send(text("a") + close(1000))
    await hear_all(call.receive)
    await call.end()


async def client_vanishes(stage: Stage, client: Client, call: Call) -> None:
    client.vanish()
    await rounds()
    await call.end()


async def client_leaves_messages(stage: Stage, client: Client, call: Call) -> None:
    client.send(text("a"))
    client.send_eof()
    await call.end()


async def client_is_held(stage: Stage, client: Client, call: Call) -> None:
    hold(client)
    client.vanish()
    await rounds()
    await call.end()


async def client_leaves_a_rest(stage: Stage, client: Client, call: Call) -> None:
    client.send(frame(BYTES, bytes(300_000)))  # more than is looked at at once
    client.vanish()
    await rounds()
    await call.end()


async def client_fails(stage: Stage, client: Client, call: Call) -> None:
    client.send(UNMASKED)
    await hear_all(call.receive)
    await call.end()
    client.send_eof()


async def client_is_silent(stage: Stage, client: Client, call: Call) -> None:
    stage.clock.run(60)
    await call.end()


async def application_closes(stage: Stage, client: Client, call: Call) -> None:
    await call.send(closing(4000))
    client.send(close(4000))
    await hear_all(call.receive)
    await call.end()


async def application_returns(stage: Stage, client: Client, call: Call) -> None:
    await call.end()
    client.send(close(1000))


async def application_raises(stage: Stage, client: Client, call: Call) -> None:
    await call.end(ZeroDivisionError("a bug"))
    call.error = None  # whose traceback has all of it
    client.send(close(1011))


async def application_sends_on(stage: Stage, client: Client, call: Call) -> None:
    client.vanish()
    await rounds()
    with pytest.raises(ClientDisconnected):
        await call.send(said("a"))
    await call.end()


async def server_stops(stage: Stage, client: Client, call: Call) -> None:
    client.connection.drain()
    await call.end()
    client.send(close(1012))


ENDINGS = [
    client_closes, client_vanishes, client_leaves_messages, client_is_held,
    client_leaves_a_rest, client_fails,
    client_is_silent, application_closes, application_returns, application_raises,
    application_sends_on, server_stops,
]  # fmt: skip


async def check(stage: Stage, play: Callable[[Client], Awaitable[None]]) -> None:
    for name in ("aserver.app", "aserver.peer"):  # records keep tracebacks
        logging.getLogger(name).disabled = True
    gc.collect()
    before = alive()
    gc.disable()
    try:
        client = stage.connect()
        await play(client)
        await rounds()
        stage.clock.run(10)
        await rounds()
        del client
        stage.calls.clear()
        await rounds()
        assert alive() - before == Counter()
    finally:
        gc.enable()
        for name in ("aserver.app", "aserver.peer"):
            logging.getLogger(name).disabled = False


@pytest.mark.parametrize("handshake", [ASK, DEFLATED], ids=["plain", "deflate"])
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_nothing_is_left_behind(ending: Ending, handshake: bytes) -> None:
    stage = Stage(websocket_queue=1)

    async def play(client: Client) -> None:
        call = await stage.call(client, handshake)
        await call.send(ACCEPT)
        client.received()
        await ending(stage, client, call)

    await check(stage, play)


async def test_nothing_is_left_behind_a_denial() -> None:
    stage = Stage()

    async def play(client: Client) -> None:
        call = await stage.call(client, ASK)
        await call.send(denial())
        await call.send(denial_body(b"no"))
        await call.end()
        client.send_eof()

    await check(stage, play)


async def test_the_test_for_leaks_sees_them() -> None:
    stage = Stage()
    gc.collect()
    before = alive()
    client = stage.connect()
    call = await open_socket(stage, client)
    client.send(text("a"))
    assert await call.receive() == heard("a")
    kinds = set(alive() - before)
    assert {"Connection", "H1Tunnel", "WebSocketCycle", "WebSocket", "Watch"} <= kinds
    assert "WsprotoFrames" in kinds
    assert "H1" not in kinds, "it is not needed any more"
    client.send(close(1000))
    await call.end()
