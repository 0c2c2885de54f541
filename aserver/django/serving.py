"""What a server for development does besides: it says when it listens, and ends at once.

The process does not outlive the wish to end it by more than a moment, whatever the application is
at: its author waits for the new code, or has the prompt back.
"""

from collections.abc import Callable

from ..observer import Observed, Observer
from ..running import end_in_bounded_time

# What requests in progress have left, in seconds. On Ctrl-C, Django's reloader kills this process
# after a quarter of one.
GRACE_SECONDS = 0.1
# For everything: the lifespan's end, and code of the application that is stuck.
EXIT_SECONDS = 0.5


class Development(Observer):
    """A server's observer in development.

    Args:
        on_start: Called with its port when it listens.
        on_stop: Called when it begins to stop.
        ends_process: Whether the process ends with it.
    """

    def __init__(
        self,
        on_start: Callable[[int], None],
        on_stop: Callable[[], None],
        *,
        ends_process: bool,
    ) -> None:
        self._on_start = on_start
        self._on_stop = on_stop
        self._ends_process = ends_process

    def on_start(self, server: Observed) -> None:
        """Tell the port."""
        port = server.listeners[0].port
        assert port is not None
        self._on_start(port)

    def announce(self, server: Observed) -> None:
        """It is said in Django's words."""

    def on_stop_request(self, server: Observed) -> None:
        """Begin to count: the event loop may be stuck, and not hear of it."""
        if self._ends_process:
            end_in_bounded_time(EXIT_SECONDS, 0)

    def on_stop(self, server: Observed) -> None:
        """Tell that, too."""
        self._on_stop()
