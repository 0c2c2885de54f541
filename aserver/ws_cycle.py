"""The WebSocket cycle: one call of the application for one WebSocket, whatever carries it.

Until the application accepts it, it is the `OpeningCycle` that is inherited. From then on there is
a `WebSocket` in the place of the HTTP exchange, an `Inbox` for its messages, and a `Watch` over its
deadlines.
"""

import asyncio

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
from .engines.ws_deflate import Deflate
from .engines.ws_handshake import Handshake
from .escaping import peer_name, printable
from .http_states import (
    AWAITED,
    CLOSING,
    COMPLETE,
    CONNECT,
    DISCONNECT,
    DISCONNECTED,
    NOTHING,
    UPGRADED,
)
from .logs import peer_log
from .seams import Channel, Tunnel
from .types import Address, AppError, ClientDisconnected, Message, Request, Scope
from .waiting import wait, woken
from .ws_inbox import Inbox
from .ws_messages import close_code, payload
from .ws_opening import DENIALS, OpeningCycle
from .ws_watch import Watch

# So many messages to a client that left are thrown away at once; each behind them takes so long
# (`WebSocketCycle._disconnected`).
_LENIENT_COUNT = 1000
_LENIENT_PAUSE = 0.01


_KEYS = {str: "text", bytes: "bytes"}


