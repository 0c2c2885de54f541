"""The deadlines of an open WebSocket: a silent client, an idle or an old socket, the last answer.

A deadline is looked at when the sweep finds it passed, once a second at most; what happens on the
way, bytes and messages, only notes the time.
"""

from math import inf
from typing import Protocol

from .context import Context
from .engines.ws import GOING_AWAY

# A client's mistake is answered when the application has answered the messages before it, but not
# later than this.
_FAILING_SECONDS = 1.0


class Watched(Protocol):
    """The cycle, seen from its watch."""

    @property
    def is_held(self) -> bool:
        """Whether nothing is read from the client at present."""

    @property
    def is_failing(self) -> bool:
        """Whether the client has made a mistake and has not been told so."""

    def end_failing(self) -> None:
        """Tell it now."""

    def ping(self) -> None:
        """Ask the client for a sign of life."""

    def shows_life(self) -> bool:
        """Whether the client has sent something unread, or takes what it is sent."""

    def close(self, code: int, reason: str) -> None:
        """The server closes."""

    def give_up(self, reason: str) -> None:
        """The client is not there any more."""


class Watch:
    """One WebSocket's deadlines.

    Attributes:
        deadline: When to look, on the worker's clock.
        alive_at: When the client has last sent anything.
        active_at: When there was last a message, either way.
    """

    __slots__ = (
        "_closing",
        "_context",
        "_ends_at",
        "_ping_at",
        "_pinged_at",
        "_watched",
        "active_at",
        "alive_at",
        "deadline",
    )

    def __init__(self, context: Context, watched: Watched) -> None:
        self._context = context
        self._watched = watched
        self.alive_at = self.active_at = context.now
        self._ends_at = context.now + context.socket_limits.age_seconds
        self._ping_at = context.now + context.socket_limits.ping_seconds
        self._pinged_at = inf  # the first ping that is not answered yet
        self._closing = False
        self.deadline = inf
        self._rearm()
        context.sockets.add(self)

    def stop(self) -> None:
        """It is over."""
        self._context.sockets.discard(self)

    def close(self) -> None:
        """A close frame was sent: its answer is all that is waited for."""
        self._closing = True
        self.deadline = self._context.now + self._context.socket_limits.close_seconds

    def hurry(self) -> None:
        """The client has made a mistake: it shall hear of it soon."""
        self.deadline = self._context.now + _FAILING_SECONDS

    def expire(self) -> None:
        """See what it is that is overdue."""
        now, limits = self._context.now, self._context.socket_limits
        if self._watched.is_failing:
            self._watched.end_failing()
        elif self._closing:
            self._watched.give_up("it did not answer a close frame (--websocket-close-timeout)")
        elif now >= self._ends_at:
            self._watched.close(GOING_AWAY, "open for too long (--websocket-timeout)")
        elif now >= self.active_at + limits.idle_seconds:
            self._watched.close(GOING_AWAY, "idle for too long (--websocket-idle-timeout)")
        else:
            self._look_for_life(now)

    def _look_for_life(self, now: float) -> None:
        """Ping on time, whatever the client sends: proxies want to see something from us, too."""
        if self._watched.is_held:
            self.alive_at = now  # we do not listen
        if self.alive_at >= self._pinged_at:
            self._pinged_at = inf
        if now >= self._pinged_at + self._context.socket_limits.pong_seconds:
            if not self._watched.shows_life():
                self._watched.give_up("it did not answer a ping (--ping-timeout)")
                return
            self._pinged_at = inf
        if now >= self._ping_at:
            self._ping_at = now + self._context.socket_limits.ping_seconds
            if self._pinged_at == inf:
                self._pinged_at = now
                self._watched.shows_life()  # as it is from here on
            self._watched.ping()
        self._rearm()

    def _rearm(self) -> None:
        limits = self._context.socket_limits
        self.deadline = min(
            self._ends_at,
            self.active_at + limits.idle_seconds,
            self._ping_at,
            self._pinged_at + limits.pong_seconds,
        )
