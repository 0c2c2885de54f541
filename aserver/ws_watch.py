"""The deadlines of an open WebSocket: a silent client, an idle or an old socket, the last answer.

A deadline is looked at when the sweep finds it passed, once a second at most; what happens on the
way, bytes and messages, only notes the time.
"""

from math import inf
from typing import Protocol

from .context import TICK, Context
from .engines.ws import FAILING, GOING_AWAY, WebSocket

# A client's mistake is answered when the application has answered the messages before it, but not
# later than this.
_FAILING_SECONDS = 1.0

# The largest control frame of a server (RFC 6455 section 5.5). That the client's kernel takes our
# pings is no sign of the client.
_CONTROL_BYTES = 127


class Watched(Protocol):
    """The cycle, seen from its watch."""

    def close(self, code: int, reason: str) -> None:
        """The server closes."""

    def on_silence(self, reason: str) -> None:
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
        "_cycle",
        "_ends_at",
        "_last_word",
        "_ping_at",
        "_pinged_at",
        "_taken",
        "_websocket",
        "active_at",
        "alive_at",
        "deadline",
    )

    def __init__(self, context: Context, websocket: WebSocket, cycle: Watched) -> None:
        limits = context.socket_limits
        self._context = context
        self._websocket = websocket
        self._cycle = cycle
        self.alive_at = self.active_at = context.now
        self._ends_at = context.now + limits.age_seconds
        self._ping_at = context.now + limits.ping_seconds
        self._pinged_at = inf  # the first ping that is not answered yet
        self._closing = False
        self._taken = 0  # bytes that the client had taken when we began to wait, less our pings
        self._last_word = 0  # what it has taken before it comes to our close frame
        self.deadline = inf
        self._rearm()
        context.watched.add(self)

    def __repr__(self) -> str:
        return f"<Watch deadline={self.deadline} closing={self._closing} {self._websocket!r}>"

    def stop(self) -> None:
        """It is over."""
        self._context.watched.discard(self)

    def close(self) -> None:
        """A close frame was sent: its answer is all that is waited for."""
        self._closing = True
        self._taken = self._websocket.taken()
        self._last_word = self._websocket.written - _CONTROL_BYTES
        self._wait(self._context.socket_limits.close_seconds)

    def hurry(self) -> None:
        """The client has made a mistake: it shall hear of it soon."""
        self._wait(_FAILING_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Not less than so long: the clock may be late by a tick."""
        self.deadline = self._context.now + seconds + TICK

    def expire(self) -> None:
        """See what it is that is overdue."""
        now, limits = self._context.now, self._context.socket_limits
        if self._websocket.state is FAILING:
            self._websocket.end_failing()
        elif self._closing:
            if self._taken < self._last_word and self._has_taken():  # it has not come to it yet
                self._wait(limits.close_seconds)
            else:
                reason = "it did not answer a close frame (--websocket-close-timeout)"
                self._cycle.on_silence(reason)
        elif now >= self._ends_at:
            self._cycle.close(GOING_AWAY, "open for too long (--websocket-timeout)")
        elif now >= self.active_at + limits.idle_seconds:
            self._cycle.close(GOING_AWAY, "idle for too long (--websocket-idle-timeout)")
        else:
            self._look_for_life(now)

    def _has_taken(self) -> bool:
        """Whether the client takes what it is sent: its answer may be long in coming."""
        before, self._taken = self._taken, self._websocket.taken()
        return self._taken > before

    def _look_for_life(self, now: float) -> None:
        """Ping on time, whatever the client sends: proxies want to see something from us, too."""
        limits, websocket = self._context.socket_limits, self._websocket
        if websocket.is_held:
            self.alive_at = now  # we do not listen
        if self.alive_at >= self._pinged_at:
            self._pinged_at = inf
        if now >= self._pinged_at + limits.pong_seconds:
            if not self._has_taken() and not websocket.tunnel.has_unread():
                self._cycle.on_silence("it did not answer a ping (--ping-timeout)")
                return
            self._pinged_at = now
        if now >= self._ping_at:
            self._ping_at = now + limits.ping_seconds
            if self._pinged_at == inf:
                self._pinged_at = now
                self._taken = websocket.taken()
            self._taken += _CONTROL_BYTES
            websocket.ping()
        self._rearm()

    def _rearm(self) -> None:
        limits = self._context.socket_limits
        self.deadline = min(
            self._ends_at,
            self.active_at + limits.idle_seconds,
            self._ping_at,
            self._pinged_at + limits.pong_seconds,
        )
