"""A WebSocket, seen from the server: what RFC 6455 says above its frames.

Messages are put together within limits, pings are answered, and the closing handshake is made from
either side. Which frame engine finds the frames, and which version of HTTP the tunnel goes through,
makes no difference here.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from ..limits import MessageLimits
from ..seams import Frames, Tunnel
from ..types import AppError, WebSocketError
from .ws_assembly import Assembly
from .ws_deflate import Deflate

NewFrames = Callable[[Deflate | None, float], Frames]

# RFC 6455 section 7.4.1, and IANA's registry.
NORMAL = 1000
GOING_AWAY = 1001
NO_STATUS = 1005  # there was a close frame, but no code in it
ABNORMAL = 1006  # there was none
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012


class State(Enum):
    """How far the closing handshake is."""

    OPEN = "nobody has closed it"
    FAILING = "the peer has made a mistake, and will be told so"
    CLOSING = "we have sent a close frame, and wait for the peer's"
    CLOSED = "nothing is sent or taken any more"


OPEN, FAILING, CLOSING, CLOSED = State


class Owner(Protocol):
    """The cycle, seen from its WebSocket."""

    def on_message(self, message: str | bytes, size: int) -> None:
        """A whole message; `size` in bytes."""

    def on_failing(self) -> None:
        """The peer has made a mistake; it is to be told so by `WebSocket.end_failing`.

        The messages before are good, and may be answered first.
        """

    def on_closed(self, code: int, reason: str, by: str) -> None:
        """It is over, by the "client" or by the "server", which means: by us, for its mistake.

        Said once, and not after `WebSocket.lost`.
        """


class WebSocket:
    """One open WebSocket."""

    __slots__ = ("_assembly", "_error", "_frames", "_owed", "_owner", "state", "tunnel")

    tunnel: Tunnel  # set before anything else happens

    def __init__(self, owner: Owner, frames: Frames, limits: MessageLimits) -> None:
        self._owner = owner
        self._frames = frames
        self._assembly = Assembly(limits)
        self._owed: bytes | None = None  # the ping that is to be answered when there is room
        self._error: WebSocketError | None = None
        self.state = OPEN

    def __repr__(self) -> str:
        return f"<WebSocket {self.state.name}>"

    # From the peer

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self.state is not OPEN and self.state is not CLOSING:
            return
        try:
            self._frames.feed(data, self)
        except WebSocketError as error:
            self._error = error
            if self.state is OPEN:
                self.state = FAILING
                self._assembly.clear()
                self._owner.on_failing()
            else:
                self.end_failing()

    def on_data(
        self, data: str | bytes, size: int, *, ends_frame: bool, ends_message: bool
    ) -> None:
        """From the frames: a piece of a message."""
        if self.state is not OPEN:
            return
        assembly = self._assembly
        assembly.count(size, ends_frame=ends_frame)
        if not ends_message:
            assembly.add(data)
            return
        size = assembly.size
        self._owner.on_message(assembly.take(data), size)

    def on_ping(self, payload: bytes) -> None:
        """From the frames: a ping.

        Who does not read what is sent is answered only the last of its pings (section 5.5.3).
        """
        if self.state is not OPEN:
            return
        if self.tunnel.is_full:
            self._owed = payload
        else:
            self.tunnel.send(self._frames.pong(payload))

    def on_close(self, code: int, reason: str) -> None:
        """From the frames: the peer's close frame, which is the last that counts."""
        if self.state is OPEN:
            # Section 5.5.1: an answer has the same code.
            self.tunnel.send(self._frames.close(code, ""))
        self._end(code, reason, "client")
        self.tunnel.close()

    # To the peer

    def send(self, message: str | bytes) -> bool:
        """Send a message. Returns False when `send()` should wait for room.

        Raises:
            AppError: It is a text that cannot be written in UTF-8.
        """
        try:
            frame = self._frames.message(message)
        except UnicodeEncodeError:
            raise AppError("a text with lone surrogates cannot be sent as UTF-8") from None
        return self.tunnel.send(frame)

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        if self.state is OPEN:
            self.tunnel.send(self._frames.ping(b""))

    def resume(self) -> None:
        """There is room in the tunnel again."""
        owed, self._owed = self._owed, None
        if owed is not None and self.state is OPEN:
            self.tunnel.send(self._frames.pong(owed))

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake. It ends with the peer's close frame."""
        if self.state is FAILING:
            self.end_failing()
        elif self.state is OPEN:
            self.state = CLOSING
            self._assembly.clear()
            self.tunnel.send(self._frames.close(code, reason))

    def end_failing(self) -> None:
        """Section 7.1.7: say what is wrong, and close without waiting for an answer."""
        error = self._error
        assert error is not None
        if self.state is FAILING:
            self.tunnel.send(self._frames.close(error.code, error.reason))
        self._end(error.code, error.reason, "server")
        self.tunnel.close(linger=True)

    def give_up(self) -> None:
        """Nothing is heard of the peer: close, and tell it in case that it is there."""
        if self.state is OPEN or self.state is FAILING:
            self.tunnel.send(self._frames.close(INTERNAL_ERROR, ""))
        self.lost()
        self.tunnel.close(linger=True)

    def lost(self) -> None:
        """The tunnel is gone."""
        self.state = CLOSED
        self._assembly.clear()

    def _end(self, code: int, reason: str, by: str) -> None:
        self.state = CLOSED
        self._assembly.clear()
        self._owner.on_closed(code, reason, by)


def size_of(data: str | bytes) -> int:
    """How many bytes a message, or a piece of one, has."""
    if isinstance(data, bytes) or data.isascii():
        return len(data)
    return len(data.encode("utf-8"))
