"""The messages of a WebSocket that wait for the application, in number and size within limits."""

from .seams import Tunnel


class Inbox:
    """A queue of messages: when it is too long, nothing is read from the client.

    Args:
        tunnel: Where they come from.
        most: Messages that may wait.
        most_bytes: Bytes, or characters, that may.

    Attributes:
        is_held: Whether nothing is read at present.
    """

    __slots__ = ("_messages", "_most", "_most_bytes", "_queued", "_tunnel", "is_held")

    def __init__(self, tunnel: Tunnel, most: int, most_bytes: int) -> None:
        self._tunnel = tunnel
        self._most = most
        self._most_bytes = most_bytes
        self._messages: list[str | bytes] = []  # few, and a list is small
        self._queued = 0
        self.is_held = False

    def __bool__(self) -> bool:
        return bool(self._messages)

    def put(self, message: str | bytes, *, at_once: bool) -> None:
        """Another message; `at_once`: somebody is about to take it, so that it does not wait."""
        self._messages.append(message)
        self._queued += len(message)
        too_many = len(self._messages) > self._most or self._queued > self._most_bytes
        if too_many and not at_once and not self.is_held:
            self.is_held = True
            self._tunnel.hold()

    def take(self) -> str | bytes:
        """The first message. With half of them gone, reading goes on."""
        message = self._messages.pop(0)
        self._queued -= len(message)
        if (
            self.is_held
            and len(self._messages) <= self._most // 2
            and self._queued <= self._most_bytes // 2
        ):
            self.release()
        return message

    def clear(self) -> None:
        """Nobody wants them any more: read on, for what is still to be heard."""
        self._messages.clear()
        self._queued = 0
        self.release()

    def release(self) -> None:
        """Read on."""
        if self.is_held:
            self.is_held = False
            self._tunnel.release()

    def lost(self) -> None:
        """There is no tunnel any more; what has come through it may still be taken."""
        self.is_held = False
