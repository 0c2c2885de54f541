"""The deadlines of an open WebSocket, each by itself and with the others, by a clock of our own."""

from math import inf

import pytest

from tests.watch_stage import LATE_CLOSE, LATE_PONG, WatchStage
from tests.ws_stage import UNMASKED

pytestmark = pytest.mark.asyncio

IDLE = "close 1001 idle for too long (--websocket-idle-timeout)"
OLD = "close 1001 open for too long (--websocket-timeout)"


# Pings


async def test_silent_client_is_pinged_then_given_up() -> None:
    stage = WatchStage()
    assert stage.run(19) == []
    assert stage.run(1) == ["ping"]
    assert stage.run(29) == ["ping"]
    assert stage.run(1) == [LATE_PONG], "30 s behind the first that it did not answer"
    assert stage.run(1000) == []
    assert not stage.context.watched


async def test_pings_come_on_time_whoever_talks() -> None:
    """They are also what keeps a proxy in between from closing."""
    stage = WatchStage()
    seconds = []
    for second in range(1, 101):
        if stage.run(1):
            seconds.append(second)
        stage.hear()
    assert seconds == [20, 40, 60, 80, 100]


async def test_pong_in_the_moment_of_the_ping() -> None:
    """The clock has not moved since: it is an answer all the same."""
    stage = WatchStage()
    assert stage.run(20) == ["ping"]
    stage.hear()
    assert stage.run(20) == ["ping"]
    assert stage.run(29) == ["ping"]
    assert stage.run(1) == [LATE_PONG]


@pytest.mark.parametrize("second", [1, 19, 20, 29])
async def test_any_byte_answers_all_pings_before(second: int) -> None:
    stage = WatchStage()
    assert stage.run(20) == ["ping"]
    stage.run(second)
    stage.hear()
    assert LATE_PONG not in stage.run(30)


async def test_byte_before_a_ping_is_no_answer() -> None:
    stage = WatchStage()
    stage.run(19)
    stage.hear()
    stage.run(30)
    assert stage.run(1) == [LATE_PONG]


async def test_what_we_send_is_no_sign_of_the_client() -> None:
    stage = WatchStage()
    calls = []
    for _ in range(50):
        calls += stage.run(1)
        stage.watch.active_at = stage.context.now
    assert calls == ["ping", "ping", LATE_PONG]


async def test_no_pings() -> None:
    stage = WatchStage(ping_interval=0)
    assert stage.watch.deadline == inf
    assert stage.run(1000) == []


async def test_pings_without_a_deadline() -> None:
    stage = WatchStage(ping_timeout=0)
    assert stage.run(200) == ["ping"] * 10


async def test_ping_deadline_shorter_than_the_interval() -> None:
    stage = WatchStage(ping_interval=20, ping_timeout=5)
    assert stage.run(24) == ["ping"]
    assert stage.run(1) == [LATE_PONG]


async def test_deadline_is_looked_at_when_there_is_something_to_do() -> None:
    stage = WatchStage(ping_interval=20, ping_timeout=5)
    looks = 0
    for _ in range(200):
        looks += stage.clock.tick()
        stage.hear()
    assert looks == 10 + 9, "each ping, and each deadline behind one"


# Life that was not heard


async def test_pong_that_waits_in_the_kernel() -> None:
    stage = WatchStage()
    assert stage.run(20) == ["ping"]
    stage.tunnel.unread = True
    assert stage.run(30) == ["ping"]
    stage.tunnel.unread = False
    assert stage.run(29) == ["ping"]
    assert stage.run(1) == [LATE_PONG]


async def test_stalled_loop_closes_nobody() -> None:
    stage = WatchStage()
    assert stage.run(20) == ["ping"]
    stage.clock.tick(226)
    assert stage.run(0) == []
    stage.hear()
    assert LATE_PONG not in stage.run(40)


async def test_stall_before_the_ping() -> None:
    stage = WatchStage()
    stage.clock.tick(3600)
    assert stage.run(0) == []


async def test_who_is_held_is_not_judged() -> None:
    stage = WatchStage()
    stage.websocket.hold()
    assert stage.run(1000) == ["ping"] * 50


async def test_time_of_a_hold_is_not_the_clients() -> None:
    stage = WatchStage()
    assert stage.run(20) == ["ping"]
    stage.websocket.hold()
    stage.run(1000)
    stage.websocket.release()
    assert LATE_PONG not in stage.run(29)


# Messages, and age


async def test_idle() -> None:
    stage = WatchStage(websocket_idle_timeout=10)
    assert stage.run(9) == []
    assert stage.run(1) == [IDLE]


async def test_messages_keep_it_from_being_idle() -> None:
    stage = WatchStage(websocket_idle_timeout=10)
    for _ in range(50):
        assert IDLE not in stage.run(9)
        stage.watch.active_at = stage.context.now
        stage.hear()
    assert IDLE not in stage.run(9)
    assert stage.run(1) == [IDLE]


async def test_pings_and_pongs_are_no_messages() -> None:
    stage = WatchStage(websocket_idle_timeout=10, ping_interval=3)
    calls = []
    for _ in range(10):
        calls += stage.run(1)
        stage.hear()
    assert calls[-1] == IDLE


async def test_age() -> None:
    stage = WatchStage(websocket_timeout=100)
    calls = []
    for _ in range(100):
        calls += stage.run(1)
        stage.watch.active_at = stage.context.now
        stage.hear()
    assert calls == ["ping"] * 4 + [OLD]


async def test_age_of_a_client_that_is_held() -> None:
    stage = WatchStage(websocket_timeout=100)
    stage.websocket.hold()
    assert stage.run(99) == ["ping"] * 4
    assert stage.run(1) == [OLD]


@pytest.mark.parametrize("off", [0, -1])
async def test_no_idle_and_no_age_limit(off: int) -> None:
    stage = WatchStage(ping_interval=0, websocket_timeout=off, websocket_idle_timeout=off)
    assert stage.watch.deadline == inf


async def test_age_comes_before_a_late_pong() -> None:
    """A close frame with its code is better than none."""
    stage = WatchStage(websocket_timeout=50)
    assert stage.run(49) == ["ping"] * 2
    assert stage.run(1) == [OLD]


# The end


async def test_close_frame_that_is_not_answered() -> None:
    stage = WatchStage()
    stage.run(3)
    stage.close(1000, "")
    stage.run(0)
    assert stage.run(5) == [], "the clock may be late by one tick"
    assert stage.run(1) == [LATE_CLOSE]


async def test_nothing_else_counts_behind_a_close_frame() -> None:
    stage = WatchStage(websocket_timeout=4, websocket_idle_timeout=3, websocket_close_timeout=90)
    stage.close(1000, "")
    stage.run(0)
    assert stage.run(90) == []
    stage.hear()
    assert stage.run(1) == [LATE_CLOSE], "nor that it is alive"


async def test_close_frame_may_wait_for_ever() -> None:
    stage = WatchStage(websocket_close_timeout=0)
    stage.close(1000, "")
    stage.run(0)
    assert stage.run(10_000) == []


async def test_mistake_is_told_soon() -> None:
    stage = WatchStage()
    stage.run(3)
    stage.websocket.feed(UNMASKED)
    assert stage.run(1) == [], "the clock may be late by one tick"
    assert stage.run(1) == ["closed by the server"]


async def test_what_is_over_is_not_watched() -> None:
    stage = WatchStage()
    assert stage.context.watched == {stage.watch}
    stage.watch.stop()
    stage.watch.stop()
    assert not stage.context.watched
    assert stage.run(1000) == []
