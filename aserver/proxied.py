"""Connections that a proxy begins with a PROXY header (--proxy-protocol-bind)."""

import asyncio

from .connection import Connection
from .context import Context
from .engines.proxy_protocol import Header, Preamble
from .limits import PREAMBLE
from .logs import peer_log
from .scope import Facts
from .socket_facts import Addresses
from .tls_transport import TlsSource, TlsTransport
from .worker_seams import Trust


class ProxiedConnection(Connection):
    """Believes a trusted proxy which client it is for; from then on it is like any other.

    Args:
        context: What connections share.
        trust: Which proxies may connect. Nobody else is served here.
        certificates: With these, the client speaks TLS, behind the header.
    """

    __slots__ = ("_trust",)

    def __init__(
        self,
        context: Context,
        trust: Trust,
        certificates: TlsSource | None = None,
    ) -> None:
        super().__init__(context, certificates)
        self._trust = trust

    def begin(self, transport: asyncio.Transport, ends: Addresses) -> None:
        context = self._context
        transport.set_write_buffer_limits(context.write_buffer)
        self._facts = Facts("http", *ends, context.root_path)
        self._write_to(transport)
        self._engine = Preamble(self)
        self._enter(PREAMBLE)
        if not self._trust(ends.client):
            context.throttle.info(
                peer_log,
                "Refused %s, which is no trusted proxy (--proxy-protocol-allow-ips)",
                self._peer,
            )
            self.abort(reset=True)

    def on_preamble(self, header: Header, data: bytes) -> None:
        """It is known for whom this connection is."""
        self._listen_to(self._transport, self._facts_from(header))
        if header.is_local:  # the address is the proxy's, but the headers may be anybody's
            self._amend = None
        transport = self._transport  # perhaps another one
        if data and isinstance(transport, TlsTransport):
            transport.data_received(data)
        elif data:
            self._engine.feed(data)

    def _facts_from(self, header: Header) -> Facts:
        facts = self._facts
        if not header.is_local:
            facts = facts._replace(client=header.client, server=header.server)
        return facts._replace(
            scheme="https" if header.is_secure else "http",
            extensions={
                "proxy_protocol": {
                    "version": header.version,
                    "proxy": self._facts.client,
                    "tlvs": header.tlvs,
                }
            },
        )
