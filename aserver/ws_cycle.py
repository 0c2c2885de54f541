"""The WebSocket cycle: one call of the application for one WebSocket, whatever carries it.

A WebSocket begins as an HTTP exchange, and is one until the application accepts it: a refusal is a
response, and so is the answer to whatever goes wrong before. All that is inherited. From the
acceptance on there is a `WebSocket` in the exchange's place, and a `Watch` over its deadlines.
"""

import asyncio
from math import inf
from typing import Any

from .context import Context
from .engines.ws import (
    ABNORMAL,
    FAILING,
    INTERNAL_ERROR,
    NORMAL,
    SERVICE_RESTART,
    WebSocket,
    size_of,
)
from .engines.ws_handshake import Handshake
from .escaping import peer_name, printable
from .http_cycle import HttpCycle
from .http_states import AWAITED, CLOSING, COMPLETE, DISCONNECTED, HELD, UPGRADED
from .logs import peer_log
from .seams import HttpEngine, Tunnel
from .types import Address, AppError, ClientDisconnected, Message, Request, Scope
from .waiting import wait, woken
from .ws_inbox import Inbox
from .ws_messages import close_code, payload
from .ws_watch import Watch

_PROTOCOL = b"websocket"
_DENIALS = ("websocket.http.response.start", "websocket.http.response.body")

# How long what is sent to a client that left is thrown away without a word, and how long each
# `send()` takes meanwhile; see `WebSocketCycle._disconnected`.
_LENIENT_SECONDS = 0.5
_LENIENT_PAUSE = 0.005


