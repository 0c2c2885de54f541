"""A request that turns into a tunnel: what comes before it, with it and behind it."""

from collections.abc import Callable

import pytest

from aserver.engines.fields import response_head
from aserver.engines.h1_tunnel import H1Tunnel
from aserver.engines.ws_handshake import Handshake
from aserver.limits import RequestLimits
from aserver.seams import Tunnel
from aserver.types import HeaderPairs
from tests.engines.wire import DEFAULTS, Wire, get, lines, plain, post
from tests.engines.ws_wire import Speaker, closing, text
from tests.fakes import LIMITS, PARSERS

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = (
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
HANDSHAKE = get("/chat", *FIELDS)
ACCEPTED = lines(
    "HTTP/1.1 101 Switching Protocols",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    "Upgrade: websocket",
    "Connection: Upgrade",
    *DEFAULTS,
)
EARLY = text("early") + closing(1000)


def upgrade(
    wire: Wire, headers: HeaderPairs = (), on_feed: Callable[[Tunnel], None] | None = None
) -> Speaker:
    """The application accepts."""
    speaker = Speaker(on_feed)
    head, _ = Handshake(wire.current.request).accept(None, headers, None)
    wire.engine.upgrade(speaker, b"websocket", head)
    return speaker


def feed(wire: Wire, *pieces: bytes) -> None:
    """Bytes from the peer, to whoever's the connection is."""
    for piece in pieces:
        if wire.sink.upgraded is not None:
            wire.sink.upgraded.feed(piece)
        else:
            wire.feed(piece)


def test_accepted_handshake(wire: Wire) -> None:
    wire.feed(HANDSHAKE)
    assert wire.current.request.upgrade == (b"websocket",)
    speaker = upgrade(wire)
    assert wire.sent == ACCEPTED
    assert wire.sink.writes == 1
    assert type(wire.sink.upgraded) is H1Tunnel
    assert wire.sink.upgraded is speaker.tunnel
    assert speaker.calls == ["upgraded"]
    assert wire.calls == []


def test_applications_fields_are_sent_and_those_of_the_server_are_its_own(wire: Wire) -> None:
    wire.feed(HANDSHAKE)
    upgrade(
        wire,
        [
            (b"Set-Cookie", b"a=b"),
            (b"set-cookie", b"c=d"),
            (b"server", b"mine"),
            (b"Connection", b"close"),
            (b"upgrade", b"h2c"),
            (b"transfer-encoding", b"chunked"),
        ],
    )
    assert wire.sent == lines(
        "HTTP/1.1 101 Switching Protocols",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Set-Cookie: a=b",
        "set-cookie: c=d",
        "server: mine",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "date: now",
    )


def test_engine_lets_go_of_everything(wire: Wire) -> None:
    wire.feed(HANDSHAKE)
    upgrade(wire)
    assert wire.engine.cycle is None
    assert not hasattr(wire.engine, "_reader")
    assert not hasattr(wire.engine, "feed")
    assert wire.current.calls == ["start"]  # not lost: it is what speaks now


def test_early_bytes_come_first(wire: Wire) -> None:
    """Section 4.1 of RFC 6455 has clients wait, but not all of them do."""
    for size in range(len(EARLY) + 1):
        wire = Wire(next(iter(PARSERS)))
        wire.feed(HANDSHAKE + EARLY[:size])
        speaker = upgrade(wire)
        assert wire.sent == ACCEPTED
        assert speaker.heard == EARLY[:size]
        feed(wire, EARLY[size:]) if EARLY[size:] else None
        assert speaker.heard == EARLY


def test_early_bytes_that_look_like_a_request_are_none(wire: Wire) -> None:
    wire.feed(HANDSHAKE)
    wire.feed(get("/smuggled"))
    speaker = upgrade(wire)
    assert speaker.heard == get("/smuggled")
    assert len(wire.cycles) == 1
    feed(wire, get("/again"))
    assert len(wire.cycles) == 1
    assert wire.sent == ACCEPTED


def test_answer_to_early_bytes_comes_behind_the_acceptance(wire: Wire) -> None:
    def answer(tunnel: Tunnel) -> None:
        assert tunnel.send(b"pong")

    wire.feed(HANDSHAKE + b"ping")
    upgrade(wire, on_feed=answer)
    assert wire.sent == ACCEPTED + b"pong"


def test_early_bytes_can_be_the_end(wire: Wire) -> None:
    wire.feed(HANDSHAKE + closing(1000))
    upgrade(wire, on_feed=lambda tunnel: tunnel.close())
    assert wire.calls == ["linger"]
    feed(wire, b"late")
    assert wire.sent == ACCEPTED


def test_many_early_bytes_wait_and_reading_goes_on_behind_them(parser: str) -> None:
    limits = RequestLimits(*LIMITS[:-1], 1000)
    wire = Wire(parser, limits=limits)
    wire.feed(HANDSHAKE + b"x" * 600)
    assert wire.reading()
    wire.feed(b"y" * 600)
    assert not wire.reading()
    speaker = upgrade(wire)
    assert wire.reading()
    assert speaker.heard == b"x" * 600 + b"y" * 600


def test_early_bytes_may_be_too_many_for_the_cycle(parser: str) -> None:
    limits = RequestLimits(*LIMITS[:-1], 1000)
    wire = Wire(parser, limits=limits)
    wire.feed(HANDSHAKE + b"x" * 1001)
    upgrade(wire, on_feed=lambda tunnel: tunnel.hold())
    assert not wire.reading()


# Cut anywhere


def test_handshake_cut_at_every_byte(parser: str) -> None:
    data = b"\r\n" + HANDSHAKE + EARLY
    for size in range(len(data) + 1):
        wire = Wire(parser)
        speaker = None
        for piece in (data[:size], data[size:]):
            if piece:
                feed(wire, piece)
            if wire.cycles and speaker is None:
                speaker = upgrade(wire)
        assert speaker is not None
        assert wire.sent == ACCEPTED
        assert speaker.heard == EARLY
        assert not wire.all_refusals


@pytest.mark.parametrize("eager", [False, True])
def test_handshake_byte_by_byte(parser: str, eager: bool) -> None:
    speakers: list[Speaker] = []
    wire = Wire(parser, eager=(lambda wire, _: speakers.append(upgrade(wire))) if eager else None)
    for byte in HANDSHAKE + EARLY:
        feed(wire, bytes([byte]))
        if wire.cycles and not speakers:
            speakers.append(upgrade(wire))
    assert wire.sent == ACCEPTED
    assert [speaker.heard for speaker in speakers] == [EARLY]


# Behind other requests


def test_handshake_behind_other_requests(wire: Wire) -> None:
    wire.feed(get("/1") + post(2) + b"hi" + HANDSHAKE + EARLY)
    wire.answer(b"1")
    wire.answer(b"2")
    assert wire.current.request.target == b"/chat"
    assert wire.sent == plain(b"1") + plain(b"2")
    speaker = upgrade(wire)
    assert wire.sent == ACCEPTED
    assert speaker.heard == EARLY


def test_handshake_waits_until_the_response_before_is_read(wire: Wire) -> None:
    wire.feed(get("/1") + HANDSHAKE)
    wire.sink.write_paused = True
    wire.answer()
    assert len(wire.cycles) == 1
    wire.sink.write_paused = False
    wire.engine.resume()
    upgrade(wire)
    assert wire.sent == plain() + ACCEPTED


# Draining


def test_tunnel_of_a_stopping_server_is_told(wire: Wire) -> None:
    wire.feed(HANDSHAKE + b"early")
    wire.engine.drain()
    speaker = upgrade(wire)
    assert wire.sent == ACCEPTED
    assert speaker.calls == ["upgraded", "drain"]
    assert speaker.heard == b"early"


def test_tunnel_is_told_of_the_stop_when_it_is_there(wire: Wire) -> None:
    wire.feed(HANDSHAKE)
    speaker = upgrade(wire)
    assert wire.sink.upgraded is not None
    wire.sink.upgraded.drain()
    assert speaker.calls == ["upgraded", "drain"]


# Half closed


def test_peer_that_has_closed_its_side_is_not_spoken_with(wire: Wire) -> None:
    wire.feed(HANDSHAKE + b"early")
    assert wire.engine.feed_eof()
    speaker = upgrade(wire)
    assert wire.sent == ACCEPTED
    assert speaker.heard == b"early"
    assert speaker.calls == ["upgraded", "hung up"]
    assert wire.calls == ["close"]


def test_peer_that_leaves_before_the_acceptance_is_lost(wire: Wire) -> None:
    wire.feed(HANDSHAKE + b"early")
    wire.engine.lost()
    assert wire.current.calls == ["start", "lost"]
    assert not wire.sent


def test_bare_acceptance_of_something_else(wire: Wire) -> None:
    wire.feed(get("/", "Connection: upgrade", "Upgrade: echo"))
    speaker = Speaker()
    head = response_head(200, [], "GET").switching()
    wire.engine.upgrade(speaker, b"echo", head)
    assert wire.sent == lines(
        "HTTP/1.1 101 Switching Protocols", "Upgrade: echo", "Connection: Upgrade", *DEFAULTS
    )
