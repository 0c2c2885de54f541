"""The deadlines of one stream of HTTP/2: its body must arrive, and its response be taken.

Those of HTTP/1, which has one request at a time, are the connection's own
(`aserver.connection_phases`). A stream has a watch once there is something to wait for.
"""

from math import inf
from typing import Protocol

from ..limits import DRAIN_SECONDS, StreamLimits
from ..seams import Sink
from ..types import ProtocolError


class Watched(Protocol):
    """The stream, seen from its watch."""

    @property
    def received(self) -> int:
        """Bytes of body that have come."""

    @property
    def sent(self) -> int:
        """Bytes of body that were sent."""

    @property
    def sent_by_all(self) -> int:
        """How many bytes all streams of the connection have sent."""

    @property
    def has_window(self) -> bool:
        """Whether its peer allows it to send, as far as this stream is concerned."""

    @property
    def is_waiting_for_us(self) -> bool:
        """Whether the peer cannot send more of the body now."""

    def refuse(self, error: ProtocolError) -> None:
        """End it for the peer's mistake."""

    def give_up_rest(self) -> None:
        """The rest of a body that nobody wants has not come in time."""


class StreamWatch:
    """One stream's deadlines.

    Attributes:
        deadline: When to look, on the worker's clock.
    """

    __slots__ = (
        "_body_due",
        "_limits",
        "_received",
        "_rest_due",
        "_sent",
        "_sent_by_all",
        "_sink",
        "_stream",
        "_write_due",
        "deadline",
    )

    def __init__(self, stream: Watched, sink: Sink, limits: StreamLimits) -> None:
        self._stream = stream
        self._sink = sink
        self._limits = limits
        self._received = self._sent = self._sent_by_all = 0  # when it was last looked at
        self.deadline = self._body_due = self._write_due = self._rest_due = inf

    def __repr__(self) -> str:
        return f"<StreamWatch deadline={self.deadline} {self._stream!r}>"

    def expect_body(self) -> None:
        """More of the body is due."""
        self._received = self._stream.received
        self._body_due = self._sink.now + self._limits.body_seconds
        self._rearm()

    def expect_rest(self) -> None:
        """The rest of a body that nobody wants is due."""
        self._body_due = inf
        self._rest_due = self._sink.now + DRAIN_SECONDS
        self._rearm()

    def end_body(self) -> None:
        """Nothing more of the body is due."""
        self._body_due = inf
        self._rearm()

    def await_room(self) -> None:
        """The peer has to make room for the response, or is being waited for already."""
        if self._write_due == inf:
            self._sent = self._stream.sent
            self._sent_by_all = self._stream.sent_by_all
            self._write_due = self._sink.now + self._limits.write_seconds
            self._rearm()

    def end_writing(self) -> None:
        """The response has all the room that it needs for now."""
        self._write_due = inf
        self._rearm()

    def stop(self) -> None:
        """It is over."""
        self._sink.unwatch(self)

    def _rearm(self) -> None:
        deadline = min(self._body_due, self._write_due, self._rest_due)
        if deadline == self.deadline:
            return
        self.deadline = deadline
        if deadline == inf:
            self._sink.unwatch(self)
        else:
            self._sink.watch(self)

    def expire(self) -> None:
        """See what it is that is overdue."""
        now = self._sink.now
        if now >= self._rest_due:
            self._stream.give_up_rest()
        elif now >= self._write_due and not self._has_taken():
            self._refuse("it does not make room for its response (--write-timeout)")
        elif now >= self._body_due and not self._has_sent():
            self._refuse("the request body does not arrive fast enough (--min-body-rate)")
        else:
            self._renew(now)

    def _refuse(self, reason: str) -> None:
        self._sink.on_refused(self._stream, ProtocolError(408, reason))

    def _has_taken(self) -> bool:
        """Whether the peer takes the response, or another one that has its turn before this.

        The transport has a deadline of its own.
        """
        stream = self._stream
        if stream.sent > self._sent or self._sink.write_paused:
            return True
        return stream.has_window and stream.sent_by_all > self._sent_by_all

    def _has_sent(self) -> bool:
        """Whether the peer has sent what is due of the body, or has to wait for us."""
        arrived = self._stream.received - self._received
        return arrived >= self._limits.body_bytes or self._stream.is_waiting_for_us

    def _renew(self, now: float) -> None:
        if now >= self._write_due:
            self._write_due = inf
            self.await_room()
        if now >= self._body_due:
            self.expect_body()
