"""The connection above TLS: its phases, deadlines and ends, on a transport in memory.

`test_connection_tls_insecure` has those where TLS fails, or never begins.
"""

import asyncio
import gc
import logging
import ssl
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aserver import http_exchange
from aserver.limits import HALF_CLOSE_SECONDS
from aserver.redirecting import RedirectingConnection
from aserver.tls_contexts import Certificates
from aserver.types import ClientDisconnected
from tests.certificates import Authority
from tests.fakes import body, rounds, start
from tests.stage import GET, MORE, POST_5, Call, Stage
from tests.tls_stage import TLS_1_3, VERSIONS, TlsClient, certificates, client_of
from tests.ws_clients import TEXT, frame, handshake

pytestmark = pytest.mark.asyncio

RECORD = 1 << 14


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture(autouse=True)
def no_errors_in_callbacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The event loop logs them, and goes on."""
    yield
    assert [each for each in caplog.get_records("call") if each.name == "asyncio"] == []


@pytest.fixture(scope="module")
def source(authority: Authority) -> Certificates:
    return certificates(authority.issue())


Connect = Callable[..., TlsClient]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def connect(source: Certificates, authority: Authority, request: pytest.FixtureRequest) -> Connect:
    """A new client of a stage, for each version of TLS; the handshake is to come."""
    return lambda stage, *alpn: TlsClient(stage, source, client_of(authority, request.param, *alpn))


@pytest.fixture
def newest(source: Certificates, authority: Authority) -> Connect:
    """The same for TLS 1.3."""
    return lambda stage, *alpn: TlsClient(stage, source, client_of(authority, TLS_1_3, *alpn))


def secured(client: TlsClient) -> TlsClient:
    client.shake_hands()
    assert client.received() == b""
    return client


async def call(stage: Stage, client: TlsClient, data: bytes = GET) -> Call:
    count = len(stage.calls)
    client.send(data)
    await rounds(3)
    assert len(stage.calls) == count + 1
    return stage.calls[-1]


# Exchanges


@pytest.mark.parametrize("http2", [False, True])
async def test_phases(connect: Connect, http2: bool) -> None:
    stage = Stage(http2=http2)
    client = connect(stage)
    assert client.phase == "HANDSHAKE"
    assert "<Opening" in repr(client.connection)  # whatever it is going to be
    client.feed(client.hello())
    assert client.phase == "HANDSHAKE"
    client.pull()
    secured(client)
    assert client.phase == "NEW"
    client.send(GET[:5])
    assert client.phase == "HEAD"
    for data in (GET[5:], GET):
        made = await call(stage, client, data)
        assert client.phase == "ACTIVE"
        await made.answer()
        assert client.received().endswith(b"hello")
        assert client.phase == "IDLE"
    assert not client.has_ended


async def test_scope(connect: Connect) -> None:
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client)
    assert made.scope["scheme"] == "https"
    tls = made.scope["extensions"]["tls"]
    assert tls["tls_version"] == {"TLSv1.2": 0x303, "TLSv1.3": 0x304}[client.tls.version() or ""]
    assert tls["client_cert_chain"] == ()
    tls.clear()  # it is this request's own
    await made.answer()
    made = await call(stage, client)
    assert made.scope["extensions"]["tls"]["server_cert"].startswith("-----BEGIN CERTIFICATE")
    await made.answer()


@pytest.mark.parametrize(
    ("alpn", "engine"), [(("h2", "http/1.1"), "H2"), (("http/1.1",), "H1"), ((), "H1")]
)
async def test_what_alpn_chose_is_spoken(
    connect: Connect, alpn: tuple[str, ...], engine: str
) -> None:
    client = connect(Stage(), *alpn)
    client.shake_hands()
    assert f"<{engine}" in repr(client.connection)
    assert client.phase == "NEW"


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
async def test_http2_must_be_agreed_upon(newest: Connect, alpn: tuple[str, ...]) -> None:
    """RFC 9113 section 3.2: with TLS, a preface alone does not do."""
    stage = Stage()
    client = secured(newest(stage, *alpn))
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert client.received().startswith(b"HTTP/1.1 ")
    assert client.has_ended
    assert stage.calls == []


async def test_requests_in_one_read(connect: Connect) -> None:
    stage = Stage()
    client = secured(connect(stage))
    for _ in range(3):
        client.tls.write(GET)
    client.push()
    for count in (1, 2, 3):
        await rounds(5)
        assert len(stage.calls) == count
        await stage.calls[-1].answer()
    assert client.received().count(b"hello") == 3


async def test_websocket(newest: Connect) -> None:
    stage = Stage()
    client = secured(newest(stage))
    made = await call(stage, client, handshake("/"))
    assert made.scope["type"] == "websocket"
    assert made.scope["scheme"] == "wss"
    assert made.scope["extensions"]["tls"]["tls_version"] == 0x304
    await made.send({"type": "websocket.accept"})
    assert client.received().startswith(b"HTTP/1.1 101 ")
    client.send(frame(TEXT, b"text"))
    assert await made.receive() == {"type": "websocket.receive", "text": "text"}
    await made.send({"type": "websocket.send", "text": "answer"})
    assert client.received() == b"\x81\x06answer"
    client.notify()  # half of a WebSocket is none
    assert (await made.receive())["type"] == "websocket.disconnect"
    await made.end()
    assert not stage.context.connections


# Backpressure


async def test_a_body_that_is_not_read_and_then_is(connect: Connect) -> None:
    """Reading stops; what is decrypted late is what was sent."""
    stage = Stage(read_buffer=65_536)
    client = secured(connect(stage))
    data = bytes(range(256)) * 1024  # 256 KiB
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data)
    made = await call(stage, client, head)
    for begin in range(0, len(data), RECORD):
        client.tls.write(data[begin : begin + RECORD])
    client.push()  # in one piece: event loops read as much at once
    assert not client.is_read()
    taken = b""
    while len(taken) < len(data):
        taken += (await asyncio.wait_for(made.receive(), 5))["body"]
    assert taken == data
    assert client.is_read()
    await made.answer()
    assert client.received().endswith(b"hello")
    assert client.phase == "IDLE"


async def test_a_request_that_waits_decrypted_is_not_forgotten_on_drain(newest: Connect) -> None:
    """Reading was paused for what came before it."""
    stage = Stage(read_buffer=1024)
    client = secured(newest(stage))
    long = GET.replace(b"Host", b"X: " + b"x" * 4000 + b"\r\nHost")
    for data in (GET, long, GET):
        client.tls.write(data)
    client.push()
    await rounds(3)
    await stage.calls[0].answer()
    await rounds(3)
    await stage.calls[1].answer()
    client.connection.drain()
    await rounds(3)
    assert len(stage.calls) == 3
    await stage.calls[2].answer()
    assert client.received().count(b"hello") == 3


async def test_a_response_that_is_not_read(connect: Connect) -> None:
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client)
    client.line.reads = False
    await made.send(start())
    sending = asyncio.ensure_future(made.send(body(bytes(MORE), more=True)))
    await rounds()
    assert not sending.done()
    assert client.phase == "WRITING"
    client.line.take(1 << 20)
    await rounds()
    assert sending.done()
    assert client.phase == "RECEIVING"
    client.line.reads = True
    await made.send(body())
    await made.end()
    assert client.received().endswith(b"\r\n0\r\n\r\n")


async def test_a_response_that_is_never_read(
    newest: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    client = secured(newest(stage))
    made = await call(stage, client)
    client.line.reads = False
    await made.send(start())
    sending = asyncio.ensure_future(made.send(body(bytes(MORE), more=True)))
    await rounds()
    stage.clock.run(121)
    assert client.aborted()
    with pytest.raises(ClientDisconnected):
        await sending
    await made.end()
    assert "(--write-timeout)" in caplog.text
    assert not stage.context.connections


async def test_the_line_is_full_in_the_handshake(connect: Connect) -> None:
    """A client that reads late, from the beginning."""
    stage = Stage(write_buffer=1000)
    client = connect(stage)
    client.line.reads = False
    client.feed(client.hello())
    paused = [client.connection.write_paused]
    assert client.phase == "HANDSHAKE"
    client.line.take(1 << 20)
    paused.append(client.connection.write_paused)
    assert paused == [True, False]
    client.line.reads = True
    client.pull()
    secured(client)
    made = await call(stage, client)
    await made.answer()
    assert client.received().endswith(b"hello")


async def test_a_file_is_encrypted(connect: Connect, tmp_path: Any) -> None:
    """The kernel would send it as it is."""
    stage = Stage()
    client = secured(connect(stage))
    content = bytes(range(256)) * 1024
    (tmp_path / "file").write_bytes(content)
    made = await call(stage, client)
    await made.send(start(200, (b"content-length", b"%d" % len(content))))
    await made.send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})
    await made.end()
    _head, _, sent = client.received().partition(b"\r\n\r\n")
    assert sent == content


# Deadlines


@pytest.mark.parametrize("begun", [False, True])
async def test_a_handshake_that_takes_too_long(
    newest: Connect, begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """However it comes: byte by byte it has no more time."""
    caplog.set_level(logging.INFO)
    stage = Stage(tls_handshake_timeout=10)
    client = newest(stage)
    hello = client.hello()
    for place in range(9):
        if begun:
            client.feed(hello[place : place + 1])
        assert stage.clock.tick() == 0
    assert not client.aborted()
    stage.clock.tick()
    assert client.aborted()
    await rounds(1)
    assert not stage.context.connections
    (message,) = caplog.messages
    assert message == (
        "Closed 192.0.2.2:50000: the TLS handshake took too long (--tls-handshake-timeout)"
    )


async def test_a_handshake_without_a_limit(newest: Connect) -> None:
    stage = Stage(tls_handshake_timeout=0)
    client = newest(stage)
    stage.clock.run(1000)
    secured(client)


async def test_nothing_behind_the_handshake(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The first byte's time begins with the end of the handshake."""
    caplog.set_level(logging.INFO)
    stage = Stage(tls_handshake_timeout=10, first_byte_timeout=5)
    client = connect(stage)
    stage.clock.run(8)
    secured(client)
    stage.clock.run(4)
    assert not client.closed()
    stage.clock.run(1)
    assert client.closed()
    client.received()
    assert client.has_ended
    assert "(--first-byte-timeout)" in caplog.text


