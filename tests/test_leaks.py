"""However a connection ends, nothing of it is left behind."""

import asyncio
import gc
import logging
import socket
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from aserver.connection import Connection
from aserver.engines.chunked import ChunkedBody
from aserver.engines.h1 import H1
from aserver.engines.h1_reader import RequestReader
from aserver.engines.heads import HeadMemory
from aserver.http_cycle import HttpCycle
from aserver.sendfile import FileSender
from aserver.types import Receive, Request, Scope, Send
from tests.fakes import PARSERS, Client, body, new_context, rounds, start
from tests.stage import GET, MORE, OLD, POST_5, Stage, stream_to_nobody

pytestmark = pytest.mark.asyncio


KINDS = (Connection, H1, RequestReader, ChunkedBody, HeadMemory, HttpCycle, Request, FileSender)


def alive() -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in KINDS)


Ending = Callable[[Stage, Client], Awaitable[None]]


async def ends_idle(stage: Stage, client: Client) -> None:
    await (await stage.call(client)).answer()
    client.send_eof()


async def ends_unused(stage: Stage, client: Client) -> None:
    client.send_eof()


async def ends_in_a_head(stage: Stage, client: Client) -> None:
    client.send(GET[:10])
    client.vanish()


async def ends_refused(stage: Stage, client: Client) -> None:
    client.send(b"GET / HTTP/2.0\r\n\r\n")
    client.send_eof()


async def ends_unparsed(stage: Stage, client: Client) -> None:
    client.send(b"\x00\r\n\r\n")
    client.send_eof()


async def ends_refused_behind_others(stage: Stage, client: Client) -> None:
    client.send(GET + GET + b"GET / HTTP/2.0\r\n\r\n")
    for _ in range(2):
        await rounds(3)
        await stage.calls[-1].answer()
    client.send_eof()


async def ends_before_the_refusal(stage: Stage, client: Client) -> None:
    call = await stage.call(client, GET + b"GET / HTTP/2.0\r\n\r\n")
    client.vanish()
    await rounds(3)
    await call.end()


async def ends_by_close(stage: Stage, client: Client) -> None:
    await (await stage.call(client, OLD)).answer()


async def ends_in_a_body(stage: Stage, client: Client) -> None:
    call = await stage.call(client, POST_5 + b"he")
    client.send_eof()
    await rounds(3)
    await call.end()


async def ends_by_a_broken_body(stage: Stage, client: Client) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n?\r\n"
    call = await stage.call(client, chunked)
    client.send_eof()
    await call.end()


