"""Connections that begin with a PROXY header: whom they are for, and who may have one.

`test_proxied_tls` has those that go on with TLS.
"""

import logging
import socket
from typing import Any

import pytest

from aserver.connection import Connection
from aserver.limits import Phase
from aserver.networks import Networks
from aserver.proxied import ProxiedConnection
from aserver.tls_contexts import Certificates
from aserver.types import Receive, Scope, Send
from tests.fakes import FakeClock, new_context, rounds
from tests.tls_stage import Line

pytestmark = pytest.mark.asyncio

HEADER = b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 443\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Site:
    """One connection, and the scopes that came of it."""

    def __init__(
        self,
        allowed: str = "*",
        certificates: Certificates | None = None,
        *,
        extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.scopes: list[Scope] = []
        self.context = new_context(self.app, **options)
        self.clock = FakeClock(self.context)
        trust = Networks("--list", tuple(allowed.split())).trust
        self.connection = ProxiedConnection(self.context, trust, certificates)
        self.transport = Line(self.connection, **(extra or {}))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def take(self, data: bytes) -> None:
        self.connection.data_received(data)
        await rounds()


async def test_the_client_is_who_the_proxy_says() -> None:
    site = Site()
    await site.take(HEADER)
    await site.take(GET)
    [scope] = site.scopes
    assert scope["client"] == ("203.0.113.9", 5555)
    assert scope["server"] == ("192.0.2.1", 443)
    assert scope["scheme"] == "http"
    assert scope["extensions"]["proxy_protocol"] == {
        "version": 1,
        "proxy": ("192.0.2.2", 50000),
        "tlvs": (),
    }
    assert "203.0.113.9:5555" in repr(site.connection)
    site.transport.abort()


async def test_of_every_request() -> None:
    site = Site()
    await site.take(HEADER + GET + GET)
    await site.take(GET)
    assert [scope["client"] for scope in site.scopes] == [("203.0.113.9", 5555)] * 3
    first, second, _ = (scope["extensions"]["proxy_protocol"] for scope in site.scopes)
    assert first == second
    assert first is not second, "an application may change its own"
    site.transport.abort()


@pytest.mark.parametrize("cut", range(1, len(HEADER) + len(GET)))
async def test_cut_anywhere(cut: int) -> None:
    site = Site()
    data = HEADER + GET
    await site.take(data[:cut])
    await site.take(data[cut:])
    assert [scope["client"] for scope in site.scopes] == [("203.0.113.9", 5555)]
    site.transport.abort()


async def test_http2_behind_it() -> None:
    site = Site()
    await site.take(HEADER + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    assert site.transport.received[3:4] == b"\4", "SETTINGS"
    site.transport.abort()


async def test_a_client_that_came_with_tls() -> None:
    site = Site()
    addresses = bytes([203, 0, 113, 9, 192, 0, 2, 1]) + b"\x15\xb3\x01\xbb"
    body = addresses + b"\x20\0\5\1\0\0\0\0"
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(body).to_bytes(2, "big") + body
    await site.take(header + GET)
    [scope] = site.scopes
    assert scope["scheme"] == "https"
    assert scope["extensions"]["proxy_protocol"]["tlvs"] == ((0x20, b"\1\0\0\0\0"),)
    assert "tls" not in scope["extensions"]
    site.transport.abort()


async def test_a_proxy_that_speaks_for_itself() -> None:
    site = Site()
    await site.take(b"PROXY UNKNOWN\r\n" + GET)
    assert [scope["client"] for scope in site.scopes] == [("192.0.2.2", 50000)]
    site.transport.abort()


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8" + bytes(216),
    ],
    ids=["unknown", "local", "unspecified", "unix"],
)
async def test_headers_of_a_client_without_an_address_are_not_the_proxy_s(header: bytes) -> None:
    """The connection seems to be from the proxy; what comes behind may be anybody's."""
    site = Site(proxy_headers=True, forwarded_allow_ips=("192.0.2.2",))
    forged = b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\r\n"
    await site.take(header + GET.removesuffix(b"\r\n") + forged)
    [scope] = site.scopes
    assert scope["client"] == ("192.0.2.2", 50000)
    assert scope["scheme"] == "http"
    site.transport.abort()


async def test_who_is_not_trusted_is_not_even_heard(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "aserver"):
        site = Site("127.0.0.1 unix")
    assert_reset(site)
    assert caplog.messages == [
        "Refused 192.0.2.2:50000, which is no trusted proxy (--proxy-protocol-allow-ips)"
    ]
    await rounds()
    assert not site.context.connections


