"""What the examples have in common: news, which some publish and others follow."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

log = logging.getLogger(__name__)

BEAT = 5.0  # seconds of silence after which a stream says that it is still there


class News:
    """Only the event loop's thread touches it: no lock."""

    def __init__(self) -> None:
        self.latest = "Nothing yet."
        self._followers: set[asyncio.Queue[str]] = set()

    @property
    def followers(self) -> int:
        return len(self._followers)

    def publish(self, text: str) -> None:
        self.latest = text
        for follower in self._followers:
            follower.put_nowait(text)

    async def follow(self, beat: float | None = None) -> AsyncGenerator[str | None, None]:
        """The latest, then each as it comes; None for each `beat` seconds of silence."""
        coming: asyncio.Queue[str] = asyncio.Queue()
        self._followers.add(coming)
        try:
            yield self.latest
            while True:
                text = None
                try:
                    async with asyncio.timeout(beat):
                        text = await coming.get()
                except TimeoutError:
                    pass
                yield text
        finally:
            self._followers.discard(coming)

    async def events(self) -> AsyncGenerator[str, None]:
        """The same as server-sent events.

        The comments in the silence are for the frameworks that notice a reader's absence only when
        they send something. The server would wait 10 seconds for that, and cancel the application.
        """
        async with aclosing(self.follow(BEAT)) as news:
            async for text in news:
                yield ": still here\n\n" if text is None else f"data: {json.dumps(text)}\n\n"


@asynccontextmanager
async def open_news() -> AsyncIterator[News]:
    """For a lifespan: open before the first request, closed after the last."""
    log.info("open")
    yield News()
    log.info("closed")
