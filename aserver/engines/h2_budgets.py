"""How much of what costs us and not its sender a peer may do on one HTTP/2 connection.

A budget is a number at once and a rate behind it, and is given back where a peer does what such
frames are for. Whoever has none left is told to calm down (RFC 9113 section 10.5), and loses the
connection; another one is as good to an honest client.
"""

from enum import Enum

from ..limits import TokenBucket
from ..seams import Sink
from .h2_frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    ErrorCode,
    Frame,
    H2Error,
)


class Budget(Enum):
    """What is counted: how many at once, how many a second, and what they are called."""

    # A reset takes us the work on a request, and its sender a frame (CVE-2023-44487). A browser
    # that leaves a page resets what it has asked for; a proxy does for each of its clients that
    # leaves, so there may be one more for each request that came to its end.
    RESETS = (98, 50, "requests were cancelled")
    # The same, with the peer letting us do it (CVE-2025-8671).
    FAULTS = (50, 10, "streams had to be reset for a mistake")
    # Above what we have said is allowed at a time; a peer may not have read that yet.
    REFUSALS = (200, 50, "streams were opened above --http2-max-streams")
    # Each is answered, or thrown away: PING, SETTINGS, PRIORITY and what is not known
    # (CVE-2019-9512, CVE-2019-9515).
    CONTROLS = (200, 20, "control frames")
    # Without any data, and not the last (CVE-2019-9518).
    EMPTIES = (100, 10, "empty DATA frames")
    # For streams that are gone. They may have been on their way.
    LATECOMERS = (500, 100, "frames for streams that are closed")
    UPDATES = (500, 100, "WINDOW_UPDATE frames")
    # What we have to send in pieces, because the window does not allow more (CVE-2019-9511).
    CRUMBS = (200, 20, "small pieces of data were asked for")

    def __init__(self, burst: int, rate: int, what: str) -> None:
        self.burst = burst
        self.rate = rate
        self.what = what


# An enum's attribute look-up is a call in Python 3.11.
RESETS, FAULTS, REFUSALS, CONTROLS, EMPTIES, LATECOMERS, UPDATES, CRUMBS = Budget


class Budgets:
    """One connection's."""

    __slots__ = ("_buckets", "_sink")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buckets: dict[Budget, TokenBucket] = {}  # of those that were ever touched

    def spend(self, budget: Budget, count: float = 1) -> None:
        """Count one, or one that weighs more.

        Raises:
            H2Error: There were too many.
        """
        if not self._bucket(budget).take(self._sink.now, count):
            raise H2Error(ErrorCode.ENHANCE_YOUR_CALM, f"too many {budget.what}")

    def _bucket(self, budget: Budget) -> TokenBucket:
        bucket = self._buckets.get(budget)
        if bucket is None:
            bucket = self._buckets[budget] = TokenBucket(budget.burst, budget.rate)
        return bucket

    def give(self, budget: Budget, count: int) -> None:
        """Allow some more."""
        bucket = self._buckets.get(budget)
        if bucket is not None:
            bucket.give(count)

    def earn(self, budget: Budget, count: int) -> None:
        """Allow some more at any time: what they answer may be read late."""
        self._bucket(budget).earn(count)

    def count(self, frame: Frame, *, is_late: bool) -> None:
        """Count a frame; `is_late`: its stream is closed.

        Raises:
            H2Error: There were too many.
        """
        kind = frame.kind
        if kind in (DATA, HEADERS):
            if is_late:
                self.spend(LATECOMERS)
            elif kind == DATA and frame.body_size <= 0 and not frame.flags & END_STREAM:
                self.spend(EMPTIES)
        elif kind == WINDOW_UPDATE:
            self.spend(UPDATES)
        elif kind == RST_STREAM:
            if is_late:  # else it is counted with its stream
                self.spend(CONTROLS)
        elif kind != CONTINUATION:  # of which the library takes 64 for one request
            self.spend(CONTROLS)
