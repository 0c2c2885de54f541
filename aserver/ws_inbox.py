"""The messages of a WebSocket that wait for the application, in number and size within limits."""

from typing import Protocol


class Source(Protocol):
    """Where they come from: the WebSocket, seen from here."""

    def hold(self) -> None:
        """Let no more come."""

    def release(self) -> None:
        """Let more come."""


class Inbox:
    """A queue of messages: when it is too long, no more come.

    Args:
        source: Where they come from.
        most: Messages that may wait.
        most_bytes: Bytes, or characters, that may.
    """

    __slots__ = ("_count", "_is_held", "_most", "_most_bytes", "_new", "_old", "_queued", "_source")

    def __init__(self, source: Source, most: int, most_bytes: int) -> None:
        self._source: Source | None = source
        self._most = most
        self._most_bytes = most_bytes
        # Two lists, together smaller than a deque. The first of all is the last of the old.
        self._old: list[str | bytes] = []
        self._new: list[str | bytes] = []
        self._count = 0
        self._queued = 0  # bytes, or characters
        self._is_held = False

    @property
    def has_source(self) -> bool:
        """Whether more may come."""
        return self._source is not None

    def __bool__(self) -> bool:
        return self._count > 0

    def put(self, message: str | bytes, *, at_once: bool) -> None:
        """Another message; `at_once`: somebody is about to take it, so that it does not wait."""
        self._new.append(message)
        self._count += 1
        self._queued += len(message)
        if at_once or self._is_held or self._source is None:
            return
        if self._count > self._most or self._queued > self._most_bytes:
            self._is_held = True
            self._source.hold()

    def take(self) -> str | bytes:
        """The first message. With half of them gone, more may come."""
        if not self._old:
            self._old, self._new = self._new[::-1], self._old
        message = self._old.pop()
        self._count -= 1
        self._queued -= len(message)
        if (
            self._is_held
            and self._count <= self._most // 2
            and self._queued <= self._most_bytes // 2
        ):
            self._release()
        return message

    def clear(self) -> None:
        """Nobody wants them any more; but there may be a word to come that matters."""
        self._old, self._new = [], []
        self._count = self._queued = 0
        self._release()

    def _release(self) -> None:
        if self._is_held and self._source is not None:
            self._is_held = False
            self._source.release()

    def cut_off(self) -> None:
        """No more come; what is here may still be taken."""
        self._is_held = False
        self._source = None
