"""WebSockets over HTTP/2: a stream that is a tunnel (RFC 8441)."""

import pytest

from aserver.engines.fields import response_head
from aserver.engines.h2_frames import DATA, HEADERS, ErrorCode, H2Error
from aserver.seams import Tunnel
from tests.engines.h2_bytes import (
    CALM,
    CANCEL,
    INITIAL_WINDOW,
    PROTOCOL_ERROR,
    connect,
    data,
    get,
    goaway,
    headers,
    request_fields,
    reset,
)
from tests.engines.h2_calls import Call
from tests.engines.h2_peer import STREAMS, Peer, Reply
from tests.fakes import LIMITS


class Ends:
    """A stream that has become a tunnel: both of its ends."""

    def __init__(self, *settings: tuple[int, int], window: int = 65_535) -> None:
        self.peer = Peer(STREAMS._replace(window=window), LIMITS, *settings)
        self.reply: Reply = self.peer.open(1, connect(1))
        self.call: Call = self.peer.made[0]
        self.tunnel: Tunnel = self.call.accept()
        assert [sent.kind for sent in self.peer.sent] == [HEADERS]
        self.call.calls.clear()


@pytest.fixture
def ends() -> Ends:
    return Ends()


# Becoming one


def test_the_request(ends: Ends) -> None:
    request = ends.call.request
    assert (request.method, request.target, request.upgrade) == ("CONNECT", b"/", (b"websocket",))


def test_it_is_accepted_with_a_head_without_an_end(ends: Ends) -> None:
    assert (ends.reply.status, ends.reply.ended) == (200, False)
    assert b"content-length" not in dict(ends.reply.fields)


def test_fields_of_the_application_come_along() -> None:
    peer = Peer()
    reply = peer.open(1, connect(1))
    peer.made[0].accept((b"sec-websocket-protocol", b"chat"))
    peer.read()
    assert (b"sec-websocket-protocol", b"chat") in reply.fields


def test_it_has_to_be_offered() -> None:
    peer = Peer(STREAMS._replace(has_websockets=False))
    reply = peer.open(1, connect(1))
    peer.read()
    assert (reply.status, reply.reset) == (400, PROTOCOL_ERROR)
    assert peer.made == []


def test_only_connect_may_ask() -> None:
    peer = Peer()
    reply = peer.open(1, headers(1, request_fields("GET", "/", (b":protocol", b"websocket"))))
    peer.read()
    assert (reply.status, reply.reset) == (400, PROTOCOL_ERROR)


def test_what_came_early_is_for_the_tunnel() -> None:
    peer = Peer()
    peer.open(1, connect(1), data(1, b"abc"))
    peer.send(1, b"def")
    call = peer.made[0]
    assert (call.body, call.calls) == (b"", ["start"])
    assert peer.wire.credited == 0
    call.accept()
    assert call.calls == ["start", "upgraded"]
    assert call.body == b"abcdef"
    assert peer.wire.credited == 6


def test_what_came_early_in_small_pieces_comes_in_few() -> None:
    class Counting(Call):
        feeds = 0

        def feed(self, data: bytes) -> None:
            super().feed(data)
            self.feeds += 1

    peer = Peer(make=Counting)
    peer.open(1, connect(1))
    for number in range(200):
        peer.send(1, bytes((number,)))
    call = peer.made[0]
    assert isinstance(call, Counting)
    call.accept()
    assert call.body == bytes(range(200))
    assert call.feeds == 1
    assert peer.wire.credited == 200