class WebSocketCycle(OpeningCycle):
    """One WebSocket, from its handshake on.

    Attributes:
        close_code, close_reason: What it has ended with.
        messages_received, messages_sent: Their numbers; `received` and `sent` are their bytes.
    """

    __slots__ = (
        "_inbox",
        "_listens_aside",
        "_thrown_away",
        "_told",
        "_watch",
        "_websocket",
        "close_code",
        "close_reason",
        "messages_received",
        "messages_sent",
    )

    # From the acceptance on, until it is closed.
    _websocket: WebSocket
    _watch: Watch

    def __init__(
        self,
        context: Context,
        channel: Channel,
        request: Request,
        scope: Scope,
        client: Address | None,
        handshake: Handshake,
    ) -> None:
        super().__init__(context, channel, request, scope, client, handshake)
        self._told = NOTHING
        self._listens_aside = False  # whether it does so in another task than it was called in
        self._thrown_away = 0  # messages to a client that has left
        self._inbox: Inbox | None = None  # from the acceptance on
        self.close_code = ABNORMAL
        self.close_reason = ""
        self.messages_received = self.messages_sent = 0

    def __repr__(self) -> str:
        websocket = self._websocket if self._is_open else None
        return (
            f"<WebSocketCycle {self.request.target!r} sending={self.sending.name} "
            f"received={self.messages_received} sent={self.messages_sent} {websocket!r}>"
        )

    @property
    def accepted(self) -> bool:
        """Whether the application has accepted it."""
        return self._inbox is not None

    # Seen from the engine

    def start(self) -> None:
        """Run the application."""
        if self._context.access_log is not None:
            self._context.access_log.sockets.connecting(self)
        super().start()

    def _prepare(self, deflate: Deflate | None) -> None:
        context = self._context
        assert context.new_frames is not None
        limits = context.socket_limits.messages
        self._websocket = WebSocket(self, context.new_frames(deflate, limits.message), limits)

    def upgraded(self, tunnel: Tunnel) -> None:
        """There is a tunnel: what is fed are its bytes."""
        limits = self._context.socket_limits
        self._websocket.tunnel = tunnel
        self._inbox = Inbox(self._websocket, limits.queue, limits.buffer)
        self._watch = Watch(self._context, self._websocket, self)
        del self.channel
        log = self._context.access_log
        if log is not None:
            log.sockets.connected(self)

    def feed(self, data: bytes) -> None:
        """Take bytes from the tunnel."""
        self._watch.alive_at = self._context.now
        self._websocket.feed(data)

    def resume(self) -> None:
        """There is room for more."""
        if self._is_open:
            self._websocket.resume()
        super().resume()

    def hung_up(self) -> None:
        """Who has closed its side does not speak WebSocket, or not any more."""
        if not self.accepted:
            self._abandon()
        elif self._is_open and self._websocket.state is FAILING:
            self._websocket.end_failing()
        else:
            self.lost()

    def lost(self) -> None:
        """The client is gone."""
        if self._is_open:
            self._websocket.lost()
            self._let_go()
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

    def on_more(self) -> None:
        """There is more to do, when the event loop has had its turn."""
        self._context.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._is_open:
            return
        websocket = self._websocket
        try:
            websocket.go_on()
        except BaseException:  # an error of ours: outside of a callback, the event loop does this
            websocket.tunnel.abort()
            raise

    def on_failing(self) -> None:
        """The client has broken the protocol, or a limit: it shall know when this can be said."""
        if self._readers and not self._inbox:
            self._websocket.end_failing()
        else:  # what came before may still be answered
            self._watch.hurry()

    def on_closed(self, code: int, reason: str, by: str) -> None:
        """The closing handshake is complete; or the client has broken the protocol, or a limit."""
        self._let_go()
        if self.sending is UPGRADED:
            self.closed_by = by
        if self.sending is not DISCONNECTED:
            self.close_code, self.close_reason = code, reason
        self._over()
        if by == "server":
            self._context.throttle.info(
                peer_log,
                "Closed the WebSocket of %s, for its mistake: %s",
                peer_name(self.client),
                printable(reason),
            )

    # Seen from the watch

    def on_silence(self, reason: str) -> None:
        """The client is not there any more; `reason` is one of few."""
        self._websocket.give_up()
        self._let_go()
        self._over()
        self._context.throttle.info(
            peer_log, f"Closed the WebSocket of %s: {reason}", peer_name(self.client)
        )

    def close(self, code: int, reason: str) -> None:
        """The server closes. The application is told at once: nothing comes any more."""
        if self.sending is UPGRADED and self._begin_closing(code, reason):
            self.close_code, self.close_reason, self.closed_by = code, reason, "server"
            self._over()

    # Seen from the application

    async def receive(self) -> Message:
        """ASGI `receive()`: websocket.connect, messages, and one websocket.disconnect.

        Raises:
            ClientDisconnected: The application has been told of the end before.
        """
        if self._task is not None:
            self._listens_aside = asyncio.current_task() is not self._task
        if self._told is NOTHING:
            self._told = CONNECT
            return {"type": "websocket.connect"}
        while not self._inbox:
            if self.sending is COMPLETE or self.sending is DISCONNECTED:
                return self._disconnect()
            if self._is_open and self._websocket.state is FAILING:
                self._websocket.end_failing()
                continue
            if self._readers is None:
                self._readers = []
            await wait(self._context.loop, self._readers)
        message = self._inbox.take()
        return {"type": "websocket.receive", _KEYS[type(message)]: message}

    def _disconnect(self) -> Message:
        if self._told is DISCONNECT:
            raise ClientDisconnected("the WebSocket is closed, and websocket.disconnect was sent")
        self._told = DISCONNECT
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
        elif kind in DENIALS and not self.accepted:
            await self._deny(message)
        elif kind == "websocket.close" and sending in (AWAITED, UPGRADED, CLOSING, COMPLETE):
            self._take_close(message)
        elif kind == "websocket.accept" and sending is AWAITED:
            self._accept(message)
        elif kind is None:
            raise AppError("a message must have a 'type'")
        elif sending is DISCONNECTED:
            if kind != "websocket.close":
                await self._disconnected()
        elif kind == "websocket.send" and sending in (CLOSING, COMPLETE):
            raise ClientDisconnected("the WebSocket is closed")
        elif sending is COMPLETE and self.closed_by == "server":
            pass  # it was answered in the application's place, which it will hear when it listens
        else:
            raise AppError(f"the message {kind!r} is not allowed now: {sending.value}")

    def _take_close(self, message: Message) -> None:
        if self.sending is AWAITED:
            self._refuse()
        elif self.sending is UPGRADED and self._begin_closing(*close_code(message)):
            self.sending = CLOSING
            self.closed_by = "application"

    # The end

    @property
    def _is_open(self) -> bool:
        """Whether there is a WebSocket that is not closed yet."""
        return self._inbox is not None and self._inbox.has_source

    def _begin_closing(self, code: int, reason: str) -> bool:
        """Send a close frame. What the client has sent before it does the same is not wanted.

        Returns False if it is closed already then: for a mistake that it was still to be told.
        """
        websocket = self._websocket
        if websocket.state is FAILING:
            websocket.end_failing()
            return False
        websocket.close(code, reason)
        self._watch.close()
        assert self._inbox is not None
        self._inbox.clear()
        return True

    def _let_go(self) -> None:
        """The WebSocket is closed: let go of it, for it points back here."""
        assert self._inbox is not None
        self._inbox.cut_off()
        self._watch.stop()
        del self._websocket, self._watch

    async def _disconnected(self) -> None:
        """Raise ClientDisconnected; but not where that could be the wrong one to hear it.

        Frameworks that listen in a task of their own, as Channels does, get to know the end when
        they are done with the message before. An exception out of `send()` in the meantime would be
        the end of the consumer, and its `disconnect` would not be called. So they may go on sending
        into nothing, as long as an application may without a client.
        """
        if not self._listens_aside:
            await super()._disconnected()
        self._thrown_away += 1
        await asyncio.sleep(0 if self._thrown_away < _LENIENT_COUNT else _LENIENT_PAUSE)

    @property
    def _has_left(self) -> bool:
        """Whether the client has; who was closed by us has not."""
        return self.sending is DISCONNECTED and self.closed_by != "server"

    @property
    def _is_over(self) -> bool:
        """Whether `send` raises ClientDisconnected."""
        return self.sending in (DISCONNECTED, CLOSING, COMPLETE)

    def _returned(self) -> None:
        """The application returned: that closes what it has left open."""
        if self.sending is UPGRADED:
            self._take_close({"code": NORMAL})
        elif self.sending is not CLOSING:
            super()._returned()

    def _give_up(self, status: int) -> None:
        """Answer in the application's place; or close, with what says about the same."""
        if self.sending is UPGRADED:
            self.close(SERVICE_RESTART if status == 503 else INTERNAL_ERROR, "")
        elif self.sending is not CLOSING:
            if self.sending is not COMPLETE:
                self.closed_by = "server"
            super()._give_up(status)

    def _drop(self) -> None:
        """The call is over, and has left something open that is not being closed."""
        if not self.accepted:
            super()._drop()
        elif self.sending is UPGRADED and not self._context.loop.is_closed():
            self.close(INTERNAL_ERROR, "")
