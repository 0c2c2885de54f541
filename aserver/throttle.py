"""Records that outsiders can provoke as often as they like: the first few of a kind, then a count.

A kind is a message before its arguments are put in. Within a minute, the first records of a kind
are logged as they are, and when the minute is over, one line says how many more there were. The
clock is the tick's, so nothing is timed here.
"""

import logging

from .escaping import printable

SHOWN = 5  # of each kind, in full
WINDOW = 60.0  # seconds


class _Window:
    """A kind's minute."""

    __slots__ = ("count", "last", "level", "logger", "opened")

    def __init__(self, logger: logging.Logger, level: int, opened: float) -> None:
        self.logger = logger
        self.level = level
        self.opened = opened
        self.count = 0
        self.last = ""  # of those that were not shown


class Throttle:
    """One worker's."""

    def __init__(self) -> None:
        self._now = 0.0
        self._windows: dict[str, _Window] = {}

    def info(self, logger: logging.Logger, message: str, *args: object) -> None:
        """Log noise from outside."""
        self._log(logger, logging.INFO, message, args)

    def warning(self, logger: logging.Logger, message: str, *args: object) -> None:
        """Log what an operator should know of, once or twice."""
        self._log(logger, logging.WARNING, message, args)

    def _log(
        self, logger: logging.Logger, level: int, message: str, args: tuple[object, ...]
    ) -> None:
        if not logger.isEnabledFor(level):
            return
        window = self._windows.get(message)
        if window is None:
            window = self._windows[message] = _Window(logger, level, self._now)
        # Who asks for debug messages wants to see everything.
        if window.count < SHOWN or logger.isEnabledFor(logging.DEBUG):
            window.count += 1
            logger.log(level, message, *args)
        else:
            window.count += 1
            window.last = message % args

    def advance(self, now: float) -> None:
        """The tick: sum up the minutes that are over."""
        self._now = now
        for message, window in list(self._windows.items()):
            if now >= window.opened + WINDOW:
                del self._windows[message]
                self._sum_up(window)

    def close(self) -> None:
        """Sum up what is left."""
        for window in self._windows.values():
            self._sum_up(window)
        self._windows.clear()

    def _sum_up(self, window: _Window) -> None:
        if window.last:
            window.logger.log(
                window.level,
                "%d more in %d seconds that are not shown, the last: %s",
                window.count - SHOWN,
                self._now - window.opened,
                printable(window.last),
            )