async def test_half_a_head(connect: Connect) -> None:
    stage = Stage()
    client = secured(connect(stage))
    client.send(GET[:-2])
    stage.clock.run(15)
    assert client.received().startswith(b"HTTP/1.1 408 ")
    assert client.has_ended


async def test_half_a_record_is_nothing(newest: Connect) -> None:
    """Bytes that cannot be decrypted yet are no progress."""
    stage = Stage(first_byte_timeout=5)
    client = secured(newest(stage))
    client.tls.write(GET)
    record = client.outgoing.read()
    for place in range(5):
        client.feed(record[place : place + 1])
        assert client.phase == "NEW"
        stage.clock.tick()
    assert client.closed()


async def test_idle(connect: Connect) -> None:
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client)
    await made.answer()
    stage.clock.run(74)
    assert not client.closed()
    stage.clock.run(1)
    assert client.closed()
    client.received()
    assert client.has_ended


async def test_refused_while_more_comes(connect: Connect) -> None:
    """The client shall see the answer: our side is closed, and what comes is thrown away."""
    stage = Stage(max_body_size=10)
    client = secured(connect(stage))
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
    assert client.received().startswith(b"HTTP/1.1 413 ")
    assert client.has_ended
    assert client.phase == "DRAINING"
    for _ in range(10):
        client.send(bytes(1000))
    assert not client.closed()
    stage.clock.run(2)
    assert client.closed()
    assert client.line.late_writes == 0


