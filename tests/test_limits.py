"""The clock, and the sweep over deadlines."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.config import Http2, Limits, WebSocket
from aserver.limits import (
    ACTIVE,
    CLOSING,
    DRAINING,
    HANDSHAKE,
    HEAD,
    IDLE,
    NEW,
    PREAMBLE,
    RECEIVING,
    WRITING,
    Clock,
    MessageLimits,
    Phase,
    RequestLimits,
    SocketLimits,
    StreamLimits,
    TokenBucket,
    or_endless,
    or_unlimited,
    phase_seconds,
    sweep,
)


@pytest.mark.parametrize(
    ("option", "seconds"), [(0, inf), (0.0, inf), (-1, inf), (-0.5, inf), (1.5, 1.5)]
)
def test_or_unlimited(option: float, seconds: float) -> None:
    assert or_unlimited(option) == seconds


def test_clock_starts_at_zero() -> None:
    clock = Clock(1000.0, 1.0)
    assert clock.now == 0.0
    clock.advance(1001.0)
    assert clock.now == 1.0


def test_clock_follows_small_differences() -> None:
    clock = Clock(0.0, 1.0)
    clock.advance(1.25)
    assert clock.now == 1.0
    clock.advance(2.0)
    assert clock.now == 2.0


def test_clock_does_not_count_a_stall() -> None:
    clock = Clock(0.0, 1.0)
    clock.advance(3600.0)
    assert clock.now == 1.0
    clock.advance(3601.0)
    assert clock.now == 2.0
    clock.advance(3601.5)  # late by a tick, it makes up for that
    assert clock.now == 3.0


def test_clock_goes_by_its_tick() -> None:
    clock = Clock(0.0, 0.1)
    clock.advance(1.0)
    assert clock.now == pytest.approx(0.1)


class Thing:
    """Something with a deadline; it ends others when its own comes."""

    def __init__(self, deadline: float, *others: "Thing") -> None:
        self.deadline = deadline
        self.expired = 0
        self._others = others

    def expire(self) -> None:
        self.expired += 1
        self.deadline = inf
        for other in self._others:
            other.deadline = inf


def test_sweep() -> None:
    things = [Thing(deadline) for deadline in (0.0, 4.9, 5.0, 5.1, inf)]
    assert sweep(5.0, things) == 3
    assert [thing.expired for thing in things] == [1, 1, 1, 0, 0]
    assert sweep(5.0, things) == 0


def test_sweep_of_a_set_that_changes() -> None:
    things: set[Thing] = set()

    class Leaver(Thing):
        def expire(self) -> None:
            super().expire()
            things.remove(self)

    things.update(Leaver(1.0) for _ in range(10))
    assert sweep(1.0, things) == 10
    assert not things


def test_one_that_fails_does_not_shield_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Thing):
        def expire(self) -> None:
            super().expire()
            raise ZeroDivisionError("a bug")

    broken = Broken(1.0)
    things = [Thing(1.0), broken, Thing(1.0)]
    assert sweep(1.0, things) == 3
    assert [thing.expired for thing in things] == [1, 1, 1]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert sweep(2.0, things) == 0, "it is not tried every second"
    assert sweep(61.0, things) == 1


def test_phases_index_the_seconds() -> None:
    """`Context.seconds` is a tuple in this order."""
    assert [phase.value for phase in Phase] == list(range(len(Phase)))


def test_seconds_of_each_phase() -> None:
    limits = Limits(
        first_byte_timeout=1, header_timeout=2, body_timeout=3, keep_alive=4, write_timeout=5
    )
    seconds = phase_seconds(limits, 6, 7)
    expected = {NEW: 1, HEAD: 2, RECEIVING: 3, IDLE: 4, WRITING: 5, CLOSING: 5}
    expected |= {HANDSHAKE: 6, PREAMBLE: 7}
    assert {phase: seconds[phase] for phase in expected} == expected
    assert seconds[DRAINING] < inf
    assert seconds[ACTIVE] == inf


def test_nobody_has_less_time_than_was_promised() -> None:
    limits = Limits()
    exact, late = phase_seconds(limits, 6, 7), phase_seconds(limits, 6, 7, 1.0)
    assert {phase for phase in Phase if late[phase] != exact[phase] + 1} == {DRAINING}
    streams = StreamLimits.of(Http2(), limits, 1.0, has_websockets=False)
    assert streams.body_seconds == limits.body_timeout + 1
    assert streams.write_seconds == limits.write_timeout + 1
    websocket = WebSocket(
        websocket_connect_timeout=3, websocket_idle_timeout=4, websocket_timeout=5
    )
    socket_limits = SocketLimits.of(websocket, limits, 1.0)
    assert socket_limits.connect_seconds == 4
    assert socket_limits.idle_seconds == 5
    assert socket_limits.age_seconds == 6


def test_where_no_time_is_no_time() -> None:
    assert [or_endless(seconds) for seconds in (0, 0.5, -1)] == [0, 0.5, inf]
    assert [or_endless(seconds, 1.0) for seconds in (0, 0.5, -1)] == [0, 1.5, inf]
    assert phase_seconds(Limits(keep_alive=0))[IDLE] == 0
    assert phase_seconds(Limits(keep_alive=0), slack=1.0)[IDLE] == 0


def test_phases_that_may_last_for_ever() -> None:
    off = phase_seconds(
        Limits(
            first_byte_timeout=0, header_timeout=0, body_timeout=0, keep_alive=-1, write_timeout=0
        ),
        0,
        0,
    )
    assert {*off} == {inf, off[DRAINING]}
    assert phase_seconds(Limits(min_body_rate=0), 0, 0)[RECEIVING] == inf


def test_limits_of_a_request() -> None:
    limits = Limits(
        max_request_line=1,
        max_header_size=2,
        max_header_count=3,
        max_headers_size=4,
        max_body_size=5,
        read_buffer=6,
    )
    assert RequestLimits.of(limits) == (1, 2, 3, 4, 5, 6)
    off = Limits(
        max_request_line=0, max_header_size=0, max_header_count=0, max_headers_size=0,
        max_body_size=0, read_buffer=6,
    )  # fmt: skip
    assert RequestLimits.of(off) == (inf, inf, inf, inf, inf, 6)


def test_limits_of_a_websocket() -> None:
    websocket = WebSocket(
        websocket_max_message_size=1,
        websocket_max_frame_size=2,
        websocket_max_fragments=3,
        websocket_queue=4,
        websocket_connect_timeout=6,
        websocket_close_timeout=7,
        websocket_idle_timeout=8,
        websocket_timeout=9,
        ping_interval=10,
        ping_timeout=11,
    )
    assert SocketLimits.of(websocket, Limits(read_buffer=5), 0) == SocketLimits(
        messages=MessageLimits(message=1, frame=2, fragments=3),
        queue=4,
        buffer=5,
        connect_seconds=6,
        close_seconds=7,
        idle_seconds=8,
        age_seconds=9,
        ping_seconds=10,
        pong_seconds=11,
    )


@pytest.mark.parametrize("off", [0, -1])
def test_websocket_without_limits(off: int) -> None:
    """Daphne's -1 means the same as our 0; where there is no such spelling, 0 is as good."""
    limits = SocketLimits.of(
        WebSocket(
            websocket_max_message_size=0,
            websocket_max_frame_size=0,
            websocket_max_fragments=0,
            websocket_connect_timeout=off,
            websocket_close_timeout=0,
            websocket_idle_timeout=off,
            websocket_timeout=off,
            ping_interval=0,
            ping_timeout=0,
        ),
        Limits(),
        0,
    )
    assert limits.messages == (inf, inf, inf)
    assert limits[3:] == (inf,) * 6


