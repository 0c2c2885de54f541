"""The connection on a transport in memory, by a clock that the test moves."""

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from aserver import connection, http_exchange
from aserver.config import Limits
from aserver.connection import Connection
from aserver.limits import DRAIN_BYTES, HALF_CLOSE_SECONDS
from aserver.types import ClientDisconnected, Receive, Scope, Send
from tests.fakes import (
    Client,
    EagerTask,
    FakeSocket,
    MemoryTransport,
    body,
    new_context,
    rounds,
    start,
)
from tests.stage import GET, MORE, OLD, POST_5, Call, Stage, stream_to_nobody

pytestmark = pytest.mark.asyncio

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: now\r\nserver: aserver\r\n\r\nhello"
BYE = HELLO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
TIMEOUT = (
    b"HTTP/1.1 408 Request Timeout\r\ndate: now\r\nserver: aserver\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 59\r\n"
    b"connection: close\r\n\r\n"
    b"the request head did not arrive in time (--header-timeout)\n"
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture
def kernel() -> Iterator[tuple[FakeSocket, socket.socket]]:
    """A transport's socket, and what its peer writes to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield FakeSocket(ours), theirs


@pytest.fixture
def empty_kernel(kernel: tuple[FakeSocket, socket.socket]) -> FakeSocket:
    return kernel[0]


def undated(data: bytes) -> bytes:
    return re.sub(rb"date: [^\r]+ GMT\r\n", b"date: now\r\n", data)


def received(client: Client) -> bytes:
    return undated(client.received())


def phase(client: Client) -> str:
    return client.connection.phase.name


# Exchanges


async def test_exchange() -> None:
    stage = Stage()
    client = stage.connect()
    for _ in range(3):
        call = await stage.call(client)
        assert phase(client) == "ACTIVE"
        await call.answer()
        assert received(client) == HELLO
        assert phase(client) == "IDLE"
    assert client.transport.writes == 3
    assert not client.closed()


async def test_eager_application() -> None:
    """The response is out before the request's bytes are taken; the connection is idle then."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"hello"))

    stage = Stage()
    stage.context.app = app
    stage.context.new_task = EagerTask  # type: ignore[assignment]
    client = stage.connect()
    client.send(GET + GET)
    assert received(client) == HELLO * 2
    assert phase(client) == "IDLE"


async def test_writelines_that_never_asks_to_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in some versions of Python: there the pieces are joined."""
    monkeypatch.setattr(connection, "_ENDLESS_WRITELINES", True)
    monkeypatch.setattr(MemoryTransport, "writelines", lambda *_: pytest.fail("it was used"))
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.answer(bytes(MORE))
    assert client.transport.writes == 1
    assert client.received().endswith(b"\r\n\r\n" + bytes(MORE))


async def test_client_closes() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, GET.replace(b"Host", b"Connection: close\r\nHost"))
    await call.answer()
    assert received(client) == BYE
    assert client.closed()
    assert not stage.context.connections


async def test_refusals_without_end_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    for _ in range(100):
        stage.connect().send(b"GET / HTTP/2.0\r\n\r\n")
    assert len(caplog.messages) == 5
    stage.clock.run(60)
    assert len(caplog.messages) == 6
    assert caplog.messages[-1].startswith("95 more in 60 seconds that are not shown, the last: Ref")


async def test_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    client = stage.connect()
    client.send(b"GET / HTTP/2.0\r\n\r\n")
    assert client.received().startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert client.transport.eof_received
    assert not client.closed()
    assert caplog.messages == [
        "Refused a request from 192.0.2.2:50000: "
        "HTTP/2.0 is not spoken here, only HTTP/1.0 and HTTP/1.1"
    ]
    assert caplog.records[0].levelno == logging.INFO
    client.send(GET)
    client.send_eof()
    assert client.closed()
    assert stage.calls == []


@pytest.mark.parametrize(
    ("sockname", "peername", "server", "client"),
    [
        (("192.0.2.1", 80), ("192.0.2.2", 5), ("192.0.2.1", 80), ("192.0.2.2", 5)),
        (("2001:db8::1", 80, 0, 0), ("2001:db8::2", 5, 0, 0),
         ("2001:db8::1", 80), ("2001:db8::2", 5)),
        (("::ffff:192.0.2.1", 80, 0, 0), ("::ffff:192.0.2.2", 5, 0, 0),
         ("192.0.2.1", 80), ("192.0.2.2", 5)),
        ("/run/a.sock", "", ("/run/a.sock", None), None),
        ("", "", None, None),
        (b"\x00abstract", b"", ("\x00abstract", None), None),
    ],
)  # fmt: skip
async def test_addresses(
    sockname: object, peername: object, server: object, client: object
) -> None:
    stage = Stage()
    connected = stage.connect(sockname=sockname, peername=peername)
    call = await stage.call(connected)
    assert call.scope["server"] == server
    assert call.scope["client"] == client
    assert ("unix" in repr(connected.connection)) is (client is None)
    await call.answer()


async def test_scope() -> None:
    stage = Stage(root_path="/mounted")
    stage.context.state = {"pool": []}
    client = stage.connect()
    first = await stage.call(client)
    assert first.scope["root_path"] == "/mounted"
    assert first.scope["scheme"] == "http"
    first.scope["state"]["mine"] = 1
    first.scope["headers"].clear()
    await first.answer()
    second = await stage.call(client)
    assert second.scope["state"] == {"pool": []}
    assert second.scope["headers"] == [(b"host", b"a")]
    await second.answer()


# Each phase has its deadline


async def test_who_connects_and_sends_nothing(empty_kernel: FakeSocket) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    assert phase(client) == "NEW"
    assert stage.clock.run(14) == 0
    assert not client.closed()
    assert stage.clock.tick() == 1
    assert client.closed()
    assert not client.transport.aborted
    assert client.received() == b""


async def test_head_that_does_not_arrive(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    client = stage.connect()
    stage.clock.run(10)
    client.send(GET[:5])
    assert phase(client) == "HEAD"
    assert stage.clock.run(14) == 0
    assert stage.clock.tick() == 1
    assert received(client) == TIMEOUT
    assert caplog.messages == [
        "Refused a request from 192.0.2.2:50000: "
        "the request head did not arrive in time (--header-timeout)"
    ]
    assert not client.closed()
    stage.clock.run(2)
    assert client.closed()


async def test_head_that_drips() -> None:
    """The deadline is absolute: no byte moves it."""
    stage = Stage()
    client = stage.connect()
    for i in range(15):
        client.send(GET[i : i + 1])
        assert not client.transport.received
        stage.clock.tick()
    assert received(client) == TIMEOUT


async def test_second_head_that_does_not_arrive() -> None:
    stage = Stage()
    client = stage.connect()
    await (await stage.call(client)).answer()
    stage.clock.run(70)
    client.send(GET[:5])
    assert received(client) == HELLO
    assert stage.clock.run(14) == 0
    stage.clock.tick()
    assert received(client) == TIMEOUT


async def test_keep_alive(empty_kernel: FakeSocket) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    for _ in range(3):
        await (await stage.call(client)).answer()
        assert stage.clock.run(74) == 0
    assert stage.clock.tick() == 1
    assert client.closed()
    assert not client.transport.aborted
    assert received(client) == HELLO * 3


async def test_no_keep_alive_deadline() -> None:
    stage = Stage(keep_alive=-1)
    client = stage.connect()
    await (await stage.call(client)).answer()
    assert stage.clock.run(100_000) == 0


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_no_keep_alive(version: bytes) -> None:
    stage = Stage(keep_alive=0)
    client = stage.connect()
    asked = b"GET / HTTP/%b\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % version
    await (await stage.call(client, asked)).answer()
    assert client.closed()
    assert received(client).count(b"connection: close\r\n") == 1


async def test_application_may_take_its_time() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    assert stage.clock.run(10_000) == 0
    await call.stream(b"a")
    assert stage.clock.run(10_000) == 0
    await call.send(body())
    assert not client.closed()
    await call.end()


async def test_first_byte_of_a_connection_and_first_of_a_head(empty_kernel: FakeSocket) -> None:
    """Two deadlines; the second begins with the first byte, line ends before a head are none."""
    stage = Stage(first_byte_timeout=3, header_timeout=7)
    silent, begun = stage.connect(empty_kernel), stage.connect(empty_kernel)
    stage.clock.run(2)
    begun.send(GET[:1])
    stage.clock.tick()
    assert silent.closed()
    assert silent.received() == b""
    stage.clock.run(5)
    assert not begun.transport.received
    stage.clock.tick()
    assert received(begun) == TIMEOUT


async def test_line_end_between_requests_is_no_head(empty_kernel: FakeSocket) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    await (await stage.call(client)).answer()
    received(client)
    client.send(b"\r\n")
    assert phase(client) == "IDLE"
    stage.clock.run(75)
    assert client.closed()
    assert received(client) == b""


# A body that comes slowly, or not at all

SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ndate: now\r\nserver: aserver\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 63\r\n"
    b"connection: close\r\n\r\n"
    b"the request body does not arrive fast enough (--min-body-rate)\n"
)
MIB = 1 << 20
UPLOAD = POST_5.replace(b" 5", b" %d" % MIB)


async def drink(call: Call) -> int:
    """An application that takes the body as it comes; returns how much there was."""
    size, more = 0, True
    while more:
        message = await call.receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    return size


async def test_upload_of_a_mebibyte_a_minute() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, UPLOAD)
    drinking = asyncio.ensure_future(drink(call))
    for _ in range(64):
        client.send(bytes(MIB // 64))
        await rounds(2)
        stage.clock.tick()
    assert await drinking == MIB
    await call.answer()
    assert received(client) == HELLO
    assert phase(client) == "IDLE"


@pytest.mark.parametrize("before", [0, 100_000])
async def test_upload_that_stops(before: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, UPLOAD)
    drinking = asyncio.ensure_future(drink(call))
    for _ in range(before // 50_000):
        client.send(bytes(50_000))
        await rounds(2)
    stage.clock.run(19)
    assert not client.transport.received
    stage.clock.run(21)
    assert received(client) == SLOW
    assert any("--min-body-rate" in message for message in caplog.messages)
    assert await drinking == before
    await call.end()


async def test_upload_that_drips() -> None:
    """Slower than the least rate: each byte helps for nothing."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5.replace(b" 5", b" 5000"))
    drinking = asyncio.ensure_future(drink(call))
    for _ in range(20):
        client.send(b"x")
        await rounds(2)
        stage.clock.tick()
    assert received(client) == SLOW
    await drinking
    await call.end()


@pytest.mark.parametrize("options", [{"body_timeout": 0}, {"min_body_rate": 0}])
async def test_body_that_may_take_its_time(options: dict[str, Any]) -> None:
    stage = Stage(**options)
    client = stage.connect()
    call = await stage.call(client, POST_5)
    for byte in b"hello":
        assert stage.clock.run(1000) == 0
        client.send(bytes([byte]))
    await call.answer()
    assert received(client) == HELLO


async def test_application_that_does_not_take_the_body(empty_kernel: FakeSocket) -> None:
    """The client is not to blame: nothing is read from it meanwhile."""
    stage = Stage()
    client = stage.connect(empty_kernel)
    call = await stage.call(client, UPLOAD)
    client.send(bytes(100_000))
    with pytest.raises(AssertionError, match="does not read now"):
        client.send(b"")
    stage.clock.run(1000)
    assert not client.transport.received
    assert len((await call.receive())["body"]) == 100_000
    client.send(bytes(10))
    stage.clock.run(19)  # its time begins now
    assert not client.transport.received
    stage.clock.run(21)
    assert received(client) == SLOW
    await call.end()


async def test_client_that_leaves_while_nobody_takes_its_body(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    stage = Stage()
    client = stage.connect(kernel[0])
    call = await stage.call(client, UPLOAD)
    client.send(bytes(100_000))
    kernel[1].close()
    stage.clock.run(21)
    await rounds()
    assert client.transport.aborted
    await call.end()


async def test_body_that_came_with_its_head_has_no_rate() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5 + b"hello")
    stage.clock.run(1000)
    await call.answer()
    assert received(client) == HELLO


async def test_body_that_waits_for_100_continue() -> None:
    stage = Stage()
    client = stage.connect()
    request = POST_5.replace(b"Host", b"Expect: 100-continue\r\nHost")
    call = await stage.call(client, request)
    stage.clock.run(1000)
    assert not client.transport.received
    receiving = asyncio.ensure_future(call.receive())
    await rounds()
    assert client.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hello")
    await receiving
    await call.answer()
    assert received(client) == HELLO


async def test_stalled_server_does_not_count_against_an_upload() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, UPLOAD)
    stage.clock.tick(3600)
    stage.clock.run(17)
    assert not client.transport.received
    client.send(bytes(50_000))
    stage.clock.run(10)
    assert not client.transport.received
    client.vanish()
    await call.end()


