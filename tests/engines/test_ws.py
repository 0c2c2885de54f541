"""A WebSocket above its frames: who says what when, until the end, and nothing behind it."""

import struct

import pytest

from aserver.engines.ws import NO_STATUS, State, size_of
from aserver.engines.ws_frames import NewFrames
from aserver.limits import MessageLimits
from aserver.types import AppError
from tests.engines.ws_wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Peer,
    binary,
    closing,
    code_and,
    frame,
    more,
    ping,
    pong,
    text,
)

BROKEN = frame(3)  # there is no such opcode


@pytest.fixture
def peer(new_frames: NewFrames) -> Peer:
    return Peer(new_frames)


@pytest.fixture
def patient(new_frames: NewFrames) -> Peer:
    """Whose owner has to be asked before the client is told of its mistake."""
    return Peer(new_frames, hasty=False)


# Messages


def test_messages_come_with_their_size_in_bytes(peer: Peer) -> None:
    peer.feed(text("hi"), text("h€"), binary(b"\x00\xff"), text(""), binary(b""))
    assert peer.calls == [
        ("message", "hi", 2),
        ("message", "h€", 4),
        ("message", b"\x00\xff", 2),
        ("message", "", 0),
        ("message", b"", 0),
    ]
    assert not peer.written


def test_fragments_are_put_together(peer: Peer) -> None:
    peer.feed(text("h\u20ac".encode()[:2], fin=False), more(b"\x82", fin=False))
    assert not peer.calls
    peer.feed(more(b"\xac!"), binary(b"a", fin=False), more(b""))
    assert peer.calls == [("message", "h€!", 5), ("message", b"a", 1)]


@pytest.mark.parametrize("data", ["", "hi", "h€", b"", b"\x00", "x" * 126, b"y" * 70_000])
def test_message_is_sent_in_one_frame(peer: Peer, data: str | bytes) -> None:
    assert peer.websocket.send(data)
    kind, payload = (BINARY, data) if isinstance(data, bytes) else (TEXT, data.encode())
    assert peer.sent == [(kind, payload)]


def test_send_asks_to_wait_while_the_tunnel_is_full(peer: Peer) -> None:
    peer.tunnel.is_full = True
    assert not peer.websocket.send("hi")
    assert peer.sent == [(TEXT, b"hi")]


def test_text_that_is_no_text_is_not_sent(peer: Peer) -> None:
    with pytest.raises(AppError, match="surrogates"):
        peer.websocket.send("a\ud800b")
    assert not peer.written
    assert peer.websocket.send("next")
    assert peer.sent == [(TEXT, b"next")]


def test_size_is_that_of_the_bytes() -> None:
    assert [size_of(data) for data in ("", "a", "ä", "€", "\U0001f600", b"\xe2\x82")] == [
        0,
        1,
        2,
        3,
        4,
        2,
    ]


# Pings


def test_every_ping_is_answered_in_order(peer: Peer) -> None:
    peer.feed(b"".join(ping(b"%d" % number) for number in range(20)))
    assert peer.sent == [(PONG, b"%d" % number) for number in range(20)]
    assert not peer.calls


def test_ping_between_fragments_is_answered_at_once(peer: Peer) -> None:
    peer.feed(text("a", fin=False), ping(b"?"))
    assert peer.sent == [(PONG, b"?")]
    peer.feed(more(b"b"))
    assert peer.messages == ["ab"]


def test_pongs_are_for_nobody(peer: Peer) -> None:
    peer.feed(pong(), pong(b"unasked"))
    peer.websocket.ping()
    assert peer.sent == [(PING, b"")]
    peer.feed(pong())
    assert not peer.calls
    assert not peer.written


def test_peer_that_does_not_read_is_owed_its_last_ping_only(peer: Peer) -> None:
    peer.tunnel.is_full = True
    peer.feed(ping(b"1"), ping(b"2"), text("a"), ping(b"3"))
    assert not peer.written
    peer.tunnel.is_full = False
    peer.websocket.resume()
    assert peer.sent == [(PONG, b"3")]
    peer.websocket.resume()
    assert not peer.written
    peer.feed(ping(b"4"))
    assert peer.sent == [(PONG, b"4")]


def test_who_owes_a_pong_asks_to_be_told_of_room(peer: Peer) -> None:
    peer.tunnel.is_full = True
    peer.feed(ping(b"1"), ping(b"2"))
    assert (peer.tunnel.sends, peer.written) == (1, b"")


def test_a_pong_that_is_owed_is_out_of_date_behind_another(peer: Peer) -> None:
    peer.tunnel.is_full = True
    peer.feed(ping(b"1"))
    peer.tunnel.is_full = False
    peer.feed(ping(b"2"))
    peer.websocket.resume()
    assert peer.sent == [(PONG, b"2")]


@pytest.mark.parametrize("end", [b"", closing(1000), BROKEN])
def test_pongs_of_one_read_are_sent_in_one_piece(peer: Peer, end: bytes) -> None:
    """A piece of two bytes costs a transport as much as one of thousands."""
    peer.feed(b"".join(ping(b"%d" % number) for number in range(1000)) + end)
    assert peer.tunnel.sends == (2 if end == BROKEN else 1)
    pongs = [payload for opcode, payload in peer.sent if opcode == PONG]
    assert pongs == [b"%d" % number for number in range(1000)]


def test_empty_ping_is_owed_too(peer: Peer) -> None:
    peer.tunnel.is_full = True
    peer.feed(ping())
    peer.tunnel.is_full = False
    peer.websocket.resume()
    assert peer.sent == [(PONG, b"")]