def test_limits_of_streams() -> None:
    limits = Limits(read_buffer=3, min_body_rate=4, body_timeout=5, write_timeout=6)
    http2 = Http2(http2_max_streams=1, http2_max_requests=2)
    assert StreamLimits.of(http2, limits, 0, has_websockets=True) == StreamLimits(
        streams=1,
        requests=2,
        window=3,
        body_bytes=20,
        body_seconds=5,
        write_seconds=6,
        has_websockets=True,
    )
    assert not StreamLimits.of(http2, limits, 0, has_websockets=False).has_websockets


@pytest.mark.parametrize(
    "off", [{"min_body_rate": 0}, {"body_timeout": 0}, {"min_body_rate": 0, "body_timeout": 0}]
)
def test_streams_without_limits(off: dict[str, int]) -> None:
    limits = StreamLimits.of(
        Http2(http2_max_requests=0), Limits(write_timeout=0, **off), 1.0, has_websockets=False
    )
    assert (limits.requests, limits.body_seconds, limits.write_seconds) == (inf, inf, inf)
    assert limits.body_bytes == 0


# The bucket


def taken(bucket: TokenBucket, now: float) -> int:
    """How many there are; they are taken."""
    count = 0
    while bucket.take(now):
        count += 1
    return count


@pytest.mark.parametrize("now", [0.0, 0.5, 1e9])
@pytest.mark.parametrize("burst", [1, 2, 50])
def test_bucket_is_full_at_the_beginning(burst: int, now: float) -> None:
    bucket = TokenBucket(burst, 10)
    assert taken(bucket, now) == burst
    assert taken(bucket, now) == 0


def test_bucket_fills_by_the_clock() -> None:
    bucket = TokenBucket(10, 2)
    taken(bucket, 100.0)
    assert taken(bucket, 100.25) == 0
    assert taken(bucket, 100.5) == 1
    assert taken(bucket, 103.5) == 6
    assert taken(bucket, 1000.0) == 10


def test_bucket_keeps_fractions() -> None:
    """However often one asks."""
    bucket = TokenBucket(4, 1)
    taken(bucket, 0.0)
    assert [bucket.take(each / 8) for each in range(1, 17)] == [*[False] * 7, True] * 2


def test_bucket_is_given_back_to() -> None:
    bucket = TokenBucket(5, 1)
    assert bucket.take(0.0)
    bucket.give(100)
    assert taken(bucket, 0.0) == 5
    bucket.give(2)
    assert taken(bucket, 0.0) == 2
    bucket.give(0.5)
    assert not bucket.take(0.0)
    bucket.give(0.5)
    assert bucket.take(0.0)


def test_bucket_that_does_not_fill() -> None:
    bucket = TokenBucket(3, 0)
    assert taken(bucket, 0.0) == 3
    assert taken(bucket, 1e9) == 0
    bucket.give(1)
    assert taken(bucket, 1e9) == 1


@given(
    st.integers(1, 20),
    st.integers(0, 10),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10)), max_size=30),
)
def test_bucket_never_lets_more_pass(burst: int, rate: int, moves: list[tuple[int, int]]) -> None:
    """In any time, a burst and what that time brings; and never less, to who waits for it."""
    bucket = TokenBucket(burst, rate)
    tokens, now = burst, 0
    for seconds, wanted in moves:
        now += seconds
        tokens = min(burst, tokens + seconds * rate)
        got = sum(bucket.take(float(now)) for _ in range(wanted))
        assert got == min(tokens, wanted)
        tokens -= got