async def test_rest_of_a_request_that_does_not_come() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5)
    await call.answer()
    assert phase(client) == "DRAINING"
    assert stage.clock.tick() == 0
    client.send(b"hell")
    assert stage.clock.tick() == 1
    assert client.closed()
    assert not client.transport.aborted
    assert received(client) == HELLO


async def test_lingering_ends() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5.replace(b" 5", b" %d" % (DRAIN_BYTES + 1)))
    await call.answer()
    assert received(client) == BYE
    assert client.transport.eof_received
    for _ in range(2):
        assert not client.closed()
        client.send(b"x" * 1000)
        stage.clock.tick()
    assert client.closed()


async def test_lingering_ends_for_who_does_not_read_either() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5.replace(b" 5", b" %d" % (DRAIN_BYTES + 1)))
    client.transport.reads = False
    await call.answer()
    stage.clock.run(2)
    assert phase(client) == "CLOSING"
    assert client.transport.is_closing()
    client.transport.take(1000)
    assert client.closed()
    assert received(client) == BYE


async def test_closing_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with TLS, where the peer has a word in it."""
    stage = Stage()
    client = stage.connect()
    monkeypatch.setattr(client.transport, "close", lambda: None)
    await (await stage.call(client, OLD)).answer()
    assert stage.clock.run(59) == 0
    stage.clock.tick()
    assert client.transport.aborted


async def test_lingering_ends_when_the_client_does() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5.replace(b" 5", b" %d" % (DRAIN_BYTES + 1)))
    await call.answer()
    client.send_eof()
    assert client.closed()


async def test_transport_that_cannot_be_closed_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with TLS."""
    stage = Stage()
    client = stage.connect()
    monkeypatch.setattr(client.transport, "can_write_eof", lambda: False)
    client.send(b"\x00\r\n\r\n")
    assert client.received().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert client.closed()


