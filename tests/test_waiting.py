"""Lists of futures: everybody is woken, and who was cancelled is gone."""

import asyncio

import pytest

from aserver.waiting import wait, woken


async def started(waiters: list[asyncio.Future[None]], count: int) -> list[asyncio.Task[None]]:
    """Tasks that wait in the list by now."""
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(wait(loop, waiters)) for _ in range(count)]
    await asyncio.sleep(0)
    assert len(waiters) == count
    return tasks


@pytest.mark.asyncio
async def test_all_are_woken() -> None:
    waiters: list[asyncio.Future[None]] = []
    tasks = await started(waiters, 3)
    assert woken(waiters) is None
    assert await asyncio.gather(*tasks) == [None] * 3


@pytest.mark.asyncio
async def test_who_is_cancelled_leaves_the_others_waiting() -> None:
    waiters: list[asyncio.Future[None]] = []
    first, second = await started(waiters, 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(waiters) == 1
    assert not second.done()
    woken(waiters)
    await second


@pytest.mark.asyncio
async def test_cancelled_and_woken_at_once() -> None:
    waiters: list[asyncio.Future[None]] = []
    (task,) = await started(waiters, 1)
    task.cancel()
    woken(waiters)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_nobody_waits() -> None:
    assert woken(None) is None