async def ends_while_the_application_waits(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    await call.receive()
    listening = asyncio.ensure_future(call.receive())
    await rounds(3)
    client.vanish()
    await listening
    await call.end()


async def ends_in_a_stream(stage: Stage, client: Client) -> None:
    call, sending = await stream_to_nobody(stage, client)
    client.vanish()
    await asyncio.wait([sending])
    error = sending.exception()
    assert error is not None
    await call.end(error.with_traceback(None))
    call.error = None


async def ends_in_a_file(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    await call.send(start())
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        ours.setblocking(False)
        client.transport.get_extra_info("socket").sock = ours
        file.truncate(1 << 22)
        message = {"type": "http.response.zerocopysend", "file": file}
        sending = asyncio.ensure_future(call.send(message))
        await rounds()
        assert client.connection.phase.name == "WRITING"
        client.vanish()
        await asyncio.wait([sending])
    error = sending.exception()
    assert error is not None
    await call.end(error.with_traceback(None))
    call.error = None


async def ends_by_failure(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    await call.end(ZeroDivisionError())
    call.error = None


async def ends_by_failure_in_a_stream(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    await call.stream(b"a")
    await call.end(ZeroDivisionError())
    call.error = None


async def ends_with_requests_waiting(stage: Stage, client: Client) -> None:
    call = await stage.call(client, GET + GET + POST_5)
    client.vanish()
    await rounds(3)
    await call.end()


async def ends_early(stage: Stage, client: Client) -> None:
    await (await stage.call(client, POST_5)).answer()
    stage.clock.run(2)


async def ends_lingering(stage: Stage, client: Client) -> None:
    request = POST_5.replace(b" 5", b" 1000000")
    await (await stage.call(client, request)).answer()
    stage.clock.run(2)


async def ends_by_deadline(stage: Stage, client: Client) -> None:
    client.send(GET[:5])
    stage.clock.run(17)


async def ends_unread(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    client.transport.reads = False
    client.send(GET)
    await call.answer(bytes(MORE))
    stage.clock.run(60)


async def ends_by_cancelling(stage: Stage, client: Client) -> None:
    await stage.call(client)
    for cycle in stage.context.cycles:
        cycle.cancel()


async def ends_half_closed(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    client.send_eof()
    await call.answer()


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def ends_in_a_chunk(stage: Stage, client: Client) -> None:
    call = await stage.call(client, CHUNKED + b"5\r\nhe")
    client.vanish()
    await rounds(3)
    await call.end()


async def ends_in_trailers(stage: Stage, client: Client) -> None:
    call = await stage.call(client, CHUNKED + b"0\r\nX: y\r\n")
    client.send_eof()
    await rounds(3)
    await call.end()


async def ends_by_refused_trailers(stage: Stage, client: Client) -> None:
    call = await stage.call(client, CHUNKED + b"0\r\nHost: b\r\n\r\n")
    client.send_eof()
    await call.end()


async def ends_behind_a_chunked_body(stage: Stage, client: Client) -> None:
    call = await stage.call(client, CHUNKED + b"2\r\nhi\r\n0\r\n\r\n")
    await call.answer()
    client.vanish()


async def ends_by_a_broken_body_in_the_response(stage: Stage, client: Client) -> None:
    call = await stage.call(client, CHUNKED)
    await call.stream(b"a")
    client.send(b"?\r\n")
    await call.end()


async def ends_by_a_broken_body_that_nobody_wants(stage: Stage, client: Client) -> None:
    await (await stage.call(client, CHUNKED)).answer()
    client.send(b"?\r\n")
    client.send_eof()


async def ends_while_a_body_is_discarded(stage: Stage, client: Client) -> None:
    await (await stage.call(client, CHUNKED + b"5\r\nhe")).answer()
    client.vanish()


async def ends_by_too_much_to_discard(stage: Stage, client: Client) -> None:
    await (await stage.call(client, CHUNKED)).answer()
    client.send(b"20000\r\n" + bytes(0x20000))
    stage.clock.run(3)


async def ends_by_too_large_a_body(stage: Stage, client: Client) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n")
    client.send_eof()


async def ends_with_a_body_unread(stage: Stage, client: Client) -> None:
    call = await stage.call(client, POST_5.replace(b" 5", b" 100000") + bytes(99_999))
    assert not client.transport.reading
    client.vanish()
    await rounds(3)
    await call.end()


async def ends_with_much_behind(stage: Stage, client: Client) -> None:
    call = await stage.call(client, GET + bytes(99_999))
    assert not client.transport.reading
    await call.answer()
    stage.clock.run(3)


async def ends_with_more_behind_a_close(stage: Stage, client: Client) -> None:
    await (await stage.call(client, OLD + GET)).answer()
    stage.clock.run(3)


async def ends_between_responses_that_are_not_read(stage: Stage, client: Client) -> None:
    call = await stage.call(client, GET + GET)
    client.transport.reads = False
    await call.answer(bytes(MORE))
    assert len(stage.calls) == 1
    client.vanish()


async def ends_by_draining(stage: Stage, client: Client) -> None:
    call = await stage.call(client, GET + GET)
    client.connection.drain()
    await call.answer()
    await rounds(3)
    await stage.calls[-1].answer()


async def ends_by_draining_in_a_body(stage: Stage, client: Client) -> None:
    call = await stage.call(client, POST_5 + b"he")
    client.connection.drain()
    await call.answer()
    stage.clock.run(3)


async def ends_by_draining_while_idle(stage: Stage, client: Client) -> None:
    await (await stage.call(client)).answer()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client.transport.get_extra_info("socket").sock = ours
        client.connection.drain()


async def ends_half_closed_behind_several(stage: Stage, client: Client) -> None:
    call = await stage.call(client, GET + GET + GET[:9])
    client.send_eof()
    await call.answer()
    await rounds(3)
    await stage.calls[-1].answer()


async def ends_hung_up(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    client.send_eof()
    stage.clock.run(2)
    assert (await call.receive())["type"] == "http.request"
    assert (await call.receive())["type"] == "http.disconnect"
    await call.end()
    stage.clock.run(60)


async def ends_in_an_old_stream(stage: Stage, client: Client) -> None:
    call = await stage.call(client, OLD)
    await call.stream(b"a")
    client.send_eof()
    await rounds(3)
    await call.end()


async def ends_expecting(stage: Stage, client: Client) -> None:
    request = POST_5.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue")
    await (await stage.call(client, request)).answer()
    stage.clock.run(3)


async def ends_aborted_by_the_server(stage: Stage, client: Client) -> None:
    call = await stage.call(client)
    await call.stream(b"a")
    client.connection.abort()
    await rounds(3)
    await call.end()


async def ends_with_known_heads(stage: Stage, client: Client) -> None:
    for number in range(4):
        await (await stage.call(client, GET[:-2] + b"X: %d\r\n\r\n" % number)).answer()
    client.send_eof()


async def ends_upgraded(stage: Stage, client: Client) -> None:
    upgrade = b"Host: a\r\nUpgrade: x\r\nConnection: upgrade\r\n"
    call = await stage.call(client, POST_5.replace(b"Host: a\r\n", upgrade) + b"hello")
    await call.answer()
    client.send_eof()


ENDINGS = [value for name, value in globals().items() if name.startswith("ends_")]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_nothing_is_left_behind(
    ending: Ending, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for the garbage collector."""
    for name in ("aserver.app", "aserver.peer"):  # records keep tracebacks
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    stage = Stage(PARSERS[parser])
    gc.collect()
    before = alive()
    gc.disable()
    try:
        client = stage.connect()
        await ending(stage, client)
        del client
        await rounds()
        stage.calls.clear()
        await rounds()
        assert stage.context.connections == set()
        assert stage.context.cycles == set()
        assert alive() == before
    finally:
        gc.enable()


async def test_the_test_for_leaks_sees_them() -> None:
    stage = Stage()
    before = alive()
    client = stage.connect()
    call = await stage.call(client)
    assert alive() - before == Counter(
        ["Connection", "H1", "RequestReader", "HeadMemory", "HttpCycle", "Request"]
    )
    await call.answer()


CONVERSATION = (
    GET
    + POST_5
    + b"hello"
    + b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"2\r\nhi\r\n0\r\nX: y\r\n\r\n"
    + b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    + OLD
)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Stream back what comes."""
    await send(start())
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        await send(body(message["body"], more=message["more_body"]))
        if not message["more_body"]:
            return


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("leave", [Client.send_eof, Client.vanish])
async def test_cut_after_every_byte(
    leave: Callable[[Client], None], parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = new_context(echo, PARSERS[parser])
    for size in range(len(CONVERSATION) + 1):
        client = Client(context)
        for number in range(size):
            client.send(CONVERSATION[number : number + 1])
            await rounds(2)
        if not client.closed():
            leave(client)
        await rounds()
        assert client.closed()
        assert context.connections == set()
        assert context.cycles == set()
        responses = client.received().count(b"HTTP/1.")
        assert responses <= 5
    assert responses == 5
    assert caplog.records == []
