"""How a cycle waits: a list of futures, made only when somebody really waits.

An event or a queue per request would cost more than most requests do.
"""

import asyncio

Waiters = list[asyncio.Future[None]] | None


async def wait(loop: asyncio.AbstractEventLoop, waiters: list[asyncio.Future[None]]) -> None:
    """Wait in the list until `woken`. Each waiter has its own future: it may be cancelled."""
    waiter = loop.create_future()
    waiters.append(waiter)
    try:
        await waiter
    finally:
        if waiter.cancelled():
            # Some frameworks ask for a disconnect in this way, before every piece they send.
            waiters.remove(waiter)


def woken(waiters: Waiters) -> Waiters:
    """Wake all who wait; returns what is left of them, nothing."""
    for waiter in waiters or ():
        if not waiter.done():
            waiter.set_result(None)
    return None