# A peer that reads slowly, or not at all


async def test_peer_that_reads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    client = stage.connect()
    call, sending = await stream_to_nobody(stage, client)
    assert stage.clock.run(59) == 0
    assert stage.clock.tick() == 1
    assert client.transport.aborted
    with pytest.raises(ClientDisconnected):
        await sending
    assert caplog.messages == [
        "Closed 192.0.2.2:50000: it does not read its response (--write-timeout)"
    ]
    await call.end()
    assert not stage.context.connections


async def test_peer_that_reads_slowly() -> None:
    stage = Stage()
    client = stage.connect()
    call, sending = await stream_to_nobody(stage, client)
    for _ in range(20):
        stage.clock.run(59)
        client.transport.take(1)
        stage.clock.run(1)
        assert not client.closed()
    client.transport.take(MORE)
    await sending
    assert phase(client) == "RECEIVING"  # for want of knowing better
    stage.clock.run(1000)
    client.transport.take(MORE)
    await call.send(body())
    await call.end()
    assert not client.closed()


async def test_peer_that_stops_reading() -> None:
    stage = Stage()
    client = stage.connect()
    call, sending = await stream_to_nobody(stage, client)
    stage.clock.run(30)
    client.transport.take(1)
    stage.clock.run(30)
    assert not client.closed()
    stage.clock.run(60)
    assert client.transport.aborted
    with pytest.raises(ClientDisconnected):
        await sending
    await call.end()


