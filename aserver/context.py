"""What the connections of one worker share: the application, the clock, the prepared header lines,
and the configuration, flattened so that the hot path reads one attribute.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context as TaskContext
from time import gmtime, time
from typing import Any

from .admission import Admission
from .config import Config
from .engines.h2_wire import NewWire
from .engines.ws_deflate import DeflateLimits
from .engines.ws_frames import NewFrames
from .limits import (
    Clock,
    RequestLimits,
    SocketLimits,
    StreamLimits,
    or_endless,
    or_unlimited,
    phase_seconds,
)
from .logs import server_log
from .seams import Parser
from .throttle import Throttle
from .types import ASGIApplication, ProtocolError
from .worker_seams import Connected, Expiring, Forwarder, RequestLog, Running

NewTask = Callable[..., asyncio.Task[None]]

TICK = 1.0  # seconds

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Context:
    """One worker's shared state. Made by the server before it listens.

    Args:
        task_context: The context variables that every request starts with a copy of: those of the
        lifespan.
        new_frames: Makes the frame engine of a WebSocket; None: there are no WebSockets here.
        new_wire: Makes the wire of an HTTP/2 connection; None: HTTP/2 is not spoken here.
        forwarding: Knows which proxies are believed; None: nobody is.
        tick: How often `advance` is called, in seconds.
        slack: How late the clock may be between two calls, in seconds.
    """

    __slots__ = (
        "_clock",
        "access_log",
        "admission",
        "app",
        "body_bytes",
        "close_seconds",
        "connections",
        "cycles",
        "date_line",
        "default_lines",
        "deflate",
        "draining",
        "forwarding",
        "has_signals",
        "keeps_alive",
        "last_lines",
        "loop",
        "max_concurrency",
        "new_frames",
        "new_task",
        "new_wire",
        "now",
        "parser",
        "quiet",
        "request_limits",
        "response_seconds",
        "root_path",
        "seconds",
        "server_line",
        "socket_limits",
        "state",
        "stream_limits",
        "task_context",
        "throttle",
        "watched",
        "write_buffer",
    )

    def __init__(
        self,
        app: ASGIApplication,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        parser: Parser,
        task_context: TaskContext,
        new_frames: NewFrames | None = None,
        new_wire: NewWire | None = None,
        forwarding: Forwarder | None = None,
        *,
        wall: float,
        tick: float = TICK,
        slack: float = TICK,
    ) -> None:
        self.app = app
        self.loop = loop
        # A task made directly costs a quarter less than through the loop, once a request. A loop
        # that has a task factory is asked, though.
        self.new_task: NewTask = _ask_loop if loop.get_task_factory() else asyncio.Task
        self.parser = parser
        self.task_context = task_context
        self.new_frames = new_frames
        self.new_wire = new_wire
        self.forwarding = forwarding
        self.state: dict[str, Any] | None = None  # the lifespan's, if the application has one
        self.access_log: RequestLog | None = None
        self.throttle = Throttle()
        self.has_signals = False  # Ctrl-C is a signal handler's of ours, never an exception
        self.connections: set[Connected] = set()
        self.cycles: set[Running] = set()
        # What else has deadlines: open WebSockets, and streams that a peer keeps waiting.
        self.watched: set[Expiring] = set()
        self.draining = False  # the server is stopping: whoever is here gets what it asked for
        self.quiet: asyncio.Future[None] | None = None  # set by `settled`
        self.admission = Admission(config.limits, self.connections, self.throttle)
        self._flatten(config, slack)
        self._clock = Clock(wall, tick)
        self.now = 0.0
        self.root_path = config.http.root_path
        name = config.http.server_name
        self.server_line = f"server: {name}\r\n".encode("latin-1") if name else b""
        self.date_line = self.default_lines = self.last_lines = b""
        self.set_date(time())

    def _flatten(self, config: Config, slack: float) -> None:
        limits, websocket = config.limits, config.websocket
        self.request_limits = RequestLimits.of(limits)
        has_websockets = self.new_frames is not None
        self.stream_limits = StreamLimits.of(
            config.http2, limits, slack, has_websockets=has_websockets
        )
        self.socket_limits = SocketLimits.of(websocket, limits, slack)
        self.deflate: DeflateLimits | None = None
        if websocket.websocket_compression:
            self.deflate = DeflateLimits(
                websocket.websocket_window_bits, websocket.websocket_compression_threshold
            )
        self.max_concurrency = or_unlimited(limits.max_concurrency)
        self.write_buffer = limits.write_buffer
        self.response_seconds = or_unlimited(limits.http_timeout) + slack
        self.close_seconds = or_endless(limits.application_close_timeout, slack)
        self.keeps_alive = limits.keep_alive != 0
        handshake, preamble = config.tls.tls_handshake_timeout, config.proxy.proxy_protocol_timeout
        self.seconds = phase_seconds(limits, handshake, preamble, slack)
        # Of a request body, in the seconds of the phase RECEIVING.
        self.body_bytes = limits.min_body_rate * limits.body_timeout

    def too_busy(self) -> ProtocolError:
        """What a request is refused with when `max_concurrency` calls are at work."""
        self.throttle.warning(
            server_log,
            "As many requests are at work as --max-concurrency (%d) allows: refusing further ones",
            self.max_concurrency,
        )
        return ProtocolError(503, "too many requests are at work (--max-concurrency)")

    def advance(self, wall: float) -> None:
        """The tick: move the clock and the date."""
        self._clock.advance(wall)
        self.now = self._clock.now
        self.throttle.advance(self.now)
        self.set_date(time())

    async def settled(self) -> None:
        """Wait until there is no connection and no call of the application."""
        while self.connections or self.cycles:
            self.quiet = self.loop.create_future()
            await self.quiet

    def check_quiet(self) -> None:
        """Called where a connection or a call ends, once somebody waits for that."""
        if self.quiet is None or self.quiet.done():
            return
        if not self.connections and not self.cycles:
            self.quiet.set_result(None)

    def set_date(self, timestamp: float) -> None:
        """Prepare the lines that every response has."""
        self.date_line = f"date: {imf_date(timestamp)}\r\n".encode("ascii")
        self.default_lines = self.date_line + self.server_line
        self.last_lines = self.default_lines + b"\r\n"


def _ask_loop(
    coro: Coroutine[Any, Any, None], *, loop: asyncio.AbstractEventLoop, **options: Any
) -> asyncio.Task[None]:
    return loop.create_task(coro, **options)


def imf_date(timestamp: float) -> str:
    """A date as HTTP writes it (RFC 9110 section 5.6.7), whatever the process's locale."""
    t = gmtime(timestamp)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )
