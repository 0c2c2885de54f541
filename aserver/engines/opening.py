"""The beginning of a connection in cleartext: which version of HTTP the client speaks.

RFC 9113 section 3.3: who knows that a server speaks HTTP/2 begins with its preface; HTTP/1 has no
method of that name.
"""

from ..seams import Sink
from ..types import ProtocolError
from ..worker_seams import Defaults
from .h1_wire import refusal_response
from .h2_frames import PREFACE

# Its first line, which no request of HTTP/1 can have.
_MARK = PREFACE[:16]


class Opening:
    """The engine of a connection of which nothing is known."""

    __slots__ = ("_defaults", "_held", "_sink")

    def __init__(self, sink: Sink, defaults: Defaults) -> None:
        self._sink = sink
        self._defaults = defaults
        self._held = b""

    def __repr__(self) -> str:
        return f"<Opening held={len(self._held)}>"

    @property
    def mid_head(self) -> bool:
        """Whether something has come that may be the beginning of HTTP/2."""
        return bool(self._held)

    def feed(self, data: bytes) -> None:
        """Take bytes until they tell."""
        data = self._held + data
        begun = data[: len(_MARK)]
        if begun == _MARK or not _MARK.startswith(begun):
            self._sink.on_version(data, is_http2=begun == _MARK)
        else:
            self._held = data
            self._sink.on_head()

    def feed_eof(self) -> bool:
        """Nobody is waiting for an answer."""
        return False

    def body_progress(self) -> int | None:
        """There is no body."""
        return None

    def refuse(self, error: ProtocolError) -> None:
        """It has taken too long; as nothing says HTTP/2 yet, it is answered as HTTP/1 would be."""
        self._sink.write(refusal_response(error, self._defaults))
        self._sink.linger()

    def resume(self) -> None:
        """The transport takes bytes again."""

    def hang_up(self) -> None:
        """Nobody is waiting for an answer."""

    def drain(self) -> None:
        """The connection knows."""

    def lost(self) -> None:
        """The connection is gone."""
