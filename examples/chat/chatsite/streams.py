"""Paced streams, and a record of how each one ended: read to the end or abandoned."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from django.http import StreamingHttpResponse


@dataclass
class Counts:
    """The streams of this process. Only the event loop's thread changes it: no lock."""

    running: int = 0
    finished: int = 0
    abandoned: int = 0


counts = Counts()


async def paced(chunks: Iterable[str], delay: float) -> AsyncGenerator[str, None]:
    """Yield the chunks, `delay` seconds apart.

    When the reader goes away the server tells Django, and Django cancels the request: the sleep
    raises CancelledError at once, and no token is made for nobody.
    """
    counts.running += 1
    finished = False
    try:
        for chunk in chunks:
            yield chunk
            await asyncio.sleep(delay)
        finished = True
    finally:
        counts.running -= 1
        if finished:
            counts.finished += 1
        else:
            counts.abandoned += 1


class ClosingStream(StreamingHttpResponse):
    """A stream that ends its generator when the sending ends, however that comes about.

    Cancelled in a sleep, a generator has ended. But when the reader's absence is first noticed by
    the sending of a chunk, the generator waits in its `yield`, and Django would leave it to the
    garbage collector.
    """

    def __init__(self, chunks: AsyncGenerator[str, None], **kwargs: Any) -> None:
        super().__init__(chunks, **kwargs)
        self.chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(self.chunks):
            async for part in self.streaming_content:
                yield part