def assert_reset(site: Site) -> None:
    """An end could look as if the server had nothing to say."""
    assert site.transport.aborted
    lingering = [option[:2] for option in site.transport.get_extra_info("socket").options]
    assert (socket.SOL_SOCKET, socket.SO_LINGER) in lingering


@pytest.mark.parametrize("allowed", ["127.0.0.1 ::1", "127.0.0.1 unix"])
async def test_a_peer_of_a_unix_socket(allowed: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "aserver"):
        site = Site(allowed, extra={"sockname": "/run/s", "peername": ""})
    if "unix" in allowed:
        await site.take(HEADER + GET)
        assert [scope["client"] for scope in site.scopes] == [("203.0.113.9", 5555)]
        assert caplog.messages == []
        site.transport.abort()
    else:
        assert_reset(site)
        assert [message.partition(",")[0] for message in caplog.messages] == [
            "Refused a unix socket"
        ]


async def test_its_write_buffer_has_a_limit() -> None:
    site = Site(write_buffer=1000)
    site.transport.reads = False
    paused = []
    for size in (1000, 1):
        site.connection.write(bytes(size))
        paused.append(site.connection.write_paused)
    assert paused == [False, True]
    site.transport.abort()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GET, "the connection does not begin with a PROXY header"),
        (b"PROXY TCP4 nonsense\r\n", "the PROXY header is malformed: version 1"),
    ],
)
async def test_without_a_header_there_is_no_answer(
    data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    with caplog.at_level(logging.INFO, "aserver"):
        await site.take(data)
    assert site.transport.aborted
    assert site.transport.received == b""
    assert site.scopes == []
    assert caplog.messages == [f"Refused a request from 192.0.2.2:50000: {reason}"]


async def test_a_second_header_is_no_request() -> None:
    """A client cannot say for whom it is."""
    site = Site()
    await site.take(HEADER + b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + GET)
    assert site.transport.received.startswith(b"HTTP/1.1 400 ")
    assert site.scopes == []
    site.transport.abort()


async def test_it_must_come_in_time(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(proxy_protocol_timeout=5)
    await site.take(HEADER[:9])
    site.clock.run(4)
    assert site.connection.phase is Phase.PREAMBLE
    with caplog.at_level(logging.INFO, "aserver"):
        site.clock.tick()
        await rounds()
    assert site.transport.aborted
    assert caplog.messages == [
        "Closed 192.0.2.2:50000: the PROXY header did not arrive in time (--proxy-protocol-timeout)"
    ]


async def test_behind_it_the_other_deadlines_begin() -> None:
    site = Site(proxy_protocol_timeout=0, first_byte_timeout=15)
    site.clock.run(100)
    await site.take(HEADER)
    assert site.connection.phase is Phase.NEW
    site.clock.run(14)
    assert not site.transport.closed
    site.clock.run(2)
    await rounds()
    assert site.transport.closed


async def test_a_probe_that_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "aserver"):
        site = Site()
        assert site.connection.eof_received() is False
        site.transport.abort()
        await rounds()
    assert caplog.messages == []
    assert not site.context.connections


@pytest.mark.parametrize("patient", [True, False])
async def test_a_stop_meanwhile(patient: bool) -> None:
    """Who has just connected may still send its first request."""
    site = Site()
    site.context.draining = True
    site.connection.drain(patient=patient)
    await rounds()
    assert site.transport.closed is not patient
    if patient:
        await site.take(HEADER + GET)
        assert b"connection: close" in site.transport.received
        assert site.transport.closed or site.transport.eof_received


async def test_headers_count_if_the_client_is_a_proxy() -> None:
    options: dict[str, Any] = {"proxy_headers": True, "forwarded_allow_ips": ("203.0.113.9",)}
    request = GET.replace(b"Host", b"X-Forwarded-For: 198.51.100.1\r\nHost")
    site = Site(**options)
    await site.take(HEADER + request)
    stranger = Site(**options)
    await stranger.take(HEADER.replace(b".9 ", b".10 ") + request)
    assert site.scopes[0]["client"] == ("198.51.100.1", 0)
    assert stranger.scopes[0]["client"] == ("203.0.113.10", 5555)
    site.transport.abort()
    stranger.transport.abort()


async def test_it_is_a_connection() -> None:
    assert issubclass(ProxiedConnection, Connection)
    assert "__dict__" not in dir(ProxiedConnection)
