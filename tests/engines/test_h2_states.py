"""Every frame in every state of a stream (RFC 9113 section 5.1), and frames in any order at all."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.h2_frames import GOAWAY, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS
from tests.engines.h2_bytes import (
    INITIAL_WINDOW,
    connect,
    continuation,
    data,
    frame,
    get,
    goaway,
    headers,
    length,
    number,
    ping,
    post,
    priority_update,
    request_fields,
    reset,
    window_update,
)
from tests.engines.h2_bytes import settings as settings_frame
from tests.engines.h2_calls import Call
from tests.engines.h2_peer import STREAMS, Peer

STREAM = 5


def idle(peer: Peer) -> None:
    """It is not open yet."""


def skipped(peer: Peer) -> None:
    peer.open(7, get(7))


def open_(peer: Peer) -> None:
    peer.open(STREAM, post(STREAM))


def answering(peer: Peer) -> None:
    """Open, with a response that has begun."""
    peer.open(STREAM, post(STREAM))
    peer.made[-1].begin(b"abc")


def requested(peer: Peer) -> None:
    """Half-closed (remote): the request is complete."""
    peer.open(STREAM, get(STREAM))


def answered(peer: Peer) -> None:
    """Half-closed (local): the response is complete, and its request is not."""
    peer.open(STREAM, post(STREAM))
    peer.made[-1].answer(b"abc")


def done(peer: Peer) -> None:
    """Closed: both are complete."""
    peer.open(STREAM, get(STREAM))
    peer.made[-1].answer(b"abc")


def cancelled(peer: Peer) -> None:
    """Closed: the client has reset it."""
    peer.open(STREAM, post(STREAM), reset(STREAM))


def aborted(peer: Peer) -> None:
    """Closed: we have reset it, and the client may not know that yet."""
    peer.open(STREAM, post(STREAM))
    peer.made[-1].channel.abort()


def refused(peer: Peer) -> None:
    """The same, for a mistake."""
    peer.open(STREAM, headers(STREAM, request_fields("GET", "no-path"), ended=False))


def tunnel(peer: Peer) -> None:
    peer.open(STREAM, connect(STREAM))
    peer.made[-1].accept()


STATES = [
    idle,
    skipped,
    open_,
    answering,
    requested,
    answered,
    done,
    cancelled,
    aborted,
    refused,
    tunnel,
]

FRAMES = {
    "DATA": data(STREAM, b"abc"),
    "DATA, END_STREAM": data(STREAM, b"abc", ended=True),
    "HEADERS": headers(STREAM, request_fields(), ended=False),
    "HEADERS, END_STREAM": headers(STREAM, request_fields()),
    "trailers": headers(STREAM, [(b"x-sum", b"1")]),
    "PRIORITY": frame(PRIORITY, 0, STREAM, number(0) + b"\1"),
    "RST_STREAM": reset(STREAM),
    "PUSH_PROMISE": frame(PUSH_PROMISE, 4, STREAM, number(2)),
    "CONTINUATION": continuation(STREAM, b""),
    "WINDOW_UPDATE": window_update(STREAM, 1),
    "WINDOW_UPDATE 0": window_update(STREAM, 0),
    "WINDOW_UPDATE 2^31-1": window_update(STREAM, 2**31 - 1),
    "SETTINGS": frame(SETTINGS, 0, STREAM),
    "PING": frame(6, 0, STREAM, b"12345678"),
    "GOAWAY": frame(GOAWAY, 0, STREAM, number(0) * 2),
    "unknown": frame(200, 0, STREAM, b"abc"),
    "short RST_STREAM": frame(RST_STREAM, 0, STREAM, b"abc"),
    "short WINDOW_UPDATE": frame(8, 0, STREAM, b"abc"),
    "too much padding": frame(0, 8, STREAM, b"\5abc"),
}

# What may be made of a frame, in the order of STATES: "-": nothing is said; "s5": an error of the
# stream, with the code 5; "c1": an error of the connection. On closed streams, section 5.1 lets a
# server choose.
CLOSED = "- s5 c5"
ON_ITS_WAY = "- s5"  # what a client may have sent before it knew that we have reset the stream
TABLE = {
    "DATA": ["c1", "c1 c5 s5", "-", "-", "s5", "-", CLOSED, CLOSED, ON_ITS_WAY, ON_ITS_WAY, "-"],
    "DATA, END_STREAM": [
        *("c1", "c1 c5 s5", "-", "-", "s5", "-", CLOSED, CLOSED, ON_ITS_WAY, ON_ITS_WAY, "-"),
    ],
    "HEADERS": [
        *("-", "c1 c5", "s1 c1", "s1 c1", "s5", "s1 c1", CLOSED, CLOSED),
        *(ON_ITS_WAY, ON_ITS_WAY, "s1 c1"),
    ],
    "HEADERS, END_STREAM": [
        *("-", "c1 c5", "s1 c1", "s1 c1", "s5", "- s1 c1", CLOSED, CLOSED),
        *(ON_ITS_WAY, ON_ITS_WAY, "s1 c1"),
    ],
    "trailers": [
        *("s1 c1", "c1 c5", "-", "-", "s5", "-", CLOSED, CLOSED, ON_ITS_WAY, ON_ITS_WAY, "-"),
    ],
    "PRIORITY": ["-"] * 11,
    "RST_STREAM": ["c1", "- c1", "-", "-", "-", "-", "-", "-", "-", "-", "-"],
    "PUSH_PROMISE": ["c1"] * 11,
    "CONTINUATION": ["c1", "c1 c5", *["c1"] * 9],
    "WINDOW_UPDATE": ["c1", "- c1", "-", "-", "-", "-", "-", "-", "-", "-", "-"],
    "WINDOW_UPDATE 0": ["c1", "c1 -", *["s1 c1"] * 3, *["- s1 c1"] * 5, "s1 c1"],
    "WINDOW_UPDATE 2^31-1": ["c1", "- c1", *["s3"] * 3, *["- s3"] * 5, "s3"],
    "SETTINGS": ["c1"] * 11,
    "PING": ["c1"] * 11,
    "GOAWAY": ["c1"] * 11,
    "unknown": ["-"] * 11,
    "short RST_STREAM": ["c6 c1", *["c6"] * 10],
    "short WINDOW_UPDATE": ["c6"] * 11,
    "too much padding": ["c1"] * 11,
}
PAIRS = [
    (kind, state, allowed)
    for kind, row in TABLE.items()
    for state, allowed in zip(STATES, row, strict=True)
]


def test_the_table_is_complete() -> None:
    assert TABLE.keys() == FRAMES.keys()


def verdict(peer: Peer) -> str:
    """What was said behind the present moment."""
    resets = [sent.code for sent in peer.sent if sent.kind == RST_STREAM]
    if peer.goaways:
        return f"c{peer.goaways[-1][1]}"
    assert len(resets) <= 1
    return f"s{resets[0]}" if resets else "-"


@pytest.mark.parametrize(
    ("kind", "state", "allowed"),
    PAIRS,
    ids=[f"{kind}-{state.__name__.rstrip('_')}" for kind, state, _ in PAIRS],
)
def test_frame_in_state(kind: str, state: Callable[[Peer], None], allowed: str) -> None:
    peer = Peer()
    other = peer.open(1, post(1))
    state(peer)
    before = verdict(peer)
    assert before in ("-", "s1", "s2")
    peer.feed(FRAMES[kind])
    said = verdict(peer)
    assert said in allowed.split()
    if said.startswith("c"):
        assert peer.calls[-1] == "linger"
    else:
        peer.send(1, b"abc", ended=True)
        assert peer.made[0].body == b"abc"
        peer.made[0].answer(b"abc")
        peer.read()
        assert other.end == (True, None)
    peer.engine.lost()
    peer.assert_nothing_is_left()
    assert all(call.calls.count("start") == 1 for call in peer.made)


# Section 5.1.1: numbers of streams


@pytest.mark.parametrize("stream", [0, 2, 4])
def test_clients_open_odd_streams(stream: int) -> None:
    peer = Peer()
    peer.feed(get(stream))
    assert verdict(peer) == "c1"
    assert peer.made == []


def test_numbers_only_grow() -> None:
    peer = Peer()
    peer.open(5, get(5))
    peer.feed(get(3))
    assert verdict(peer) in ("c1", "c5")
    assert len(peer.made) == 1


def test_the_last_number() -> None:
    peer = Peer()
    reply = peer.open(2**31 - 1, get(2**31 - 1))
    peer.made[0].answer(b"abc")
    peer.read()
    assert reply.ended


def test_the_reserved_bit_is_nothing() -> None:
    peer = Peer()
    peer.window[1] = 65_535
    peer.feed(get(2**31 + 1))
    peer.made[0].answer(b"abc")
    peer.read()
    assert peer.replies[1].ended


def test_flags_that_are_not_defined_are_nothing() -> None:
    peer = Peer()
    request = bytearray(get(1))
    request[4] |= 0xC2
    reply = peer.open(1, bytes(request))
    peer.made[0].answer(b"abc")
    peer.read()
    assert reply.ended


@pytest.mark.parametrize(
    "between", [ping(), data(1), get(3), continuation(3, b""), frame(200), settings_frame()]
)
def test_nothing_comes_between_the_parts_of_a_head(between: bytes) -> None:
    """Section 4.3."""
    peer = Peer()
    peer.feed(headers(1, request_fields(), whole=False) + between)
    assert verdict(peer) == "c1"
    assert peer.made == []


# Frames in any order


def any_frame(stream: int, other: int, choice: int) -> bytes:
    frames = [
        get(stream),
        post(stream),
        post(stream, "/", length(4)),
        connect(stream),
        headers(stream, request_fields("HEAD")),
        headers(stream, request_fields("GET", "no-path"), ended=False),
        headers(stream, [(b"x-sum", b"1")]),
        headers(stream, request_fields(), whole=False) + continuation(stream, b""),
        data(stream, b"ab"),
        data(stream, b"ab", ended=True),
        data(stream, b"", ended=True),
        data(stream, b"ab", padding=7),
        data(stream),
        reset(stream),
        window_update(stream, 1 + other),
        window_update(stream, 2**31 - 1),
        window_update(0, 1 + other),
        settings_frame((INITIAL_WINDOW, other)),
        ping(),
        frame(PRIORITY, 0, stream, number(other) + b"\1"),
        priority_update(1 + other, b"u=%d" % (other % 8)),
        goaway(other),
        frame(200, 0, stream, b"x"),
    ]
    return frames[choice % len(frames)]


class Anybody(Call):
    """An application that does anything that it may."""

    state = "thinks"  # answers, is over

    def do(self, choice: int) -> None:
        if self.disconnected or not self.started:
            return
        moves = [self._begin, self._go_on, self._end, self._answer, self._abort, self._accept]
        [*moves, self._inform, self._take][choice % 8]()

    def _begin(self) -> None:
        if self.state == "thinks":
            self.state = "answers"
            self.begin(b"x" * 300)

    def _go_on(self) -> None:
        if self.tunnel is not None:
            self.tunnel.send(b"y" * 300)
        elif self.state == "answers":
            self.go_on(b"y" * 300)

    def _end(self) -> None:
        if self.tunnel is not None:
            self.tunnel.close()
        elif self.state == "answers":
            self.state = "is over"
            self.go_on(b"z", more=False)

    def _answer(self) -> None:
        if self.state == "thinks":
            self.state = "is over"
            self.answer(b"abc")

    def _abort(self) -> None:
        if self.state != "is over":
            self.state = "is over"
            self.channel.abort()

    def _accept(self) -> None:
        if self.state == "thinks" and self.request.upgrade:
            self.state = "is over"
            self.accept()

    def _inform(self) -> None:
        if self.state == "thinks":
            self.channel.inform(103, [])

    def _take(self) -> None:
        self.channel.consumed(1)


MOVES = st.tuples(
    st.sampled_from(["feed"] * 6 + ["join"] * 2 + ["do"] * 6 + ["stop", "go on", "wait", "drain"]),
    st.sampled_from([1, 3, 5, 7, 9, 11]),
    st.sampled_from([0, 1, 2, 100, 65_535]),
    st.integers(0, 1000),
)


@settings(max_examples=500)
@given(st.lists(MOVES, max_size=40), st.integers(1, 4))
def test_any_order_of_frames_and_moves(
    moves: list[tuple[str, int, int, int]], streams: int
) -> None:
    """Whatever comes, it is an answer or an error of the protocol, and nothing is left behind."""
    peer = Peer(STREAMS._replace(streams=streams), make=Anybody)
    peer.first_window = peer.window[0] = 1 << 40  # the client's own mistakes are not looked at
    held = b""
    for name, stream, other, choice in moves:
        if name == "join":
            held += any_frame(stream, other, choice)
        elif name == "feed":
            peer.feed(held + any_frame(stream, other, choice))
            held = b""
        elif name == "do":
            for call in peer.made:
                if isinstance(call, Anybody):
                    call.do(choice)
        elif name == "stop":
            peer.stop_reading()
        elif name == "go on":
            peer.read_on()
        elif name == "wait":
            peer.wait(other)
        elif choice < 200:
            peer.engine.drain()
        if choice % 3 == 0:
            peer.read()
    peer.read()
    assert len(peer.engine.streams) <= streams
    peer.engine.lost()
    peer.assert_nothing_is_left()
    assert all(call.calls.count("start") <= 1 for call in peer.made)
