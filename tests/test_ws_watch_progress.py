"""Who takes what it is sent is alive, though its answer to a ping or a close is far behind."""

import pytest

from tests.watch_stage import LATE_CLOSE, LATE_PONG, WatchStage

pytestmark = pytest.mark.asyncio


async def test_pings_that_its_kernel_takes_are_no_sign_of_a_client() -> None:
    """Else there would be no deadline: the next ping comes before that of the first."""
    for interval, seconds in ((20, 30), (1, 30), (20, 5), (20, 90)):
        stage = WatchStage(ping_interval=interval, ping_timeout=seconds)
        stage.tunnel.taken = 0
        calls = []
        for _ in range(interval + seconds):
            calls += stage.run(1)
            stage.take(2**20)
        assert calls[-1] == LATE_PONG


@pytest.mark.parametrize("speed", [10_000, 1000])
async def test_reader_that_is_slow_but_steady_is_alive(speed: int) -> None:
    """Our pings are far behind, in the kernel and on the way."""
    stage = WatchStage()
    stage.send(2_000_000)
    while stage.tunnel.unsent() > speed:
        stage.take(speed)
        assert LATE_PONG not in stage.run(1)
    assert LATE_PONG not in stage.run(29)
    assert LATE_PONG in stage.run(60)


async def test_reader_that_stops_is_given_up() -> None:
    stage = WatchStage()
    stage.send(2_000_000)
    for _ in range(100):
        stage.take(10_000)
        assert LATE_PONG not in stage.run(1)
    assert LATE_PONG not in stage.run(29)
    assert LATE_PONG in stage.run(31)


async def test_reader_of_much_is_waited_for_behind_a_close_frame() -> None:
    """Its answer comes when it has read what lies before."""
    stage = WatchStage()
    stage.send(200_000)
    stage.close(1000, "")
    stage.run(0)
    for _ in range(19):
        stage.take(10_000)
        assert stage.run(1) == []
    assert stage.run(5) == []
    assert stage.run(6) == [LATE_CLOSE]


async def test_close_frame_that_its_kernel_takes_is_no_sign_of_a_client() -> None:
    stage = WatchStage()
    stage.tunnel.taken = 0
    stage.close(4000, "a reason" * 10)
    stage.run(0)
    stage.take(2**20)
    assert stage.run(6) == [LATE_CLOSE]