async def test_peer_that_reads_nothing_but_asks_for_more() -> None:
    """A further request does not switch the deadline off."""
    stage = Stage()
    client = stage.connect()
    call, sending = await stream_to_nobody(stage, client)
    client.send(GET + GET)
    stage.clock.run(60)
    assert client.transport.aborted
    with pytest.raises(ClientDisconnected):
        await sending
    await call.end()


async def test_complete_response_that_nobody_reads() -> None:
    """No further request is begun, and the deadline is that of writing."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.transport.reads = False
    client.send(GET)
    await call.answer(bytes(MORE))
    assert len(stage.calls) == 1
    assert phase(client) == "WRITING"
    assert stage.clock.run(59) == 0
    stage.clock.tick()
    assert client.transport.aborted


async def test_early_response_that_nobody_reads() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5)
    client.transport.reads = False
    await call.answer(bytes(MORE))
    client.send(b"hello" + GET)
    assert len(stage.calls) == 1
    assert phase(client) == "WRITING"
    stage.clock.run(60)
    assert client.transport.aborted


async def test_unread_response_before_a_refusal() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.transport.reads = False
    client.send(b"GET / HTTP/2.0\r\n\r\n")
    await call.answer(bytes(MORE))
    client.transport.take(MORE)
    client.transport.take(MORE)
    assert b"\r\n\r\nHTTP/2.0 is not spoken here" in client.received()
    assert phase(client) == "DRAINING"
    client.send_eof()
    assert client.closed()


async def test_unread_response_is_read_at_last() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.transport.reads = False
    client.send(GET)
    await call.answer(bytes(MORE))
    stage.clock.run(50)
    client.transport.reads = True
    client.transport.take(MORE + 1000)
    await rounds()
    assert len(stage.calls) == 2
    client.received()
    await stage.calls[1].answer()
    assert received(client) == HELLO
    assert phase(client) == "IDLE"


async def test_small_response_that_nobody_reads() -> None:
    """It fits into the buffer, so nobody waits for it but the sweep."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.transport.reads = False
    await call.answer()
    assert phase(client) == "IDLE"
    stage.clock.run(75)
    assert not client.closed()
    stage.clock.run(60)
    assert client.transport.aborted