@pytest.mark.parametrize("how", ["abort", "error"])
def test_an_accept_that_comes_too_late_makes_no_tunnel(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is over already, or is with the very head of the answer."""

    def fail(*arguments: object, **options: object) -> None:
        raise H2Error(ErrorCode.ENHANCE_YOUR_CALM, "too much")

    peer = Peer()
    peer.open(1, connect(1), data(1, b"abc"))
    call = peer.made[0]
    if how == "abort":
        call.channel.abort()
    else:
        peer.turn()
        monkeypatch.setattr(peer.wire, "head", fail)
    call.channel.upgrade(call, b"websocket", response_head(200, (), "CONNECT"))
    assert call.tunnel is None
    assert "upgraded" not in call.calls
    assert call.body == b""
    peer.read()
    assert [code for _, code in peer.goaways] == ([] if how == "abort" else [CALM])
    peer.assert_nothing_is_left()


def test_no_more_comes_early_than_a_window() -> None:
    peer = Peer()
    peer.open(1, connect(1))
    for _ in range(3):
        peer.send(1, bytes(16_384))
    peer.read()
    assert peer.room[1] == 65_535 - 3 * 16_384


def test_an_application_may_accept_when_it_is_started() -> None:
    peer = Peer(eager=lambda call: call.accept().send(b"hello"))
    reply = peer.open(1, connect(1), data(1, b"abc"))
    peer.read()
    assert (reply.status, reply.body) == (200, b"hello")
    assert peer.made[0].body == b"abc"


def test_waiting_for_an_answer_has_no_deadline_here() -> None:
    peer = Peer()
    peer.open(1, connect(1))
    assert not peer.sink.watched


# Denials


def test_a_denial_is_a_response() -> None:
    peer = Peer()
    reply = peer.open(1, connect(1), data(1, b"abc"))
    peer.made[0].answer(b"no", status=403)
    peer.read()
    assert (reply.status, reply.body, reply.end) == (403, b"no", (True, None))
    assert peer.made[0].body == b""
    assert peer.wire.credited == 3
    peer.feed(reset(1))
    peer.assert_nothing_is_left()


def test_a_denial_may_come_in_parts() -> None:
    peer = Peer()
    reply = peer.open(1, connect(1))
    peer.made[0].begin(b"n", status=403)
    peer.made[0].go_on(b"o", more=False)
    peer.send(1, b"", ended=True)
    peer.read()
    assert (reply.status, reply.body, reply.end) == (403, b"no", (True, None))
    peer.assert_nothing_is_left()


def test_the_client_may_end_before_it_is_denied() -> None:
    peer = Peer()
    reply = peer.open(1, connect(1), data(1, b"", ended=True))
    peer.made[0].answer(status=403)
    peer.read()
    assert reply.end == (True, None)
    peer.assert_nothing_is_left()


# Bytes


def test_bytes_go_both_ways(ends: Ends) -> None:
    ends.peer.send(1, b"in")
    assert ends.tunnel.send(b"out")
    ends.peer.read()
    assert (ends.call.body, ends.reply.body) == (b"in", b"out")
    assert not ends.reply.ended


def test_body_limits_are_not_for_tunnels() -> None:
    peer = Peer(STREAMS, LIMITS._replace(body_size=10))
    peer.open(1, connect(1))
    peer.made[0].accept()
    peer.send(1, bytes(100))
    peer.read()
    assert len(peer.made[0].body) == 100
    assert peer.replies[1].reset is None


def test_a_tunnel_has_no_deadline_for_a_body(ends: Ends) -> None:
    assert not ends.peer.sink.watched


def test_a_tunnel_whose_client_makes_no_room_has_one() -> None:
    ends = Ends((INITIAL_WINDOW, 0))
    ends.tunnel.send(b"abc")
    assert ends.peer.wait(30) == 1
    assert ends.call.calls == ["lost"]
    ends.peer.read()
    assert ends.reply.reset not in (None, 0)
    ends.peer.assert_nothing_is_left()


def test_who_sends_waits_for_the_window() -> None:
    ends = Ends((INITIAL_WINDOW, 2))
    assert not ends.tunnel.send(b"abc")
    assert (ends.tunnel.is_full, ends.tunnel.unsent()) == (True, 1)
    ends.peer.credit(1, 10)
    assert (ends.tunnel.is_full, ends.tunnel.unsent()) == (False, 0)
    assert ends.call.calls == ["resume"]
    assert ends.tunnel.send(b"def")
    ends.peer.read()
    assert ends.reply.body == b"abcdef"


def test_who_sends_waits_for_the_transport(ends: Ends) -> None:
    ends.peer.stop_reading()
    ends.peer.sink.untaken = 1000
    assert not ends.tunnel.send(b"abc")
    assert (ends.tunnel.is_full, ends.tunnel.unsent()) == (True, 1003)
    ends.peer.read_on()
    ends.peer.turn()
    assert (ends.tunnel.is_full, ends.tunnel.unsent()) == (False, 1000)
    assert ends.call.calls == ["resume"]


def test_a_closed_transport_is_full(ends: Ends) -> None:
    ends.peer.sink.closing = True
    assert ends.tunnel.is_full
    assert not ends.tunnel.send(b"abc")


@pytest.mark.parametrize("unread", [False, True])
def test_what_is_unread_is_the_connection_s(ends: Ends, unread: bool) -> None:
    ends.peer.sink.unread = unread
    assert ends.tunnel.has_unread() is unread


# Credit


def test_credit_comes_at_once(ends: Ends) -> None:
    ends.peer.send(1, b"abc")
    assert ends.peer.wire.credited == 3


def test_who_is_held_gets_none(ends: Ends) -> None:
    ends.tunnel.hold()
    ends.tunnel.hold()
    for _ in range(3):
        ends.peer.send(1, bytes(16_384))
    ends.peer.read()
    assert len(ends.call.body) == 3 * 16_384
    assert ends.peer.wire.credited == 0
    ends.tunnel.release()
    ends.peer.read()
    assert ends.peer.wire.credited == 3 * 16_384
    assert ends.peer.room[1] == 65_535
    ends.tunnel.release()
    ends.peer.send(1, b"abc")
    assert ends.peer.wire.credited == 3 * 16_384 + 3


def test_holding_one_stream_holds_no_other(ends: Ends) -> None:
    ends.tunnel.hold()
    ends.peer.send(1, bytes(16_384))
    other = ends.peer.open(3, get(3))
    ends.peer.made[1].answer(b"abc")
    ends.peer.read()
    assert other.body == b"abc"
    assert ends.peer.sink.reading


def test_padding_comes_back_while_held(ends: Ends) -> None:
    ends.tunnel.hold()
    ends.peer.feed(data(1, b"abc", padding=100))
    assert ends.peer.wire.credited == 101


# Ends


def test_close_is_the_end_of_a_stream(ends: Ends) -> None:
    """Browsers take a reset for an abnormal closure: it must not come first."""
    ends.tunnel.send(b"bye")
    ends.tunnel.close()
    ends.peer.read()
    assert (ends.reply.body, ends.reply.end) == (b"bye", (True, None))
    ends.peer.send(1, b"late")
    assert ends.call.body == b""
    ends.peer.send(1, b"", ended=True)
    ends.peer.read()
    assert ends.reply.reset is None
    assert ends.call.calls == []
    ends.peer.assert_nothing_is_left()


def test_close_waits_for_what_is_to_be_sent() -> None:
    ends = Ends((INITIAL_WINDOW, 1))
    ends.tunnel.send(b"bye")
    ends.tunnel.close()
    ends.peer.read()
    assert (ends.reply.body, ends.reply.ended) == (b"b", False)
    ends.peer.credit(1, 5)
    ends.peer.read()
    assert (ends.reply.body, ends.reply.end) == (b"bye", (True, None))


def test_close_gives_back_what_was_held() -> None:
    """At once, though the end waits for room."""
    ends = Ends((INITIAL_WINDOW, 0))
    ends.tunnel.send(b"bye")
    ends.tunnel.hold()
    ends.peer.send(1, b"abc")
    ends.tunnel.close()
    assert ends.peer.wire.credited == 3


def test_who_does_not_end_behind_our_end_is_reset(ends: Ends) -> None:
    ends.tunnel.close()
    assert ends.peer.wait(2) == 1
    ends.peer.read()
    assert ends.reply.end == (True, 0)
    ends.peer.assert_nothing_is_left()


def test_abort_is_a_reset(ends: Ends) -> None:
    ends.tunnel.send(b"abc")
    ends.tunnel.abort()
    ends.peer.read()
    assert ends.reply.end == (False, CANCEL)
    assert ends.call.calls == []
    ends.peer.assert_nothing_is_left()


def test_the_client_s_end_is_heard(ends: Ends) -> None:
    ends.peer.send(1, b"bye", ended=True)
    assert ends.call.body == b"bye"
    assert ends.call.calls == ["hung up"]
    ends.peer.read()
    assert ends.reply.end == (True, None)
    ends.peer.assert_nothing_is_left()


def test_the_client_s_end_waits_behind_what_is_held(ends: Ends) -> None:
    """As the end of a connection does: who is held has not looked at everything before it."""
    ends.tunnel.hold()
    ends.peer.send(1, b"bye", ended=True)
    ends.peer.turn()
    assert (ends.call.body, ends.call.calls) == (b"bye", [])
    ends.tunnel.release()
    assert ends.call.calls == []  # not in the middle of its work
    ends.tunnel.hold()
    ends.peer.turn()
    assert ends.call.calls == []
    ends.tunnel.release()
    ends.tunnel.release()
    ends.peer.turn()
    assert ends.call.calls == ["hung up"]
    ends.peer.read()
    assert ends.reply.end == (True, None)
    ends.peer.assert_nothing_is_left()


def test_an_end_that_waits_is_none_for_who_closes(ends: Ends) -> None:
    ends.tunnel.hold()
    ends.peer.send(1, b"", ended=True)
    ends.tunnel.close()
    ends.peer.read()
    assert ends.call.calls == []
    assert ends.reply.end == (True, None)
    ends.peer.assert_nothing_is_left()


def test_an_end_that_came_early_is_heard() -> None:
    peer = Peer()
    reply = peer.open(1, connect(1), data(1, b"abc", ended=True))
    peer.made[0].accept()
    peer.read()
    assert peer.made[0].body == b"abc"
    assert peer.made[0].calls == ["start", "upgraded", "hung up"]
    assert reply.end == (True, None)
    peer.assert_nothing_is_left()


def test_a_reset_is_heard(ends: Ends) -> None:
    ends.peer.feed(reset(1))
    assert ends.call.calls == ["lost"]
    assert not ends.tunnel.send(b"abc")
    ends.tunnel.close()
    ends.tunnel.abort()
    assert not ends.peer.sent
    ends.peer.assert_nothing_is_left()


def test_a_connection_s_end_is_heard_once(ends: Ends) -> None:
    ends.peer.engine.lost()
    assert ends.call.calls == ["lost"]


def test_close_when_it_is_upgraded() -> None:
    class Closing(Call):
        def upgraded(self, tunnel: Tunnel) -> None:
            super().upgraded(tunnel)
            tunnel.close()

    peer = Peer(make=Closing)
    reply = peer.open(1, connect(1), data(1, b"abc"))
    peer.made[0].accept()
    peer.read()
    assert reply.end == (True, None)
    assert peer.made[0].body == b""
    assert peer.wire.credited == 3
    peer.send(1, b"", ended=True)
    peer.assert_nothing_is_left()


# The server's end


def test_drain_is_heard(ends: Ends) -> None:
    ends.peer.engine.drain()
    assert ends.call.calls == ["drain"]
    ends.tunnel.close()
    ends.peer.send(1, b"", ended=True)
    ends.peer.read()
    assert ends.peer.calls == ["linger"]


def test_drain_is_heard_by_who_accepts_later() -> None:
    peer = Peer()
    peer.open(1, connect(1))
    peer.engine.drain()
    assert peer.made[0].calls == ["start"]
    peer.made[0].accept()
    assert peer.made[0].calls == ["start", "upgraded", "drain"]


def test_the_limit_of_requests_ends_no_tunnel() -> None:
    """The server is not stopping: there is no reason to send a client away at once."""
    peer = Peer(STREAMS._replace(requests=1))
    peer.open(1, connect(1))
    peer.made[0].accept()
    assert peer.made[0].calls == ["start", "upgraded"]


def test_a_client_that_opens_no_more_streams_keeps_its_tunnel() -> None:
    peer = Peer()
    peer.open(1, connect(1))
    peer.feed(goaway())
    tunnel = peer.made[0].accept()
    assert peer.made[0].calls == ["start", "upgraded"]
    assert tunnel.send(b"abc")
    peer.read()
    assert peer.replies[1].body == b"abc"


def test_a_tunnel_tells_what_it_is(ends: Ends) -> None:
    assert repr(ends.tunnel) == (
        "<H2Tunnel held=False <H2Stream 1 CONNECT b'/' inbound=OPEN outbound=OPEN waiting=0>>"
    )


def test_what_is_sent_within_a_read_is_one_write(ends: Ends) -> None:
    ends.peer.sink.writes = 0
    for _ in range(5):
        ends.tunnel.send(b"abc")
    assert [sent.kind for sent in ends.peer.sent] == [DATA] * 5
    assert ends.peer.sink.writes == 1


def test_accepting_is_one_write() -> None:
    peer = Peer(eager=lambda call: call.accept().send(b"hello"))
    peer.sink.writes = 0
    peer.open(1, connect(1))
    assert [sent.kind for sent in peer.sent] == [HEADERS, DATA]
    assert peer.sink.writes == 1
