"""Frames that cost us and not their sender: who floods is told to calm down, and leaves nothing."""

import sys
from collections.abc import Callable, Iterator

import pytest

from aserver.engines.h2_frames import (
    HEADERS,
    PREFACE,
    PRIORITY,
)
from tests.engines.h2_bytes import (
    CALM,
    INITIAL_WINDOW,
    PROTOCOL_ERROR,
    SETTINGS_ACK,
    block,
    continuation,
    data,
    frame,
    get,
    headers,
    length,
    number,
    ping,
    post,
    priority_update,
    request_fields,
    reset,
    settings,
    window_update,
)
from tests.engines.h2_calls import Call
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS

FRAMES = 20_000
CALLS = 100
STREAM_IDS = range(1, 2 * FRAMES, 2)


def rapid_resets() -> Iterator[bytes]:
    """CVE-2023-44487."""
    for stream in STREAM_IDS:
        yield get(stream) + reset(stream)


def slower_resets() -> Iterator[bytes]:
    for stream in STREAM_IDS:
        yield get(stream)
        yield reset(stream)


def wrong_lengths() -> Iterator[bytes]:
    """CVE-2025-8671: it is us who reset."""
    for stream in STREAM_IDS:
        yield post(stream, "/", length(1)) + data(stream, b"ab")


def data_behind_the_end() -> Iterator[bytes]:
    for stream in STREAM_IDS:
        yield get(stream) + data(stream, b"a")


def windows_too_large() -> Iterator[bytes]:
    for stream in STREAM_IDS:
        yield get(stream) + window_update(stream, 2**31 - 1)


def malformed_requests() -> Iterator[bytes]:
    for stream in STREAM_IDS:
        yield headers(stream, request_fields("GET", "no-path"))


def large_heads() -> Iterator[bytes]:
    fields = request_fields("GET", "/", *[(b"x", b"")] * int(LIMITS.header_count + 10))
    for stream in STREAM_IDS:
        yield headers(stream, fields)


def pings() -> Iterator[bytes]:
    for _ in range(FRAMES):
        yield ping()


def answers_to_pings() -> Iterator[bytes]:
    for _ in range(FRAMES):
        yield ping(ack=True)


def all_settings() -> Iterator[bytes]:
    for size in range(FRAMES):
        yield settings((INITIAL_WINDOW, size))


def empty_settings() -> Iterator[bytes]:
    for _ in range(FRAMES):
        yield settings()


def acknowledgements() -> Iterator[bytes]:
    for _ in range(FRAMES):
        yield SETTINGS_ACK


def priorities() -> Iterator[bytes]:
    for _ in range(FRAMES):
        yield frame(PRIORITY, 0, 3, number(0) + b"\1")


def priority_updates() -> Iterator[bytes]:
    for stream in STREAM_IDS:
        yield priority_update(stream, b"u=1")


def unknown_frames() -> Iterator[bytes]:
    for _ in range(FRAMES):
        yield frame(200, 0, 0, b"x" * 100)


def window_updates() -> Iterator[bytes]:
    for _ in range(FRAMES):
        yield window_update(0, 1)


def window_updates_of_a_stream() -> Iterator[bytes]:
    yield get(1)
    for _ in range(FRAMES):
        yield window_update(1, 1)


def empty_data() -> Iterator[bytes]:
    """CVE-2019-9518."""
    yield post(1)
    for _ in range(FRAMES):
        yield data(1)


def data_of_padding() -> Iterator[bytes]:
    yield post(1)
    for _ in range(FRAMES):
        yield data(1, padding=100)


def data_of_closed_streams() -> Iterator[bytes]:
    yield post(1) + reset(1)
    for _ in range(FRAMES):
        yield data(1, b"x")


def resets_of_closed_streams() -> Iterator[bytes]:
    yield get(1) + reset(1)
    for _ in range(FRAMES):
        yield reset(1)


