"""From bytes to streams: what is judged before, beside and behind the wire.

What becomes of streams is in `test_h2_states` and its neighbours.
"""

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from aserver.engines.h2_budgets import CONTROLS, FAULTS
from aserver.engines.h2_frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    ErrorCode,
    H2Error,
)
from aserver.engines.h2_reader import StreamReader
from aserver.types import ProtocolError
from tests.engines.h2_bytes import (
    CALM,
    COMPRESSION_ERROR,
    PROTOCOL_ERROR,
    block,
    continuation,
    data,
    frame,
    get,
    goaway,
    headers,
    number,
    ping,
    post,
    priority_update,
    request_fields,
    reset,
    settings,
    window_update,
)
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS

WHOLE = END_HEADERS | END_STREAM
TABLE_UPDATE = b"\x20"  # RFC 7541 section 6.3: to nothing


@pytest.fixture
def peer() -> Peer:
    return Peer()


def codes(peer: Peer) -> list[int]:
    """Of the GOAWAYs that were sent."""
    peer.read()
    return [code for _, code in peer.goaways]


# Requests that come with one read


def test_requests_are_begun_when_all_is_looked_at(peer: Peer) -> None:
    """In the order in which they came; those that are gone by then call nobody."""
    peer.feed(get(1, "/one") + post(3, "/two") + get(5, "/three") + reset(1) + get(7, "/four"))
    assert [call.request.target for call in peer.made] == [b"/two", b"/three", b"/four"]
    assert all(call.started for call in peer.made)


def test_a_request_in_two_reads_is_begun_with_its_second(peer: Peer) -> None:
    fields = block(request_fields())
    peer.feed(frame(HEADERS, END_STREAM, 1, fields[:3]))
    assert not peer.made
    peer.feed(continuation(1, fields[3:]))
    assert len(peer.made) == 1


def test_nothing_is_begun_behind_an_error(peer: Peer) -> None:
    """Nor later: the connection is over."""
    peer.feed(get(1) + reset(99))
    peer.feed(get(3))
    assert codes(peer) == [PROTOCOL_ERROR]
    assert not peer.made


def test_a_request_that_is_refused_when_it_is_begun_leaves_the_others(peer: Peer) -> None:
    peer.sink.error = ProtocolError(503, "there is no room")
    reply = peer.open(1, get(1))
    peer.read()
    assert reply.status == 503
    peer.sink.error = None
    peer.feed(get(3))
    assert len(peer.made) == 1


def test_highest_and_requests_are_counted(peer: Peer) -> None:
    reader = StreamReader(peer.engine)
    assert (reader.highest, reader.requests) == (0, 0)
    reader.feed(PREFACE + settings())
    reader.feed(get(1) + get(9))
    assert (reader.highest, reader.requests) == (9, 2)
    with pytest.raises(H2Error) as caught:
        reader.feed(reset(11))
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR


def test_mid_head(peer: Peer) -> None:
    """From a section's first byte to its last."""
    reader = StreamReader(peer.engine)
    fields = block(request_fields())
    first, second = frame(HEADERS, END_STREAM, 1, fields[:3]), continuation(1, fields[3:])
    begun = PREFACE + settings()
    pieces = [b"", begun[:5], begun[5:], first[:-1], first[-1:], second[:-1], second[-1:]]
    told = []
    for piece in pieces:
        reader.feed(piece)
        told.append(reader.mid_head)
    assert told == [False, True, False, True, True, True, False]


# Header sections


SHORT = LIMITS._replace(headers_size=8_000, header_count=50, request_line=1_000)