# The end


@pytest.mark.parametrize("below", [False, True])
async def test_the_client_ends_and_waits_for_its_answer(connect: Connect, below: bool) -> None:
    """With a word of TLS, or without one."""
    stage = Stage()
    client = secured(connect(stage))
    client.tls.write(GET)
    if below:
        client.push()
        client.feed_eof()
    else:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.push()
    await rounds(3)
    made = stage.calls[-1]
    await made.answer()
    sizes = client.line.pieces
    assert client.closed()
    assert sum(sizes) > 100
    await rounds(1)
    assert not stage.context.connections


async def test_the_client_ends_and_the_answer_takes_its_time(newest: Connect) -> None:
    stage = Stage()
    client = secured(newest(stage))
    made = await call(stage, client)
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.push()
    assert (await made.receive())["type"] == "http.request"
    waiting = asyncio.ensure_future(made.receive())
    await rounds()
    assert not waiting.done()
    stage.clock.tick(HALF_CLOSE_SECONDS)
    await rounds()
    assert waiting.done()  # it may be gone
    await made.end()


async def test_bytes_behind_the_clients_end_are_no_sign_of_life(newest: Connect) -> None:
    stage = Stage()
    client = secured(newest(stage))
    made = await call(stage, client)
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.push()
    assert (await made.receive())["type"] == "http.request"
    waiting = asyncio.ensure_future(made.receive())
    for _ in range(10):
        await rounds()
        stage.clock.tick(HALF_CLOSE_SECONDS / 2)
        client.line.get_protocol().data_received(bytes(100))
    await rounds()
    is_told = waiting.done()
    await made.end()
    waiting.cancel()
    assert is_told


@pytest.mark.parametrize("below", [False, True])
async def test_the_client_ends_in_the_middle_of_a_body(connect: Connect, below: bool) -> None:
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client, POST_5 + b"ab")
    if below:
        client.feed_eof()
    else:
        client.notify()
    await rounds(2)
    assert not stage.context.connections
    messages = [await made.receive(), await made.receive()]
    assert messages[-1]["type"] == "http.disconnect"
    await made.end()


@pytest.mark.parametrize("below", [False, True])
async def test_the_client_ends_between_requests(connect: Connect, below: bool) -> None:
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client)
    await made.answer()
    client.received()
    if below:
        client.feed_eof()
    else:
        client.notify()
    assert client.closed()
    await rounds(1)
    assert not stage.context.connections


