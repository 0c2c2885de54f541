"""The opening handshake of a WebSocket, the ASGI side: how an application answers it.

Until the application accepts it, a WebSocket is an HTTP exchange: a refusal is a response, and so
is the answer to whatever goes wrong before. All that is inherited.
"""

from abc import abstractmethod
from math import inf
from typing import Any

from .context import Context
from .engines.ws_deflate import Deflate
from .engines.ws_handshake import Handshake
from .http_cycle import HttpCycle
from .http_states import AWAITED, HELD, UPGRADED
from .logs import app_log
from .seams import Channel, Tunnel
from .types import Address, AppError, Message, Request, Scope
from .ws_messages import subprotocol

_PROTOCOL = b"websocket"
DENIALS = ("websocket.http.response.start", "websocket.http.response.body")


def is_handshake(request: Request) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455 section 4.2.1, item 3)."""
    return _PROTOCOL in request.upgrade


class OpeningCycle(HttpCycle):
    """A call of the application for a WebSocket, as long as that is not accepted.

    Attributes:
        closed_by: "client", "application" or "server"; or "network", if nobody has said so.
    """

    __slots__ = ("_handshake", "closed_by")

    _name = "aserver.websocket"
    _kind = "WebSocket"
    _late = "did not accept or refuse in time (--websocket-connect-timeout)"

    _handshake: Handshake  # until the acceptance

    def __init__(
        self,
        context: Context,
        channel: Channel,
        request: Request,
        scope: Scope,
        client: Address | None,
        handshake: Handshake,
    ) -> None:
        super().__init__(context, channel, request, scope, client)
        self._handshake = handshake
        if context.access_log is not None:
            self._log = context.access_log.sockets
        self.closed_by = "network"

    def start(self) -> None:
        """Run the application."""
        context = self._context
        super().start()
        if self.sending is AWAITED or self.sending is HELD:
            self.deadline = context.now + context.socket_limits.connect_seconds

    @abstractmethod
    def upgraded(self, tunnel: Tunnel) -> None:
        """From the engine: it is accepted, and there is a tunnel."""

    @abstractmethod
    def drain(self) -> None:
        """From the engine: the server is stopping."""

    @abstractmethod
    def _prepare(self, deflate: Deflate | None) -> None:
        """It is about to be accepted, with this compression."""

    def _accept(self, message: Message) -> None:
        context, handshake = self._context, self._handshake
        chosen = subprotocol(message)
        if chosen is not None and chosen not in handshake.subprotocols:
            # A client that is told another name than it has offered fails the connection (RFC 6455
            # section 4.1); one that is told none may go on.
            context.throttle.warning(
                app_log, "%s: accepted without the subprotocol %r: not offered", self._title, chosen
            )
            chosen = None
        head, deflate = handshake.accept(chosen, message.get("headers") or (), context.deflate)
        self._prepare(deflate)
        del self._handshake
        self.sending = UPGRADED
        self.deadline = inf
        self.head = head
        self.channel.upgrade(self, _PROTOCOL, head)

    def _refuse(self) -> None:
        """Refuse as websocket.close does, with a 403."""
        self.closed_by = "application"
        self._answer(403, [], b"")

    async def _deny(self, message: Message) -> None:
        """Refuse with a response of the application's (extension "websocket.http.response")."""
        denial: dict[str, Any] = {**message, "type": message["type"].removeprefix("websocket.")}
        denial.pop("trailers", None)  # they are none of this extension's messages
        try:
            await super().send(denial)
        except AppError as error:
            raise AppError(str(error).replace("http.", "websocket.http.")) from None
        if self.closed_by != "server":  # else it is too late
            self.closed_by = "application"

    def _over(self) -> None:
        """It is over, as far as the application is concerned."""
        sending = self.sending
        super().lost()
        if self._log is not None and (sending is AWAITED or sending is HELD):
            self._log.record(self, None)
