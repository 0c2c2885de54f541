"""The connection where TLS fails, or never begins: what the client is told, and what the log."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aserver import http_exchange
from aserver.tls_contexts import Certificates
from aserver.types import ClientDisconnected
from tests.certificates import Authority
from tests.fakes import body, rounds, start
from tests.stage import GET, MORE, Call, Stage
from tests.tls_records import RecordMaker
from tests.tls_stage import TLS_1_3, VERSIONS, TlsClient, certificates, client_of

pytestmark = pytest.mark.asyncio


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


@pytest.mark.parametrize(
    "data", [GET, b"G", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x80\x2e\x01\x00\x02", b"\0"]
)
async def test_cleartext(newest: Connect, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    client = newest(stage)
    client.feed(data)
    answer = client.line.received
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nthis port speaks TLS: use https://\n")
    assert client.line.eof_received
    assert client.phase == "DRAINING"
    client.feed_eof()
    await rounds(1)
    assert not stage.context.connections
    (message,) = caplog.messages
    assert message == ("Refused a request from 192.0.2.2:50000: this port speaks TLS: use https://")
    assert stage.calls == []


async def test_broken_handshakes_do_not_fill_the_log(
    newest: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    for _ in range(100):
        newest(stage).feed(b"\x16GET / HTTP/1.1\r\n\r\n")
        client = newest(stage)
        client.feed(GET)
        client.feed_eof()
    await rounds(1)
    assert not stage.context.connections
    assert len(caplog.messages) == 10
    assert all(record.levelno == logging.INFO for record in caplog.records)
    assert caplog.messages[0] == "TLS with 192.0.2.2:50000 failed: wrong version number"
    stage.clock.run(60)
    assert len(caplog.messages) == 12


async def test_a_record_that_was_changed_while_a_request_is_answered(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    client = secured(connect(stage))
    made = await call(stage, client)
    client.tls.write(GET)
    changed = bytearray(client.outgoing.read())
    changed[-1] ^= 1
    client.feed(bytes(changed))
    assert client.closed()
    assert not client.aborted()
    with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
        client.received()
    await rounds(2)
    with pytest.raises(ClientDisconnected):
        await made.send(start())
    await made.end()
    assert not stage.context.connections
    (message,) = caplog.messages
    assert message.startswith("TLS with 192.0.2.2:50000 failed: decryption failed")


async def test_tls_fails_while_a_response_waits_for_the_client(newest: Connect) -> None:
    """Who does not read has as long as without the failure, and not for ever."""
    stage = Stage()
    client = secured(newest(stage))
    made = await call(stage, client)
    client.line.reads = False
    await made.send(start())
    sending = asyncio.ensure_future(made.send(body(bytes(MORE), more=True)))
    await rounds()
    client.feed(bytes(100))
    assert client.phase == "CLOSING"
    assert not client.closed()
    stage.clock.run(1000)
    assert client.aborted()
    with pytest.raises(ClientDisconnected):
        await sending
    await made.end()
    await rounds(1)
    assert not stage.context.connections


@pytest.mark.parametrize("more", [0, 100_000])
async def test_half_a_key_update_and_then_a_response(
    source: Certificates,
    authority: Authority,
    tmp_path: Path,
    more: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """OpenSSL cannot send; the application is not to be told of that by its exceptions."""
    caplog.set_level(logging.INFO)
    stage = Stage()
    context = client_of(authority, TLS_1_3)
    context.keylog_filename = str(tmp_path / "keys")
    client = secured(TlsClient(stage, source, context))
    cipher = client.tls.cipher()
    assert cipher is not None
    records = RecordMaker(tmp_path / "keys", cipher[0])
    client.feed(records.record(GET) + records.part_of_a_key_update(0, 4))
    await rounds(3)
    (made,) = stage.calls
    await made.send(start())
    with contextlib.suppress(ClientDisconnected):
        await made.send(body(bytes(more), more=True))
    assert (await made.receive())["type"] == "http.disconnect"
    with pytest.raises(ClientDisconnected):
        await made.send(body(b"late"))
    await made.end()
    assert client.closed()
    assert not stage.context.connections
    (message,) = caplog.messages
    assert message.endswith(" failed: half a message about new keys has come")
