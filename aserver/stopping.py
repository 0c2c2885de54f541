"""How far a server is, and who has asked it to stop."""

import asyncio
from enum import Enum


class State(Enum):
    """How far a server is; each follows the one above it, and the first the last."""

    IDLE = "is not started"
    STARTING = "is starting"
    SERVING = "has started"
    STOPPING = "is stopping"


class StopRequests:
    """What was asked of a server between one rest and the next. Made and waited for in its loop.

    Attributes:
        asked: Set when somebody has asked it to stop; at the end in any case.
        hurry: Set when somebody has asked again, and so does not want to wait.
        rested: Set when the server has come to its end.
    """

    def __init__(self) -> None:
        self._count = 0
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.rested = asyncio.Event()

    def add(self) -> None:
        """Count one more, in any thread; `heed` does the rest."""
        self._count += 1

    def heed(self) -> bool:
        """Tell those who wait, in their event loop. Returns whether there are any requests."""
        if self._count > 0:
            self.asked.set()
        if self._count > 1:
            self.hurry.set()
        return self._count > 0

    def end(self) -> None:
        """The server has come to its end."""
        self.asked.set()
        self.rested.set()
