"""WebSockets in random conversations: how the bytes are cut makes no difference to anybody."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

from aserver.engines.ws_deflate import Deflate
from aserver.engines.ws_frames import NewFrames
from tests.engines.ws_wire import (
    CLOSE,
    Compressor,
    Peer,
    closing,
    deflate_of,
    frame,
    more,
    ping,
    pong,
    sent_frames,
)
from tests.fakes import FRAMES

ENGINES = st.sampled_from([*FRAMES.values()])
TEXTS = st.text(max_size=40) | st.sampled_from(["x" * 130, "€" * 300])
PAYLOADS = st.binary(max_size=40) | st.sampled_from([bytes(130), bytes(1000)])
SMALL = st.binary(max_size=125)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The data, cut at any places."""
    places = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=12))
    return [data[a:b] for a, b in pairwise([0, *sorted(places), len(data)]) if data[a:b]]


@st.composite
def messages(draw: st.DrawFn, compresses: bool) -> bytes:
    """A message in frames, with control frames between them; compressed or not."""
    is_text, is_compressed = draw(st.booleans()), compresses and draw(st.booleans())
    data = draw(TEXTS).encode() if is_text else draw(PAYLOADS)
    if is_compressed:
        data = Compressor(12, reset=True)(data)
    parts = draw(cuts(data)) if data else []
    parts = [*parts, *draw(st.sampled_from([[], [b""], [b"", b""]]))] or [b""]
    frames = b""
    for number, part in enumerate(parts):
        if number:
            frames += draw(st.sampled_from([b"", b"", ping(b"?"), pong()]))
        opcode, rsv = (0, 0) if number else (1 if is_text else 2, 4 * is_compressed)
        mask = draw(st.sampled_from([bytes(4), b"\x01\x80\x7f\xff"]))
        frames += frame(opcode, part, rsv=rsv, fin=number == len(parts) - 1, mask=mask)
    return frames


CONTROL = st.one_of(SMALL.map(ping), SMALL.map(pong))
# All of them are mistakes in one way only, whenever they are found.
MISTAKES = st.sampled_from(
    [
        frame(3, b"abc"),
        frame(1, b"abc", rsv=2),
        frame(9, b"abc", fin=False),
        frame(9, b"a" * 126),
        frame(1, b"abc", mask=None),
        frame(2, b"abc", length_bytes=2),
        more(b"abc"),
        frame(1, b"ab\xffcd"),
        frame(1, b"\xe2\x82"),
        frame(8, b"x"),
        frame(8, b"\x03\xe8\xff"),
    ]
)
CLOSES = st.builds(closing, st.sampled_from([None, 1000, 1001, 3000, 999, 1006]))
ENDS = st.one_of(st.just(b""), CLOSES, MISTAKES)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """What a client may send, right or wrong to its end, and behind that; and if it compresses."""
    compresses = draw(st.booleans())
    parts = draw(st.lists(st.one_of(messages(compresses), CONTROL), max_size=6))
    parts += [draw(ENDS), draw(st.one_of(st.just(b""), messages(True), st.binary(max_size=20)))]
    return draw(cuts(b"".join(parts))), compresses


def outcome(
    new_frames: NewFrames, deflate: Deflate | None, pieces: list[bytes], hasty: bool
) -> tuple[Any, ...]:
    """Everything but the reasons of mistakes, which are for people."""
    peer = Peer(new_frames, deflate, echo=True, hasty=hasty)
    peer.feed(*pieces)
    failed = peer.ended is not None and peer.ended[1] == "server"
    calls = [call[:2] if call[0] == "closed" and failed else call for call in peer.calls]
    sent = [
        (bits, opcode, data[:2] if failed and opcode == CLOSE else data)
        for bits, opcode, data in sent_frames(peer.written)
    ]
    return calls, sent, peer.tunnel_ends, peer.websocket.state


@settings(max_examples=250)
@given(conversations(), ENGINES, st.booleans())
def test_cuts_make_no_difference(
    conversation: tuple[list[bytes], bool], new_frames: NewFrames, hasty: bool
) -> None:
    pieces, compresses = conversation
    data = b"".join(pieces)
    deflate = deflate_of(12, inward_reset=True, outward_reset=True) if compresses else None
    whole = outcome(new_frames, deflate, [data], hasty)
    assert outcome(new_frames, deflate, pieces, hasty) == whole
    bytewise = [data[i : i + 1] for i in range(len(data))]
    assert outcome(new_frames, deflate, bytewise, hasty) == whole


@settings(max_examples=300)
@given(st.binary(max_size=200), ENGINES, st.booleans())
def test_any_bytes_are_a_websocket_or_a_mistake(
    data: bytes, new_frames: NewFrames, compresses: bool
) -> None:
    peer = Peer(new_frames, deflate_of() if compresses else None)
    peer.feed(data)
    assert peer.ended is None or peer.ended[0] in (1002, 1007) or peer.ended[1] == "client"


EVENTS = st.one_of(
    TEXTS.map(lambda data: TextMessage(data)),
    PAYLOADS.map(lambda data: BytesMessage(data)),
    SMALL.map(lambda data: Ping(data)),
    SMALL.map(lambda data: Pong(data)),
)


@st.composite
def talks(draw: st.DrawFn) -> tuple[list[Event], list[bytes], bool]:
    """What wsproto's client says, its bytes cut; and whether it compresses."""
    events: list[Event] = draw(st.lists(EVENTS, max_size=8))
    events.append(CloseConnection(draw(st.sampled_from([1000, 3000])), "bye"))
    compresses = draw(st.booleans())
    client = wsproto_client(compresses)
    return events, draw(cuts(b"".join(client.send(event) for event in events))), compresses


def wsproto_client(compresses: bool) -> Connection:
    extension = PerMessageDeflate(client_max_window_bits=12, server_max_window_bits=12)
    if compresses:
        extension.finalize("permessage-deflate; client_max_window_bits=12")
    return Connection(ConnectionType.CLIENT, [extension] if compresses else [])


@settings(max_examples=200)
@given(talks(), ENGINES)
def test_client_and_server_understand_each_other(
    talk: tuple[list[Event], list[bytes], bool], new_frames: NewFrames
) -> None:
    """A client hears its own messages, and pongs for its pings, in order."""
    said, pieces, compresses = talk
    client = wsproto_client(compresses)
    peer = Peer(new_frames, deflate_of(12) if compresses else None, echo=True)
    peer.feed(*pieces)
    client.receive_data(peer.written)
    heard: list[Any] = []
    for event in client.events():
        if isinstance(event, Ping | Pong):
            heard.append(("pong", bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            heard.append(("close", event.code))
        else:
            assert isinstance(event, TextMessage | BytesMessage)
            heard.append(event.data)
            assert event.message_finished
    expected: list[Any] = []
    for event in said:
        if isinstance(event, Ping):
            expected.append(("pong", event.payload))
        elif isinstance(event, CloseConnection):
            expected.append(("close", event.code))
            assert peer.calls[-1] == ("closed", event.code, "bye", "client")
        elif not isinstance(event, Pong):
            assert isinstance(event, TextMessage | BytesMessage)
            expected.append(event.data)
    assert heard == expected
