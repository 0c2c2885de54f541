"""The seam between a WebSocket, which is ours, and the frames on the wire."""

from collections.abc import Callable
from typing import Protocol

from .ws_deflate import Deflate


class FrameReceiver(Protocol):
    """What takes the frames that a frame engine finds. Raises WebSocketError if one is too many."""

    def on_data(
        self, data: str | bytes, size: int, *, ends_frame: bool, ends_message: bool
    ) -> None:
        """A piece of a message; `size` is its number of bytes."""

    def on_ping(self, payload: bytes) -> None:
        """A ping."""

    def on_close(self, code: int, reason: str) -> None:
        """A close frame; 1005 is one without a code. Nothing comes behind it."""


class Frames(Protocol):
    """A frame engine: WebSocket frames of one connection, seen from the server's side.

    Attributes:
        step: How many bytes it is to be fed at most, so that not too much comes of it at once.
    """

    step: int

    def feed(self, data: bytes, receiver: FrameReceiver) -> None:
        """Take bytes from the peer. Raises WebSocketError, after which there is nothing more."""

    def message(self, data: str | bytes) -> bytes:
        """A whole message as bytes for the peer."""

    def ping(self, payload: bytes) -> bytes:
        """A ping frame."""

    def pong(self, payload: bytes) -> bytes:
        """A pong frame."""

    def close(self, code: int, reason: str) -> bytes:
        """A close frame; with 1005, one without a code. A reason that is too long is cut."""

    def lost(self) -> None:
        """It is over: let go of everything."""


# Makes one, from what was agreed about compression, if anything, and how many bytes a message may
# inflate to.
NewFrames = Callable[[Deflate | None, float], Frames]
