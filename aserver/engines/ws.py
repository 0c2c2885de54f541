"""A WebSocket, seen from the server: what RFC 6455 says above its frames.

Messages are put together within limits, pings are answered, and the closing handshake is made from
either side. Which frame engine finds the frames, and which version of HTTP the tunnel goes through,
makes no difference here.

Not too much is done at a time: of a large read, a piece is taken, and the rest when the event loop
has had its turn, or when the application has taken what came of it.
"""

from enum import Enum
from typing import Protocol

from ..limits import MessageLimits
from ..seams import Tunnel
from ..types import AppError, WebSocketError
from .ws_assembly import Assembly
from .ws_frames import Frames

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

    def on_more(self) -> None:
        """There is more to do: call `WebSocket.go_on` soon."""

    def on_failing(self) -> None:
        """The peer has made a mistake; it is to be told so by `WebSocket.end_failing`.

        The messages before are good, and may be answered first.
        """

    def on_closed(self, code: int, reason: str, by: str) -> None:
        """It is over, by the "client" or by the "server", which means: by us, for its mistake.

        Said once, and not after `WebSocket.lost`.
        """


class WebSocket:
    """One open WebSocket.

    Attributes:
        written: Bytes that were sent through the tunnel.
    """

    __slots__ = (
        "_assembly",
        "_error",
        "_frames",
        "_held",
        "_owed",
        "_owner",
        "_pongs",
        "_rest",
        "state",
        "tunnel",
        "written",
    )

    tunnel: Tunnel  # set before anything else happens

    def __init__(self, owner: Owner, frames: Frames, limits: MessageLimits) -> None:
        self._owner = owner
        self._frames = frames
        self._assembly = Assembly(limits)
        self._rest = b""  # of what has come through the tunnel
        self._held = False  # whether the application has enough to do
        self._owed: bytes | None = None  # the ping that is to be answered when there is room
        self._pongs: list[bytes] = []  # answers to what is being taken
        self._error: tuple[int, str] | None = None  # the peer's mistake: close code and reason
        self.state = OPEN
        self.written = 0

    def __repr__(self) -> str:
        return f"<WebSocket {self.state.name} held={self._held} rest={len(self._rest)}>"

    # From the peer

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self.state is not OPEN and self.state is not CLOSING:
            return
        if self._rest or self._held:
            self._rest += data
            return
        step = self._frames.step
        if len(data) > step:
            self._rest = data[step:]
            data = data[:step]
        try:
            self._frames.feed(data, self)
            if self._pongs:
                self._answer()
        except WebSocketError as error:
            if self._pongs:
                self._answer()
            self._error = (error.code, error.reason)
            self._rest = b""
            if self.state is OPEN:
                self.state = FAILING
                self._assembly.clear()
                self._owner.on_failing()
            elif self.state is CLOSING:
                self.end_failing()
        if self._rest:
            self.tunnel.hold()
            if not self._held:
                self._owner.on_more()

    def go_on(self) -> None:
        """Take more of what has come."""
        if self._held:
            return
        if self._rest:
            rest, self._rest = self._rest, b""
            self.feed(rest)
        if not self.is_held and self.state is not CLOSED:
            self.tunnel.release()

    def hold(self) -> None:
        """The application has enough to do: take no more."""
        self._held = True
        self.tunnel.hold()

    def release(self) -> None:
        """It may get more."""
        self._held = False
        if self._rest:
            self._owner.on_more()
        else:
            self.tunnel.release()

    @property
    def is_held(self) -> bool:
        """Whether the peer may have sent what is not looked at yet."""
        return self._held or bool(self._rest)

    def on_data(
        self, data: str | bytes, size: int, *, ends_frame: bool, ends_message: bool
    ) -> None:
        """From the frames: a piece of a message."""
        if self.state is not OPEN:
            return
        assembly = self._assembly
        if ends_message and not assembly.begun and size <= assembly.least_limit:
            self._owner.on_message(data, size)  # it is whole, as most are
            return
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
        if self.tunnel.is_full:
            if self._owed is None:
                self.tunnel.send(b"")  # to be told when there is room
            self._owed = payload
        else:
            self._owed = None
            self._pongs.append(self._frames.pong(payload))

    def _answer(self) -> None:
        """Send the pongs in one piece: of pings, thousands fit into a read."""
        self._write(b"")

    def on_close(self, code: int, reason: str) -> None:
        """From the frames: the peer's close frame, which is the last that counts."""
        if self.state is OPEN:
            # Section 5.5.1: an answer has the same code.
            self._write(self._frames.close(code, ""))
        if self._pongs:
            self._answer()
        self._end(code, reason, "client")

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
        return self._write(frame)

    def _write(self, frame: bytes) -> bool:
        if self._pongs:
            self._pongs.append(frame)
            frame = b"".join(self._pongs)
            self._pongs.clear()
        self.written += len(frame)
        return self.tunnel.send(frame)

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        if self.state is OPEN:
            self._write(self._frames.ping(b""))

    def resume(self) -> None:
        """There is room in the tunnel again."""
        owed, self._owed = self._owed, None
        if owed is not None and (self.state is OPEN or self.state is CLOSING):
            self._write(self._frames.pong(owed))

    def taken(self) -> int:
        """How many bytes the peer has taken, as far as one can know."""
        return self.written - self.tunnel.unsent()

    # The end

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake, if nobody has. It ends with the peer's close frame."""
        if self.state is OPEN:
            frame = self._frames.close(code, reason)
            self.state = CLOSING
            self._assembly.clear()
            self._write(frame)

    def end_failing(self) -> None:
        """Section 7.1.7: say what is wrong, and close without waiting for an answer."""
        assert self._error is not None
        code, reason = self._error
        if self.state is FAILING:
            self._write(self._frames.close(code, reason))
        self._end(code, reason, "server")

    def give_up(self) -> None:
        """Nothing is heard of the peer: close, and tell it in case that it is there."""
        is_gone = self.state is CLOSING or self.tunnel.unsent() > 0
        if not is_gone:
            self._write(self._frames.close(INTERNAL_ERROR, ""))
        self.lost()
        if is_gone:
            self.tunnel.abort()
        else:
            self.tunnel.close()

    def lost(self) -> None:
        """The tunnel is gone, or nobody waits for its end any more."""
        self.state = CLOSED
        self._rest = b""
        self._pongs.clear()
        self._assembly.clear()
        self._frames.lost()

    def _end(self, code: int, reason: str, by: str) -> None:
        self.lost()
        self.tunnel.close()
        self._owner.on_closed(code, reason, by)


def size_of(data: str | bytes) -> int:
    """How many bytes a message, or a piece of one, has."""
    if isinstance(data, bytes) or data.isascii():
        return len(data)
    return len(data.encode("utf-8"))
