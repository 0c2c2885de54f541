"""The watch of a WebSocket on a stage: the test plays its cycle, its client, and the clock."""

from typing import Any

from aserver.engines.ws import WebSocket
from aserver.engines.ws_wsproto import WsprotoFrames
from aserver.ws_watch import Watch
from tests.fakes import FakeClock, new_context, nothing
from tests.ws_stage import PING, Frame, StageTunnel, read_frames

LATE_PONG = "give up: it did not answer a ping (--ping-timeout)"
LATE_CLOSE = "give up: it did not answer a close frame (--websocket-close-timeout)"

# Whatever the defaults become.
SECONDS = {
    "ping_interval": 20,
    "ping_timeout": 30,
    "websocket_close_timeout": 5,
    "websocket_idle_timeout": 0,
    "websocket_timeout": 0,
}


class WatchStage:
    """A WebSocket with its watch; the stage is the cycle of both, and the tunnel is the test's."""

    def __init__(self, **options: Any) -> None:
        self.context = new_context(nothing, **{**SECONDS, **options})
        self.clock = FakeClock(self.context)
        limits = self.context.socket_limits.messages
        self.websocket = WebSocket(self, WsprotoFrames(None, limits.message), limits)
        self.tunnel = self.websocket.tunnel = StageTunnel()
        self.watch = Watch(self.context, self.websocket, self)
        self._calls: list[str] = []
        self._read = 0

    # As the cycle

    def close(self, code: int, reason: str) -> None:
        self._calls.append(f"close {code} {reason}")
        self.websocket.close(code, reason)
        self.watch.close()

    def on_silence(self, reason: str) -> None:
        self._calls.append(f"give up: {reason}")
        self.watch.stop()

    def on_message(self, message: str | bytes, size: int) -> None:
        raise NotImplementedError

    def on_more(self) -> None:
        raise NotImplementedError

    def on_failing(self) -> None:
        self.watch.hurry()

    def on_closed(self, code: int, reason: str, by: str) -> None:
        self._calls.append(f"closed by the {by}")
        self.watch.stop()

    # As the test

    def run(self, seconds: int) -> list[str]:
        """A tick a second; returns what came of it."""
        calls, self._calls = self._calls, []
        for _ in range(seconds):
            self.clock.tick()
            frames = read_frames(self.tunnel.written[self._read :])
            self._read = len(self.tunnel.written)
            calls += ["ping"] * frames.count(Frame(PING, b"")) + self._calls
            self._calls.clear()
        return calls

    def hear(self) -> None:
        """Bytes come from the client, as they do between two ticks."""
        self.watch.alive_at = self.context.now

    def send(self, size: int) -> None:
        """The application says so much, of which the client has nothing yet."""
        self.tunnel.taken = len(self.tunnel.written)
        self.websocket.send(bytes(size))
        self._read = len(self.tunnel.written)

    def take(self, size: int) -> None:
        """The client does, and its kernel."""
        assert self.tunnel.taken is not None
        self.tunnel.taken = min(self.tunnel.taken + size, len(self.tunnel.written))
