"""A server for development: it says when it listens, and ends at once.

The process does not outlive the wish to end it by more than a moment, whatever the application is
at: its author waits for the new code, or has the prompt back.
"""

import atexit
import threading
from collections.abc import Callable

from ..context import Context
from ..running import exit_now
from ..server import Server

# What requests in progress have left, in seconds. On Ctrl-C, Django's reloader kills this process
# after a quarter of one.
GRACE_SECONDS = 0.1
# For applications to end by themselves when their clients are gone.
_LEAVE_SECONDS = 0.1
# For everything: the lifespan's end, and threads of the application that are stuck.
EXIT_SECONDS = 0.5


class DevelopmentServer(Server):
    """A server that tells of its beginning and of its end.

    Attributes:
        on_start: Called when it listens.
        on_stop: Called when it begins to stop.
    """

    on_start: Callable[[], None]
    on_stop: Callable[[], None]

    async def start(self) -> None:
        """As `Server.start`."""
        await super().start()
        self.on_start()

    async def stop(self) -> None:
        """As `Server.stop`."""
        self.on_stop()
        await super().stop()

    async def _cancel(self, context: Context) -> None:
        """End the connections first.

        Django cleans up behind a client that leaves. Cancelled, it would let the view go on alone.
        """
        for connection in list(context.connections):
            connection.abort(reset=True)
        if not await self._settle(context, _LEAVE_SECONDS, forced=True):
            await super()._cancel(context)

    @property
    def port(self) -> int:
        """The port of its first listener."""
        port: int = self.sockets[0].getsockname()[1]
        return port


def exit_in_bounded_time(code: int) -> None:
    """End this process soon, even if something keeps the interpreter from ending."""
    watchdog = threading.Timer(EXIT_SECONDS, exit_now, (code,))
    watchdog.daemon = True
    watchdog.start()
    # The interpreter runs these when the threads have ended.
    atexit.register(watchdog.cancel)