def headers_of_refused_streams() -> Iterator[bytes]:
    for stream in range(1, 2 * STREAMS.streams, 2):
        yield post(stream)
    for stream in range(2 * STREAMS.streams + 1, 2 * FRAMES, 2):
        yield get(stream)


def continuations() -> Iterator[bytes]:
    """VU#421644."""
    yield headers(1, request_fields(), whole=False)
    for _ in range(FRAMES):
        yield continuation(1, block([(b"x", b"y")]), whole=False)


def empty_continuations() -> Iterator[bytes]:
    yield headers(1, request_fields(), whole=False)
    for _ in range(FRAMES):
        yield continuation(1, b"", whole=False)


Flood = Callable[[], Iterator[bytes]]
FLOODS: list[Flood] = [
    rapid_resets,
    slower_resets,
    wrong_lengths,
    data_behind_the_end,
    windows_too_large,
    malformed_requests,
    large_heads,
    pings,
    answers_to_pings,
    all_settings,
    empty_settings,
    acknowledgements,
    priorities,
    priority_updates,
    unknown_frames,
    window_updates,
    window_updates_of_a_stream,
    empty_data,
    data_of_padding,
    data_of_closed_streams,
    resets_of_closed_streams,
    headers_of_refused_streams,
    continuations,
    empty_continuations,
]


def frames_in(piece: bytes) -> int:
    count = 0
    while piece:
        piece = piece[9 + int.from_bytes(piece[:3], "big") :]
        count += 1
    return count


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_floods_are_ended(flood: Flood) -> None:
    """Within a thousand frames, and before a hundred calls."""
    peer = Peer()
    told = count = 0
    for piece in flood():
        count += frames_in(piece)
        peer.feed(piece)
        if not told:
            peer.read()
            told = count if peer.goaways else 0
    assert 0 < told <= 1000
    assert [code for _, code in peer.goaways] in ([CALM], [PROTOCOL_ERROR])
    assert len(peer.made) <= CALLS
    assert all(call.disconnected for call in peer.made)
    peer.turn()
    assert peer.sink.calls.count("linger") == 1
    assert peer.sink.calls[-1] == "linger"
    peer.assert_nothing_is_left()


@pytest.mark.parametrize(
    "flood",
    [each for each in FLOODS if each not in (continuations, empty_continuations)],
    ids=lambda flood: flood.__name__,
)
def test_floods_in_one_read_are_ended(flood: Flood) -> None:
    peer = Peer()
    everything = b"".join(flood())
    for at in range(0, len(everything), 65_536):
        peer.feed(everything[at : at + 65_536])
    peer.read()
    assert [code for _, code in peer.goaways] == [CALM]
    assert len(peer.made) <= CALLS
    assert not peer.engine.streams


def test_small_windows_are_ended() -> None:
    """CVE-2019-9511: a response asked for byte by byte."""
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 0))
    peer.open(1, get(1))
    peer.made[0].answer(bytes(FRAMES))
    for _ in range(1000):
        peer.credit(1, 1)
    peer.read()
    assert [code for _, code in peer.goaways] == [CALM]
    assert peer.made[0].disconnected


def test_a_field_that_grows_is_ended() -> None:
    """An HPACK bomb (section 10.5.1): a large field of the table, named over and over."""
    peer = Peer()
    entry = b"\x40\x01x" + b"\x7f" + b"\xa1\x1e" + b"y" * (127 + 0x21 + 0x1E * 128)
    peer.feed(frame(HEADERS, 5, 1, block(request_fields()) + entry))
    bomb = block(request_fields()) + b"\xbe" * 15_000
    for stream in range(3, 2000, 2):
        peer.feed(frame(HEADERS, 5, stream, bomb))
    peer.read()
    assert [code for _, code in peer.goaways] == [CALM]
    assert len(peer.made) <= 1


def test_a_head_without_an_end_is_ended_by_its_size() -> None:
    peer = Peer()
    peer.feed(headers(1, request_fields(), whole=False))
    for _ in range(10):
        peer.feed(continuation(1, block([(b"x", b"y" * 16_000)]), whole=False))
    peer.read()
    assert [code for _, code in peer.goaways] == [CALM]
    assert not peer.made