def section(size: int, pieces: int, stream: int = 1) -> bytes:
    """A header section of so many bytes, cut over frames; not so much comes of it."""
    huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    long = bytearray(block([(b"l", huffman.encode(b"\\" * 2_000))]))  # 19 bits each
    long[3] |= 0x80  # RFC 7541 section 5.2: what the value's length begins with
    begun = block(request_fields()) + bytes(long)
    fields = begun + block([(b"x", b"y" * (size - len(begun) - 6))])
    assert len(fields) == size
    step = -(-size // pieces)
    first, *others = [fields[at : at + step] for at in range(0, size, step)]
    made = frame(HEADERS, END_STREAM | (0 if others else END_HEADERS), stream, first)
    for place, each in enumerate(others, 1):
        made += continuation(stream, each, whole=place == len(others))
    return made


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize(("above", "expected"), [(-1, []), (0, []), (1, [CALM])])
def test_a_section_has_as_many_bytes_as_may_come_of_it(
    pieces: int, above: int, expected: list[int]
) -> None:
    peer = Peer(STREAMS, SHORT)
    most = peer.engine.most_header_size
    assert 8_000 < most < 16_384
    peer.feed(section(most + above, pieces))
    assert codes(peer) == expected
    assert len(peer.made) == (not expected)


def test_each_section_is_counted_by_itself() -> None:
    peer = Peer(STREAMS, SHORT)
    size = peer.engine.most_header_size
    for stream in (1, 3, 5):
        peer.feed(section(size, 3, stream))
        peer.feed(ping())
    assert codes(peer) == []


def test_a_table_may_change_twice_before_a_section(peer: Peer) -> None:
    fields = block(request_fields())
    for stream, count in ((1, 1), (3, 2), (5, 0)):
        peer.feed(frame(HEADERS, WHOLE, stream, TABLE_UPDATE * count + fields))
    assert len(peer.made) == 3
    peer.feed(frame(HEADERS, WHOLE, 7, TABLE_UPDATE * 3 + fields))
    assert codes(peer) == [COMPRESSION_ERROR]
    assert len(peer.made) == 3


def test_changes_of_a_table_are_counted_over_frames(peer: Peer) -> None:
    fields = block(request_fields())
    peer.feed(frame(HEADERS, END_STREAM, 1, TABLE_UPDATE * 2))
    peer.feed(continuation(1, TABLE_UPDATE, whole=False) + continuation(1, fields))
    assert codes(peer) == [COMPRESSION_ERROR]
    assert not peer.made


# Settings


@pytest.mark.parametrize(("count", "expected"), [(1, []), (64, []), (65, [CALM])])
def test_settings_are_as_many_as_there_may_be(peer: Peer, count: int, expected: list[int]) -> None:
    peer.feed(settings(*((0xF000 + each, 1) for each in range(count))))
    assert codes(peer) == expected


# Budgets


def faults_left(peer: Peer) -> int:
    """How many more there may be."""
    count = 0
    try:
        while True:
            peer.engine.budgets.spend(FAULTS)
            count += 1
    except H2Error:
        return count


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        (request_fields(), 0),
        ([*request_fields(), (b"connection", b"close")], 1),
        ([*request_fields(), *[(b"x", b"y")] * 1_000], 10),
    ],
    ids=["fine", "malformed", "too large"],
)
def test_a_refusal_counts_for_what_it_took(
    peer: Peer, fields: list[tuple[bytes, bytes]], cost: int
) -> None:
    reply = peer.open(1, headers(1, fields))
    peer.read()
    assert (reply.status == 0) is (cost == 0)
    assert faults_left(peer) == FAULTS.burst - cost


def test_other_refusals_are_requests_that_have_their_answer() -> None:
    peer = Peer(STREAMS, LIMITS._replace(body_size=10))
    reply = peer.open(1, post(1))
    peer.send(1, bytes(11))
    peer.read()
    assert reply.status == 413
    assert faults_left(peer) == FAULTS.burst


def test_a_request_makes_up_for_a_control_frame(peer: Peer) -> None:
    for stream in range(1, 4 * CONTROLS.burst, 2):
        peer.feed(ping() + get(stream))
        peer.made[-1].answer()
        peer.read()
    assert codes(peer) == []


# Streams that are not there