def is_handshake(request: Request) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455 section 4.2.1, item 3)."""
    return _PROTOCOL in request.upgrade.replace(b" ", b"").split(b",")


class WebSocketCycle(HttpCycle):
    """One WebSocket, from its handshake on.

    Attributes:
        close_code, close_reason: What it has ended with.
        closed_by: "client", "application" or "server"; or "network", if nobody has said so.
        messages_received, messages_sent: Their numbers; `received` and `sent` are their bytes.
    """

    __slots__ = (
        "_handshake",
        "_has_connected",
        "_inbox",
        "_lenient_until",
        "_listens_aside",
        "_told",
        "_watch",
        "_websocket",
        "close_code",
        "close_reason",
        "closed_by",
        "messages_received",
        "messages_sent",
    )

    _name = "aserver.websocket"
    _late = "did not accept or refuse in time (--websocket-connect-timeout)"

    _handshake: Handshake  # until the acceptance
    _websocket: WebSocket  # from then on
    _watch: Watch

    def __init__(
        self,
        context: Context,
        engine: HttpEngine,
        request: Request,
        scope: Scope,
        client: Address | None,
        handshake: Handshake,
    ) -> None:
        super().__init__(context, engine, request, scope, client)
        self._handshake = handshake
        if context.access_log is not None:
            self._log = context.access_log.sockets
        self._has_connected = False  # whether the application knows of the handshake
        self._told = False  # whether it knows of the end
        self._listens_aside = False  # whether it does so in another task than it was called in
        self._lenient_until = 0.0
        self._inbox: Inbox | None = None  # from the acceptance on
        self.close_code = ABNORMAL
        self.close_reason = ""
        self.closed_by = "network"
        self.messages_received = self.messages_sent = 0

    @property
    def accepted(self) -> bool:
        """Whether the application has accepted it."""
        return self._inbox is not None

    # Seen from the engine

    def start(self) -> None:
        """Run the application."""
        context = self._context
        if context.access_log is not None:
            context.access_log.sockets.connecting(self)
        super().start()
        if self.sending is AWAITED:
            self.deadline = context.now + context.socket_limits.connect_seconds

    def upgraded(self, tunnel: Tunnel) -> None:
        """There is a tunnel: what is fed are its bytes."""
        limits = self._context.socket_limits
        self._websocket.tunnel = tunnel
        self._inbox = Inbox(tunnel, limits.queue, limits.buffer)
        self._watch = Watch(self._context, self)
        del self.engine
        log = self._context.access_log
        if log is not None:
            log.sockets.connected(self)

    def feed(self, data: bytes) -> None:
        """Take bytes from the tunnel."""
        self._watch.alive_at = self._context.now
        self._websocket.feed(data)

    def resume(self) -> None:
        """There is room for more."""
        if self.accepted:
            self._websocket.resume()
        super().resume()

    def hung_up(self) -> None:
        """Who has closed its side is not going to speak WebSocket."""
        self._abandon()

    def lost(self) -> None:
        """The client is gone."""
        if self._inbox is not None:
            self._inbox.lost()
            self._websocket.lost()
            self._watch.stop()
        self._over()

    def drain(self) -> None:
        """The server is stopping."""
        self.close(SERVICE_RESTART, "")

    # Seen from the WebSocket

    def on_message(self, message: str | bytes, size: int) -> None:
        """A message from the client."""
        self.received += size
        self.messages_received += 1
        self._watch.active_at = self._context.now
        assert self._inbox is not None
        self._inbox.put(message, at_once=bool(self._readers))
        if self._readers:
            self._readers = woken(self._readers)

    def on_failing(self) -> None:
        """The client has broken the protocol, or a limit: it shall know when this can be said."""
        if self._readers and not self._inbox:
            self._websocket.end_failing()
        else:  # what came before may still be answered
            self._watch.hurry()

    def on_closed(self, code: int, reason: str, by: str) -> None:
        """The closing handshake is complete; or the client has broken the protocol, or a limit."""
        self._watch.stop()
        if by == "server":
            self._log_end(reason)
        if self.sending is UPGRADED:
            self.closed_by = by
        if self.sending is not DISCONNECTED:
            self.close_code, self.close_reason = code, reason
        self._over()

    # Seen from the watch

    @property
    def is_held(self) -> bool:
        """Whether nothing is read from the client at present."""
        return self._inbox is not None and self._inbox.is_held

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self._websocket.ping()

    def shows_life(self) -> bool:
        """Whether the client has sent something unread, or takes what it is sent."""
        return self._websocket.tunnel.shows_life()

    @property
    def is_failing(self) -> bool:
        """Whether the client has made a mistake and has not been told so."""
        return self._websocket.state is FAILING

    def end_failing(self) -> None:
        """Tell it, whatever the application is at."""
        self._websocket.end_failing()

    def give_up(self, reason: str) -> None:
        """The client is not there any more."""
        self._log_end(reason)
        self._websocket.give_up()
        self.lost()

    def close(self, code: int, reason: str) -> None:
        """The server closes. The application is told at once: nothing comes any more."""
        if self.sending is UPGRADED:
            self.close_code, self.close_reason, self.closed_by = code, reason, "server"
            self._begin_closing(code, reason)
            self._over()

    # Seen from the application

    async def receive(self) -> Message:
        """ASGI `receive()`: websocket.connect, messages, and one websocket.disconnect.

        Raises:
            ClientDisconnected: The application has been told of the end before.
        """
        if not self._has_connected:
            self._has_connected = True
            self._listens_aside = asyncio.current_task() is not self._task
            return {"type": "websocket.connect"}
        while not self._inbox:
            if self.sending is COMPLETE or self.sending is DISCONNECTED:
                return self._disconnect()
            if self.accepted and self._websocket.state is FAILING:
                self._websocket.end_failing()
                continue
            if self._readers is None:
                self._readers = []
            await wait(self._context.loop, self._readers)
        message = self._inbox.take()
        return {"type": "websocket.receive", _KEYS[type(message)]: message}

    def _disconnect(self) -> Message:
        if self._told:
            raise ClientDisconnected("the WebSocket is closed, and websocket.disconnect was sent")
        self._told = True
        return {
            "type": "websocket.disconnect",
            "code": self.close_code,
            "reason": self.close_reason,
        }

    async def send(self, message: Message) -> None:
        """ASGI `send()`.

        Raises:
            AppError: The message is not allowed here, or is malformed.
            ClientDisconnected: The WebSocket is closed.
        """
        kind = message.get("type")
        sending = self.sending
        if kind == "websocket.send" and sending is UPGRADED:
            data = payload(message)
            has_room = self._websocket.send(data)
            self.messages_sent += 1
            self.sent += size_of(data)
            self._watch.active_at = self._context.now
            if not has_room:
                await self._drained()
        elif kind in _DENIALS:
            denial: dict[str, Any] = {**message, "type": kind.removeprefix("websocket.")}
            denial.pop("trailers", None)  # they are none of this extension's messages
            self.closed_by = "application"
            await super().send(denial)
        elif kind == "websocket.close" and sending in (AWAITED, UPGRADED, CLOSING, COMPLETE):
            self._close(message)
        elif kind == "websocket.accept" and sending is AWAITED:
            self._accept(message)
        elif sending is DISCONNECTED:
            if kind != "websocket.close":
                await self._disconnected()
        elif kind == "websocket.send" and sending in (CLOSING, COMPLETE):
            raise ClientDisconnected("the application has closed the WebSocket")
        elif kind is None:
            raise AppError("a message must have a 'type'")
        else:
            raise AppError(f"the message {kind!r} is not allowed now: {sending.value}")

    def _accept(self, message: Message) -> None:
        context = self._context
        assert context.new_frames is not None
        head, deflate = self._handshake.accept(
            message.get("subprotocol"), message.get("headers") or (), context.deflate
        )
        limits = context.socket_limits.messages
        self._websocket = WebSocket(self, context.new_frames(deflate, limits.message), limits)
        del self._handshake
        self.sending = UPGRADED
        self.deadline = inf
        self.head = head
        self.engine.upgrade(self, _PROTOCOL, head)

    def _close(self, message: Message) -> None:
        if self.sending is AWAITED:
            self.closed_by = "application"
            self._answer(403, [], b"")
        elif self.sending is UPGRADED:
            code, reason = close_code(message)
            self.sending = CLOSING
            self.closed_by = "application"
            self._begin_closing(code, reason)

    # The end

    def _begin_closing(self, code: int, reason: str) -> None:
        """Send a close frame. What the client has sent before it does the same is not wanted."""
        self._websocket.close(code, reason)
        self._watch.close()
        assert self._inbox is not None
        self._inbox.clear()

    def _over(self) -> None:
        """It is over, as far as the application is concerned."""
        sending = self.sending
        if self._listens_aside and sending is not DISCONNECTED:
            self._lenient_until = self._context.loop.time() + _LENIENT_SECONDS
        super().lost()
        if self._log is not None and (sending is AWAITED or sending is HELD):
            self._log.record(self, None)

    async def _disconnected(self) -> None:
        """Raise ClientDisconnected; but not while the application may not know of the end.

        Frameworks that listen in a task of their own, as Channels does, get to know it when they
        are done with the message before. An exception out of `send()` in that moment would be the
        end of the consumer, and its `disconnect` would not be called.
        """
        if self._context.loop.time() >= self._lenient_until:
            raise ClientDisconnected("the WebSocket is closed")
        await asyncio.sleep(_LENIENT_PAUSE)

    def _returned(self) -> None:
        """The application returned: that closes what it has left open."""
        if self.sending is UPGRADED:
            self._close({"code": NORMAL})
        elif self.sending is not CLOSING:
            super()._returned()

    def _give_up(self, status: int) -> None:
        """Answer in the application's place; or close, with what says about the same."""
        if self.sending is UPGRADED:
            self.close(SERVICE_RESTART if status == 503 else INTERNAL_ERROR, "")
        elif self.sending is not CLOSING:
            self.closed_by = "server"
            super()._give_up(status)

    def _drop(self) -> None:
        """The call is over, and has left something open that is not being closed."""
        if not self.accepted:
            super()._drop()
        elif self.sending is UPGRADED and not self._context.loop.is_closed():
            self.close(INTERNAL_ERROR, "")

    def _log_end(self, reason: str) -> None:
        self._context.throttle.info(
            peer_log, "Closed the WebSocket of %s: %s", peer_name(self.client), printable(reason)
        )


_KEYS = {str: "text", bytes: "bytes"}
