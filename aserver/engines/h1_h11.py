"""The h11 parser, the strict reference: bytes -> `on_head`, `on_body`, `on_end`. Parsing only.

h11 has one state machine for both directions; only its receiving half is used here, with a fresh
connection for every request, so that h11 never has an opinion about what this server sends.
"""

import h11

from ..limits import MAX_HEAD_SIZE
from ..types import ParserEvents, ProtocolError


class H11Parser:
    """h11's events, turned into the engine's calls."""

    __slots__ = ("_conn", "_events")

    def __init__(self, events: ParserEvents) -> None:
        self._events = events
        self._conn = _fresh()

    def feed(self, data: bytes) -> None:
        """Parse bytes."""
        self._conn.receive_data(data)
        while self._take(self._conn.next_event()):
            pass

    def recover(self, error: Exception, data: bytes) -> None:
        """h11 cannot go on behind an error."""
        if isinstance(error, h11.RemoteProtocolError):
            error.__traceback__ = None  # it holds the error, and the engine with it
            raise ProtocolError(
                error.error_status_hint, f"not a valid HTTP/1 request: {error}"
            ) from None
        raise error

    def close(self) -> None:
        """Let go of the engine."""
        del self._events, self._conn

    def _take(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> bool:
        """Pass on one event; returns whether there may be more."""
        if isinstance(event, h11.Data):
            self._events.on_body(bytes(event.data))
        elif isinstance(event, h11.Request):
            headers = list(event.headers)
            version = event.http_version.decode("ascii")
            self._events.on_head(event.method, event.target, version, headers)
        elif isinstance(event, h11.EndOfMessage):
            rest, _ = self._conn.trailing_data
            self._conn = _fresh()
            self._conn.receive_data(rest) if rest else None
            self._events.on_end()
            return bool(rest)
        else:
            return False
        return True


def _fresh() -> h11.Connection:
    # h11 checks this limit on incomplete heads only; the engine's own count is the real one.
    return h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_HEAD_SIZE)
