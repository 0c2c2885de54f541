"""An event loop in which seconds take no time."""

import asyncio
import selectors


class _HastySelector(selectors.DefaultSelector):
    """Where the loop would wait for its next timer, the clock jumps."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(timeout and 0)


class HastyLoop(asyncio.SelectorEventLoop):
    """A loop for what waits for nothing but timers; its clock begins at zero."""

    def __init__(self) -> None:
        self._hasty = _HastySelector()
        super().__init__(self._hasty)

    def time(self) -> float:
        return self._hasty.now