async def test_small_responses_that_are_read_late() -> None:
    """Each has the time for itself."""
    stage = Stage()
    client = stage.connect()
    for _ in range(3):
        call = await stage.call(client)
        client.transport.reads = False
        await call.answer()
        stage.clock.run(100)
        client.transport.reads = True
        client.transport.take(1000)
        assert received(client) == HELLO
        assert not client.closed()


async def test_last_response_that_nobody_reads() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, OLD)
    client.transport.reads = False
    await call.answer()
    assert phase(client) == "CLOSING"
    stage.clock.run(30)
    client.transport.take(10)
    stage.clock.run(30)
    assert not client.closed()
    stage.clock.run(60)
    assert client.transport.aborted


async def test_last_response_that_is_read_slowly() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, OLD)
    client.transport.reads = False
    await call.answer()
    while not client.closed():
        client.transport.take(1)
        stage.clock.run(59)
    assert received(client).endswith(b"\r\n\r\nhello")


async def test_large_last_response_that_is_read_slowly() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, OLD)
    client.transport.reads = False
    await call.answer(bytes(MORE))
    assert phase(client) == "CLOSING"
    client.transport.take(MORE)
    assert phase(client) == "CLOSING"
    assert not client.closed()
    client.transport.take(MORE)
    assert client.closed()