def test_pings_are_answered_behind_our_close_frame(peer: Peer) -> None:
    """Section 5.5.2: only the peer's own close frame is the end of that."""
    peer.websocket.close(1000)
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.feed(ping(b""), ping(b"\x00\xff" * 62), closing(1000) + ping(b"late"))
    assert peer.sent == [(PONG, b""), (PONG, b"\x00\xff" * 62)]
    assert peer.ended == (1000, "client")


def test_pong_is_owed_behind_our_close_frame(peer: Peer) -> None:
    peer.tunnel.is_full = True
    peer.feed(ping(b"1"))
    peer.websocket.close(1000)
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.feed(ping(b"2"))
    peer.tunnel.is_full = False
    peer.websocket.resume()
    assert peer.sent == [(PONG, b"2")]


def test_no_pong_is_owed_behind_the_peers_close_frame(peer: Peer) -> None:
    peer.tunnel.is_full = True
    peer.feed(ping(b"1"), closing(1000))
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.websocket.resume()
    assert not peer.written


def test_no_pong_is_owed_to_a_peer_that_fails(patient: Peer) -> None:
    patient.tunnel.is_full = True
    patient.feed(ping(b"1"), BROKEN)
    patient.websocket.resume()
    assert not patient.written


# The client closes


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 3000, 4999])
def test_answer_to_a_close_frame_has_its_code(peer: Peer, code: int) -> None:
    peer.feed(closing(code, "schön".encode()))
    assert peer.sent == [(CLOSE, code_and(code))]
    assert peer.calls == [("closed", code, "schön", "client")]
    assert peer.tunnel.calls == ["close"]
    assert peer.websocket.state is State.CLOSED


def test_answer_to_a_close_frame_without_a_code_has_none(peer: Peer) -> None:
    peer.feed(closing())
    assert peer.sent == [(CLOSE, b"")]
    assert peer.calls == [("closed", NO_STATUS, "", "client")]


def test_client_closes_in_the_middle_of_a_message(peer: Peer) -> None:
    peer.feed(text("never", fin=False), closing(1001))
    assert peer.calls == [("closed", 1001, "", "client")]
    assert peer.sent == [(CLOSE, code_and(1001))]


def test_messages_before_the_close_frame_count(peer: Peer) -> None:
    peer.feed(text("a") + ping(b"?") + closing(1000) + text("b"))
    assert peer.calls == [("message", "a", 1), ("closed", 1000, "", "client")]
    assert peer.sent == [(PONG, b"?"), (CLOSE, code_and(1000))]


# We close


def test_end_of_our_close_is_the_clients_close_frame(peer: Peer) -> None:
    peer.websocket.close(3001, "bye")
    assert peer.sent == [(CLOSE, code_and(3001, b"bye"))]
    assert peer.websocket.state is State.CLOSING
    assert not peer.calls
    assert not peer.tunnel.calls
    peer.feed(closing(3001, b"too"))
    assert peer.calls == [("closed", 3001, "too", "client")]
    assert peer.tunnel.calls == ["close"]
    assert not peer.written


def test_messages_between_the_close_frames_are_not_wanted(peer: Peer) -> None:
    peer.feed(text("begun", fin=False))
    peer.websocket.close(1000)
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.feed(more(b"over"), text("late"), pong(), closing(1000))
    assert peer.calls == [("closed", 1000, "", "client")]
    assert not peer.written


def test_what_is_not_wanted_is_not_counted_either(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, limits=MessageLimits(3, 3, 1))
    peer.websocket.close(1000)
    peer.feed(binary(b"four", fin=False), more(b"more"), closing(1000))
    assert peer.ended == (1000, "client")


def test_peer_that_errs_after_our_close_frame_has_no_second_one(peer: Peer) -> None:
    peer.websocket.close(1000)
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.feed(BROKEN)
    assert peer.ended == (1002, "server")
    assert ("failing",) not in peer.calls
    assert peer.tunnel.calls == ["close"]
    assert not peer.written


def test_close_is_said_once(peer: Peer) -> None:
    peer.websocket.close(1000)
    peer.websocket.close(1001)
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.feed(closing(1000))
    peer.websocket.close(1002)
    assert not peer.written
    assert peer.ended == (1000, "client")


def test_close_in_the_middle_of_a_read_ends_it(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, on_message=lambda peer: peer.websocket.close(1000))
    peer.feed(text("a") + text("b") + ping(b"?") + closing(1000))
    assert peer.calls == [("message", "a", 1), ("closed", 1000, "", "client")]
    assert peer.sent == [(CLOSE, code_and(1000)), (PONG, b"?")]


@pytest.mark.parametrize(("code", "reason"), [(1000, "a\ud800b"), (65536, ""), (-1, "")])
def test_close_that_fails_changes_nothing(peer: Peer, code: int, reason: str) -> None:
    peer.feed(text("a", fin=False))
    with pytest.raises((UnicodeEncodeError, struct.error)):
        peer.websocket.close(code, reason)
    assert not peer.written
    assert peer.websocket.written == 0
    assert peer.websocket.state is State.OPEN
    peer.feed(more(b"b"), ping(b"?"))
    assert peer.messages == ["ab"]
    assert peer.websocket.send("c")
    peer.websocket.close(1000, "bye")
    assert peer.sent == [(PONG, b"?"), (TEXT, b"c"), (CLOSE, code_and(1000, b"bye"))]


@pytest.mark.parametrize("reason", ["x" * 123, "x" * 124, "x" * 1000, "€" * 41, "x" + "€" * 41])
def test_reason_that_is_too_long_is_cut_between_characters(peer: Peer, reason: str) -> None:
    peer.websocket.close(1000, reason)
    ((opcode, payload),) = peer.sent
    assert opcode == CLOSE
    assert payload[:2] == code_and(1000)
    assert 123 - 2 <= len(payload[2:]) <= 123
    assert reason.startswith(payload[2:].decode())
