"""The seam between HTTP/2's streams, which are ours, and the frames on the wire.

The machine in `aserver.engines.h2` decides what happens on a connection; what stands behind this
seam encodes and decodes frames and header blocks, keeps the windows, and knows which frame is legal
in which state. `aserver.engines.h2_library` is the reference.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..types import Headers
from .h2_frames import Frame


class WireSettings(NamedTuple):
    """What the peer is told of us at the beginning (RFC 9113 section 6.5.2)."""

    max_streams: int
    stream_window: int  # bytes
    connection_window: int  # bytes
    header_list: int  # bytes, as section 6.5.2 counts them; larger is an error of the connection
    has_websockets: bool  # RFC 8441 section 3


class WireReceiver(Protocol):
    """What takes that which a frame says."""

    def on_head(self, number: int, fields: Headers, *, ended: bool) -> None:
        """A request's header section, on a new stream; `ended`: it has no body."""

    def on_trailers(self, number: int, fields: Headers) -> None:
        """A second header section. It ends the stream's request."""

    def on_data(self, number: int, data: bytes, size: int, *, ended: bool) -> None:
        """A piece of a body; `size` is what it takes of the windows."""

    def on_reset(self, number: int, *, by_peer: bool) -> None:
        """The stream is gone."""

    def on_room(self, number: int) -> None:
        """A stream's window has grown; with 0, the connection's, or all streams'."""

    def on_pong(self, payload: bytes) -> None:
        """Our PING is answered."""


class Wire(Protocol):
    """One connection's frames, windows and header tables, seen from the machine."""

    @property
    def frame_size(self) -> int:
        """The most bytes of DATA that one frame of ours should have."""

    def feed(self, frame: Frame, receiver: WireReceiver) -> None:
        """Take a frame. Raises H2Error, after which only `close` and `take` make sense."""

    def head(self, number: int, fields: Headers, *, ends: bool) -> None:
        """Send a header section."""

    def data(self, number: int, piece: bytes, *, ends: bool) -> None:
        """Send a piece of a body, no larger than `room` and `frame_size`."""

    def room(self, number: int) -> int:
        """How many bytes of body the windows allow an open stream to send; may be negative."""

    def has_window(self, number: int) -> bool:
        """Whether an open stream's own window allows anything, whatever the connection's does."""

    def credit(self, number: int, size: int) -> None:
        """So much that a stream had received has been taken: the peer may send as much again.

        Of a stream that is over, it counts for the connection only.
        """

    def reset(self, number: int, code: int) -> None:
        """End a stream at once. Nothing more comes of it. One that is over stays as it is."""

    def close(self, code: int, reason: str) -> None:
        """Say that it is over, and why (GOAWAY), if that was not said."""

    def take(self) -> bytes:
        """What is to be written by now."""


# What makes the wire of one connection.
NewWire = Callable[[WireSettings], Wire]