async def test_refusal_to_who_reads_nothing() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.transport.reads = False
    await call.answer(bytes(Limits.write_buffer - 200))
    client.send(b"\x00\r\n\r\n")
    assert phase(client) == "DRAINING"
    stage.clock.run(2 + 60)
    assert client.transport.aborted


async def test_no_write_deadline() -> None:
    stage = Stage(write_timeout=0)
    client = stage.connect()
    call, sending = await stream_to_nobody(stage, client)
    assert stage.clock.run(100_000) == 0
    client.vanish()
    with pytest.raises(ClientDisconnected):
        await sending
    await call.end()


# The clock


async def test_stalled_loop_closes_nobody(empty_kernel: FakeSocket) -> None:
    stage = Stage()
    new, head, idle = (stage.connect(empty_kernel) for _ in range(3))
    head.send(GET[:5])
    await (await stage.call(idle)).answer()
    assert stage.clock.tick(3600) == 0
    assert stage.clock.tick(3600) == 0
    assert not any(client.closed() for client in (new, head, idle))
    stage.clock.run(15)
    assert (new.closed(), idle.closed()) == (True, False)
    assert received(head) == TIMEOUT


async def test_bytes_in_the_kernel_keep_an_idle_connection(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    ours, theirs = kernel
    stage = Stage()
    client = stage.connect(ours)
    await (await stage.call(client)).answer()
    theirs.send(GET)
    stage.clock.run(80)
    assert not client.closed()
    await (await stage.call(client)).answer()
    assert received(client) == HELLO * 2
    assert ours.sock is not None
    ours.sock.recv(1000)
    stage.clock.run(75)
    assert client.closed()


async def test_bytes_in_the_kernel_keep_a_new_connection(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    ours, theirs = kernel
    stage = Stage()
    client = stage.connect(ours)
    theirs.send(GET)
    stage.clock.run(30)
    assert not client.closed()


# A client that closes its side, or leaves


async def test_half_closed_client_is_answered() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.send_eof()
    await call.answer()
    assert received(client) == BYE
    assert client.closed()


async def test_half_closed_client_is_answered_late() -> None:
    """The application is told that it may be gone; it need not care."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.receive()
    listening = asyncio.ensure_future(call.receive())
    client.send_eof()
    await rounds()
    assert not listening.done()
    stage.clock.run(round(HALF_CLOSE_SECONDS))
    assert (await listening)["type"] == "http.disconnect"
    stage.clock.run(5)
    await call.answer()
    assert received(client) == BYE
    assert client.closed()


async def test_half_closed_client_reads_a_long_stream() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.receive()
    client.send_eof()
    await call.stream(b"a", (b"content-length", b"2"))
    listening = asyncio.ensure_future(call.receive())
    stage.clock.run(100)
    await rounds()
    assert not listening.done()
    await call.send(body(b"b"))
    await call.end()
    assert client.received().endswith(b"connection: close\r\n\r\nab")
    assert client.closed()
    await listening


async def test_half_closed_client_and_application_that_gives_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.receive()
    client.send_eof()
    stage.clock.run(round(HALF_CLOSE_SECONDS))
    await call.end()
    assert client.closed()
    assert client.received() == b""
    assert caplog.records == []


async def test_half_closed_client_and_application_that_ignores_it() -> None:
    stage = Stage(application_close_timeout=10)
    client = stage.connect()
    call = await stage.call(client)
    await call.receive()
    client.send_eof()
    stage.clock.run(round(HALF_CLOSE_SECONDS) + 9)
    await rounds()
    assert call.cancellations == []
    stage.clock.run(1)
    await rounds()
    assert call.cancellations
    assert client.closed()


@pytest.mark.parametrize("unread", [False, True], ids=["read", "unread"])
async def test_leaver_ends_a_stream_at_once(unread: bool) -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.receive()
    await call.stream()
    client.transport.reads = not unread
    await call.send(body(b"a", more=True))
    listening = asyncio.ensure_future(call.receive())
    client.send_eof()
    assert (await listening)["type"] == "http.disconnect"
    with pytest.raises(ClientDisconnected):
        await call.send(body(b"b", more=True))
    assert client.closed() is not unread
    assert client.transport.late_writes == 0
    client.transport.take(1000)
    assert client.closed()
    assert client.received().endswith(b"1\r\na\r\n")
    await call.end()


async def test_leaver_who_never_reads_the_rest() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.transport.reads = False
    await call.stream(b"a")
    client.send_eof()
    stage.clock.run(60)
    assert client.transport.aborted
    await call.end()


async def test_leaver_in_a_response_that_ends_with_the_connection(
    empty_kernel: FakeSocket,
) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    call = await stage.call(client, OLD)
    await call.stream(b"a")
    client.send_eof()
    assert client.transport.aborted
    assert empty_kernel.options == [RESET]
    await call.end()


async def test_leaver_between_requests() -> None:
    stage = Stage()
    client = stage.connect()
    await (await stage.call(client)).answer()
    client.send_eof()
    assert client.closed()


async def test_leaver_in_a_body() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5 + b"he")
    assert (await call.receive())["body"] == b"he"
    receiving = asyncio.ensure_future(call.receive())
    client.send_eof()
    assert (await receiving)["type"] == "http.disconnect"
    assert client.closed()
    assert client.received() == b""
    await call.end()


async def test_vanished_client(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(application_close_timeout=10)
    client = stage.connect()
    call = await stage.call(client)
    await call.receive()
    client.vanish()
    assert (await call.receive())["type"] == "http.disconnect"
    with pytest.raises(ClientDisconnected):
        await call.send(start())
    assert caplog.records == []
    stage.clock.run(10)
    await rounds()
    assert call.cancellations


async def test_writes_to_a_closed_transport_are_few() -> None:
    """An application that never waits by itself waits here, until it is told."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.stream()

    async def send_on() -> None:
        for _ in range(100):
            await call.send(body(b"x", more=True))

    client.vanish()
    with pytest.raises(ClientDisconnected):
        await send_on()
    assert client.transport.late_writes == 1
    await call.end()


# Breaking off

RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_failure_in_a_chunked_response(
    empty_kernel: FakeSocket, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    call = await stage.call(client)
    await call.stream(b"a")
    await call.end(ZeroDivisionError())
    assert client.received().endswith(b"1\r\na\r\n")
    assert client.closed()
    assert empty_kernel.options == []
    assert len(caplog.records) == 1


async def test_failure_in_a_response_that_ends_with_the_connection(
    empty_kernel: FakeSocket,
) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    call = await stage.call(client, OLD)
    await call.stream(b"a")
    await call.end(ZeroDivisionError())
    assert client.closed()
    assert empty_kernel.options == [RESET]


async def test_failure_before_the_response() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.end(ZeroDivisionError())
    assert received(client) == (
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: 21\r\ndate: now\r\nserver: aserver\r\nconnection: close\r\n\r\n"
        b"Internal Server Error"
    )
    assert client.closed()


async def test_application_that_is_too_slow() -> None:
    stage = Stage(http_timeout=5)
    client = stage.connect()
    call = await stage.call(client)
    stage.clock.run(5)
    assert client.received().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert client.closed()
    await call.end()


# Draining, as a server does that stops


@pytest.mark.parametrize("patient", [False, True])
async def test_drain_of_a_new_connection(empty_kernel: FakeSocket, patient: bool) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    stage.context.draining = True
    client.connection.drain(patient=patient)
    assert client.closed() is not patient
    if patient:
        await (await stage.call(client)).answer()
        assert received(client) == BYE
        assert client.closed()


async def test_drain_of_an_idle_connection(empty_kernel: FakeSocket) -> None:
    stage = Stage()
    client = stage.connect(empty_kernel)
    await (await stage.call(client)).answer()
    client.connection.drain()
    assert client.closed()


async def test_drain_of_an_idle_connection_leaves_time_for_one_more_request(
    empty_kernel: FakeSocket,
) -> None:
    """A proxy that has sent it already would not send it again if it is a POST."""
    stage = Stage()
    client = stage.connect(empty_kernel)
    await (await stage.call(client)).answer()
    assert received(client) == HELLO
    client.connection.drain(patient=True)
    assert not client.closed()
    await (await stage.call(client)).answer()
    assert received(client) == BYE
    assert client.closed()


async def test_drain_of_an_idle_connection_with_a_request_in_the_kernel(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    ours, theirs = kernel
    stage = Stage()
    client = stage.connect(ours)
    await (await stage.call(client)).answer()
    assert received(client) == HELLO
    theirs.send(GET)
    client.connection.drain()
    assert not client.closed()
    await (await stage.call(client)).answer()
    assert received(client) == BYE
    assert client.closed()


async def test_drain_in_a_head() -> None:
    stage = Stage()
    client = stage.connect()
    client.send(GET[:5])
    client.connection.drain()
    await (await stage.call(client, GET[5:])).answer()
    assert received(client) == BYE
    assert client.closed()


async def test_drain_of_a_busy_connection() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.connection.drain()
    await call.answer()
    assert received(client) == BYE
    assert client.closed()


async def test_drain_of_a_stream() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    await call.stream(b"a")
    client.connection.drain()
    await call.send(body(b"b"))
    assert client.received().endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert client.closed()
    await call.end()


async def test_abort_by_a_server_that_waits_no_longer() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.connection.abort()
    assert (await call.receive())["type"] == "http.request"
    await rounds()
    assert (await call.receive())["type"] == "http.disconnect"
    assert client.transport.aborted
    await call.end()


async def test_connection_to_a_server_that_drains() -> None:
    stage = Stage()
    stage.context.draining = True
    client = stage.connect()
    await (await stage.call(client)).answer()
    assert received(client) == BYE
    assert client.closed()


async def test_settled_when_the_last_connection_ends(empty_kernel: FakeSocket) -> None:
    stage = Stage()
    clients = [stage.connect(empty_kernel) for _ in range(2)]
    settled = asyncio.ensure_future(stage.context.settled())
    clients[0].vanish()
    await rounds()
    assert not settled.done()
    clients[1].connection.drain()
    await settled


# The connection itself


async def test_repr() -> None:
    stage = Stage()
    assert repr(Connection(stage.context)) == "<Connection NEW>"
    client = stage.connect()
    call = await stage.call(client)
    assert repr(client.connection) == (
        "<Connection 192.0.2.2:50000 ACTIVE <H1 reading=HELD writing=AWAITED held=0>>"
    )
    client.vanish()
    await rounds()
    assert repr(client.connection) == "<Connection ACTIVE>"
    await call.end()


async def test_every_request_has_a_scope_of_its_own() -> None:
    """Concurrent connections, pipelined requests: nobody gets what is another's."""
    stage = Stage()
    clients = [stage.connect() for _ in range(20)]
    for number, client in enumerate(clients):
        requests = [f"GET /{number}/{i} HTTP/1.1\r\nHost: a\r\n\r\n" for i in range(5)]
        client.send("".join(requests).encode())
    for _ in range(5):
        await rounds(3)
        for call in [call for call in stage.calls if not call.over.is_set()][::-1]:
            await call.answer(call.scope["path"].encode())
    for number, client in enumerate(clients):
        paths = re.findall(rb"\r\n\r\n(/[0-9/]+)", client.received())
        assert paths == [b"/%d/%d" % (number, i) for i in range(5)]


async def test_what_an_application_adds_is_nobody_elses() -> None:
    """Not the next request's either, which has the same head and is not parsed again."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(list(scope["headers"]))
        scope["headers"].append((b"x-user", b"admin"))
        await send(start())
        await send(body(b""))

    client = Client(new_context(app))
    for _ in range(4):
        client.send(GET)
        await rounds(3)
    assert seen == [[(b"host", b"a")]] * 4