@pytest.mark.parametrize("when", ["new", "handshake", "open", "active", "idle", "draining"])
async def test_the_connection_is_lost_and_nothing_refers_to_it(connect: Connect, when: str) -> None:
    stage = Stage(max_body_size=10)
    client = connect(stage)
    made = None
    if when == "handshake":
        client.feed(client.hello())
    elif when != "new":
        secured(client)
    if when in ("active", "idle"):
        made = await call(stage, client)
        if when == "idle":
            await made.answer()
    elif when == "draining":
        client.send(POST_5.replace(b"5", b"50"))
        assert client.phase == "DRAINING"
    client.vanish()
    await rounds(2)
    assert not stage.context.connections
    if made is not None:
        await made.end()
    line, connection = client.line, weakref.ref(client.connection)
    gc.collect()
    gc.disable()
    try:
        del client, made
        stage.calls.clear()
        await rounds(3)
        assert connection() is None
    finally:
        gc.enable()
    assert line.closed


# Stopping


async def test_idle_connections_are_closed_with_a_word(connect: Connect) -> None:
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client)
    await made.answer()
    client.received()
    stage.context.draining = True
    client.connection.drain()
    client.received()
    assert client.has_ended
    assert client.closed()


async def test_a_request_at_work_is_the_last(connect: Connect) -> None:
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client)
    stage.context.draining = True
    client.connection.drain()
    assert not client.closed()
    await made.answer()
    answer = client.received()
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"hello")
    assert client.has_ended


async def test_a_handshake_at_work_has_one_request(connect: Connect) -> None:
    stage = Stage()
    client = connect(stage)
    client.feed(client.hello())
    stage.context.draining = True
    client.connection.drain(patient=True)
    assert not client.closed()
    client.pull()
    secured(client)
    made = await call(stage, client)
    await made.answer()
    assert b"\r\nconnection: close\r\n" in client.received()
    assert client.has_ended


async def test_a_handshake_that_stalls_does_not_hold_up_the_end(newest: Connect) -> None:
    """As with those that have sent nothing: when patience is over, they go."""
    stage = Stage()
    plain = stage.connect()
    clients = [newest(stage), newest(stage)]
    clients[1].feed(clients[1].hello())
    stage.context.draining = True
    for each in (plain.connection, *(client.connection for client in clients)):
        each.drain()
    assert plain.closed()
    assert [client.closed() for client in clients] == [True, True]


# Who waits to be let in


@pytest.mark.parametrize("early", [0, 1, 10, 1 << 20])
async def test_bytes_that_came_while_it_waited(connect: Connect, early: int) -> None:
    stage = Stage(max_connections=1)
    first = secured(connect(stage))
    second = connect(stage)
    assert not second.is_read()
    hello = second.hello()
    if early:
        second.line.get_protocol().data_received(hello[:early])  # uvloop reads once
    assert len(stage.context.connections) == 1
    first.notify()
    await rounds(2)
    assert second.phase == "HANDSHAKE"
    assert second.is_read()
    if hello[early:]:
        second.feed(hello[early:])
    second.pull()
    secured(second)
    made = await call(stage, second)
    await made.answer()
    assert second.received().endswith(b"hello")


@pytest.mark.parametrize("kind", ["cleartext", "broken", "hello"])
async def test_what_came_while_it_waited_and_then_the_end(newest: Connect, kind: str) -> None:
    stage = Stage(max_connections=1)
    first = secured(newest(stage))
    second = newest(stage)
    waiting = second.line.get_protocol()
    data = {"cleartext": GET, "broken": b"\x16" * 100, "hello": second.hello()}[kind]
    waiting.data_received(data)
    assert waiting.eof_received()
    first.notify()
    await rounds(3)
    assert second.closed()
    assert not stage.context.connections
    assert second.line.received.startswith(b"HTTP/1.1 400 ") is (kind == "cleartext")
    assert second.line.late_writes == 0


async def test_the_time_in_which_it_waited_is_not_the_handshakes(newest: Connect) -> None:
    stage = Stage(max_connections=1, tls_handshake_timeout=10, keep_alive=0, first_byte_timeout=0)
    first = secured(newest(stage))
    second = newest(stage)
    stage.clock.run(100)
    first.notify()
    await rounds(2)
    stage.clock.run(9)
    secured(second)


async def test_idle_tls_connections_make_room(newest: Connect) -> None:
    stage = Stage(max_connections=1)
    first = secured(newest(stage))
    made = await call(stage, first)
    await made.answer()
    first.received()
    second = newest(stage)
    await rounds(2)
    first.received()
    assert first.has_ended
    secured(second)


# Redirecting is for cleartext


async def test_redirecting_connections_speak_no_tls(newest: Connect) -> None:
    stage = Stage()
    assert RedirectingConnection(stage.context, 443)._certificates is None
