"""Messages from their fragments (RFC 6455 section 5.4), within limits of size and number."""

from ..limits import MessageLimits
from ..types import WebSocketError

# So many pieces become one, so that tiny fragments cost little more than their bytes; each byte is
# copied once for it.
_FEW = 1024


class Assembly:
    """The message that is arriving.

    Attributes:
        begun: Whether there is one.
        size: Bytes of it that are there.
        least_limit: A message of one frame may have so many.
    """

    __slots__ = (
        "_fragments",
        "_frame_size",
        "_limits",
        "_parts",
        "_pieces",
        "begun",
        "least_limit",
        "size",
    )

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self.least_limit = min(limits.message, limits.frame)
        self.clear()

    def clear(self) -> None:
        """There is none."""
        self.begun = False
        self.size = 0
        self._frame_size = 0
        self._fragments = 0
        self._pieces: list[str | bytes] | None = None
        self._parts: list[str | bytes] | None = None  # each made of a few pieces

    def count(self, size: int, *, ends_frame: bool) -> None:
        """Another piece has come, of so many bytes.

        Raises:
            WebSocketError: It is too much.
        """
        limits = self._limits
        self.begun = True
        self.size += size
        self._frame_size += size
        if self.size > limits.message:
            raise too_large(limits.message)
        if self._frame_size > limits.frame:
            raise WebSocketError(
                1009, f"a frame is larger than {limits.frame} bytes (--websocket-max-frame-size)"
            )
        if ends_frame:
            self._frame_size = 0
            self._fragments += 1
            if self._fragments > limits.fragments:
                raise WebSocketError(
                    1009,
                    f"the message has more than {limits.fragments} frames "
                    "(--websocket-max-fragments)",
                )

    def add(self, data: str | bytes) -> None:
        """Keep a piece until the last one comes."""
        if self._pieces is None:
            self._pieces = []
        self._pieces.append(data)
        if len(self._pieces) == _FEW:
            if self._parts is None:
                self._parts = []
            self._parts.append(_joined(self._pieces))
            self._pieces = []

    def take(self, last: str | bytes) -> str | bytes:
        """The whole message, with its last piece. The next one may begin."""
        if self._pieces is None:
            message = last
        else:
            message = _joined([*(self._parts or ()), *self._pieces, last])
        self.clear()
        return message


def _joined(pieces: list[str | bytes]) -> str | bytes:
    # They are all of one kind: a message is text or not.
    return pieces[0][:0].join(pieces)  # type: ignore[arg-type]


def too_large(limit: float) -> WebSocketError:
    """The end of a WebSocket by the size of a message."""
    return WebSocketError(
        1009, f"the message is larger than {limit:.0f} bytes (--websocket-max-message-size)"
    )