def test_settings_without_an_end_are_ended_by_their_size() -> None:
    peer = Peer()
    peer.feed(settings(*((1000 + name, 1) for name in range(2_000))))
    peer.read()
    assert [code for _, code in peer.goaways] == [CALM]


def test_a_browser_that_leaves_a_page_is_no_flood() -> None:
    peer = Peer()
    for stream in range(1, 121, 2):
        peer.open(stream, get(stream))
    for stream in range(1, 121, 2):
        peer.feed(reset(stream))
    peer.sink.now += 5
    reply = peer.open(121, get(121))
    peer.made[-1].answer()
    peer.read()
    assert reply.ended
    assert not peer.goaways


def test_a_client_that_pings_once_a_second_is_no_flood() -> None:
    peer = Peer()
    for _ in range(2000):
        peer.sink.now += 1
        peer.feed(ping())
    peer.read()
    assert not peer.goaways
    assert len(peer.pings) == 2000


def test_a_download_that_is_taken_in_small_steps_is_no_flood() -> None:
    """Updates are what data is answered with."""
    peer = Peer()
    reply = peer.open(1, get(1))
    peer.made[0].answer(bytes(10_000_000))
    taken = 0
    while not reply.ended:
        peer.read()
        size = len(reply.body) - taken
        taken += size
        for piece in (size // 3, size - size // 3):
            peer.credit(0, piece)
            peer.credit(1, piece)
        peer.read()
    assert not peer.goaways
    assert len(reply.body) == 10_000_000


def test_an_upload_in_small_pieces_is_no_flood() -> None:
    peer = Peer()
    peer.open(1, post(1))
    for _ in range(FRAMES):
        peer.send(1, b"x")
        peer.made[0].take(1)
        if not peer.room[1] > 100:
            peer.read()
    peer.read()
    assert len(peer.made[0].body) == FRAMES
    assert not peer.goaways


# Memory


def attributes(thing: object) -> list[object]:
    """Of one of our objects, which have slots."""
    slots = [slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())]
    return [getattr(thing, slot) for slot in slots if hasattr(thing, slot)]


def size_of(peer: Peer) -> int:
    """Of what belongs to the connection, cycles and the library left aside."""
    seen: set[int] = set()
    waiting: list[object] = [peer.engine]
    total = 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, Call, Peer)) or thing is peer.sink:
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        if isinstance(thing, dict):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting += thing
        elif type(thing).__module__.startswith("aserver."):
            slots = [
                slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())
            ]
            waiting += [getattr(thing, slot) for slot in slots if hasattr(thing, slot)]
    return total


def test_twenty_thousand_requests_leave_nothing() -> None:
    peer = Peer()

    def serve(streams: range) -> None:
        for stream in streams:
            peer.open(stream, post(stream) if stream % 3 else get(stream))
            call = peer.made.pop()
            if stream % 3:
                peer.feed(data(stream, b"abc", ended=True))
                call.take(3)
            if stream % 100 == 1:
                peer.sink.now += 1
                peer.feed(reset(stream))
            else:
                call.answer(b"abc")
            assert peer.sent or stream % 100 == 1
            peer.room[0] = 65_535
            peer.window[0] += 3
            if stream % 1000 == 1:
                peer.feed(window_update(0, 3_000))
            peer.replies.clear()
            peer.room.pop(stream)
            peer.window.pop(stream)

    serve(range(1, 2_001, 2))
    before = size_of(peer)
    serve(range(2_001, 40_001, 2))
    assert not peer.goaways
    peer.assert_nothing_is_left()
    assert size_of(peer) <= before + 500
    assert before < 20_000


def test_who_does_not_begin_is_not_remembered() -> None:
    peer = Peer(hello=False)
    for at in range(len(PREFACE)):
        peer.feed(PREFACE[at : at + 1])
    assert size_of(peer) < 20_000