def test_what_comes_for_a_stream_that_is_gone(peer: Peer) -> None:
    """Its bytes come back to the connection, and nobody is told of the rest."""
    peer.open(1, post(1))
    peer.send(1, bytes(4))
    peer.feed(reset(1))
    before = peer.wire.credited
    reader = StreamReader(peer.engine)
    reader.on_data(1, b"text", 4, ended=True)
    assert peer.wire.credited == before + 4
    reader.on_trailers(1, [(b"x", b"y")])
    reader.on_room(1)
    reader.on_reset(1, by_peer=True)
    assert faults_left(peer) == FAULTS.burst
    assert peer.sink.refused == []


def test_a_reset_that_was_not_the_peer_s_is_its_fault(peer: Peer) -> None:
    StreamReader(peer.engine).on_reset(99, by_peer=False)
    assert faults_left(peer) == FAULTS.burst - 1


@pytest.mark.parametrize("of", [0, 1, 3])
def test_room_is_for_those_who_wait(of: int) -> None:
    peer = Peer(STREAMS, LIMITS, (4, 0))
    for stream in (1, 3):
        peer.open(stream, get(stream))
    peer.made[0].answer(b"text")
    peer.turn()
    queue, waiting = peer.engine.queue, peer.engine.streams[1]
    queue.discard(waiting)
    assert not queue
    StreamReader(peer.engine).on_room(of)
    assert bool(queue) is (of != 3)


# What is not known, and what is within a section


def test_unknown_frames_are_ignored(peer: Peer) -> None:
    """Section 5.5; but not in the middle of a header section (section 4.3)."""
    peer.feed(frame(0xFA, 0xFF, 77, b"anything") + get(1))
    assert len(peer.made) == 1
    fields = block(request_fields())
    peer.feed(frame(HEADERS, END_STREAM, 3, fields[:3]) + frame(0xFA))
    assert codes(peer) == [PROTOCOL_ERROR]


@pytest.mark.parametrize(
    "between",
    [
        ping(),
        settings(),
        goaway(),
        window_update(1, 0),
        reset(99),
        priority_update(1, b"u=1"),
        data(1),
        get(3),
        continuation(3, b""),
    ],
    ids=["PING", "SETTINGS", "GOAWAY", "UPDATE", "RST", "PRIORITY", "DATA", "HEADERS", "OTHER"],
)
def test_nothing_comes_between_the_frames_of_a_section(peer: Peer, between: bytes) -> None:
    """Section 6.10."""
    fields = block(request_fields())
    peer.feed(frame(HEADERS, END_STREAM, 1, fields[:3]) + between + continuation(1, fields[3:]))
    assert codes(peer) == [PROTOCOL_ERROR]
    assert not peer.made


# Priorities


@pytest.mark.parametrize("proxied", [b"forwarded", b"via", b"x-forwarded-for", None])
def test_priorities_of_many_people_do_not_compete(peer: Peer, proxied: bytes | None) -> None:
    """RFC 9218 section 13.1."""
    fields = [(b"priority", b"u=0"), *([(proxied, b"x")] if proxied else [])]
    peer.open(1, get(1, "/", *fields))
    peer.open(3, get(3))
    first, second = (peer.engine.streams[stream].priority for stream in (1, 3))
    assert (first == second) is (proxied is not None)


def test_a_wish_comes_before_the_field(peer: Peer) -> None:
    """RFC 9218 section 7: the frame was sent by whoever knows better."""
    peer.feed(priority_update(1, b"u=1"))
    peer.open(1, get(1, "/", (b"priority", b"u=5")))
    peer.open(3, get(3, "/", (b"priority", b"u=1")))
    assert peer.engine.streams[1].priority == peer.engine.streams[3].priority


@pytest.mark.parametrize("payload", [number(0), number(1 << 31)])
def test_a_priority_has_its_stream(peer: Peer, payload: bytes) -> None:
    peer.feed(frame(0x10, 0, 0, payload))
    assert codes(peer) == [PROTOCOL_ERROR]
