"""Connections where nothing is to be had but the way to TLS (--redirect-bind)."""

from .connection import Connection
from .context import Context
from .logs import peer_log
from .seams import Channel, Receiver, Refusing
from .types import ProtocolError, Request


class Redirection(ProtocolError):
    """The answer is elsewhere. That is nobody's mistake."""


class RedirectingConnection(Connection):
    """Answers every request with a redirect to https.

    Args:
        context: What connections share.
        port: Where TLS is spoken.
    """

    __slots__ = ("_port",)

    def __init__(self, context: Context, port: int) -> None:
        super().__init__(context)
        self._port = port

    def on_request(self, channel: Channel, request: Request) -> Receiver:
        location = self._location(request)
        # RFC 9110 section 15.4.9: method and body stay what they are.
        raise Redirection(
            308, f"this is spoken with TLS only: {location.decode()}", [(b"location", location)]
        )

    def _location(self, request: Request) -> bytes:
        host = next((value for name, value in request.headers if name == b"host"), b"")
        if not host:
            raise ProtocolError(400, "no Host header; there is no telling where to redirect to")
        # The guard has seen to it that it is a host, or a host and a port.
        host = host[: host.index(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
        port = b"" if self._port == 443 else b":%d" % self._port
        target = b"" if request.target == b"*" else request.target
        return b"https://" + host + port + target

    def on_refused(self, where: Refusing, error: ProtocolError) -> None:
        if isinstance(error, Redirection):
            peer_log.debug("Redirected a request: %s", error.reason)
            where.refuse(error)
        else:
            super().on_refused(where, error)
