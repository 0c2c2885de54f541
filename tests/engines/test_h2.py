"""HTTP/2's machine: a connection's beginning, its responses, and when it writes."""

import pytest

from aserver.engines.h2_frames import ACK, DATA, HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE
from aserver.types import Field
from tests.engines.h2_bytes import (
    SETTINGS_ACK,
    continuation,
    get,
    headers,
    ping,
    post,
    reset,
    settings,
    window_update,
)
from tests.engines.h2_calls import Call
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS


@pytest.fixture
def peer() -> Peer:
    return Peer()


# Section 3.4: how a connection begins


def test_our_settings_are_the_first_frame() -> None:
    peer = Peer(hello=False)
    assert peer.sent[0].kind == SETTINGS
    told = {
        3: 100,
        4: 65_535,
        8: 1,
        9: 1,
    }
    assert {name: peer.settings[name] for name in told} == told
    assert peer.settings.get(2, 0) == 0  # there is no push
    # Section 6.5.2: each field counts for 32 bytes more than it has.
    assert peer.settings[6] >= LIMITS.headers_size + 32 * LIMITS.header_count


def test_windows_and_streams_are_those_of_the_limits() -> None:
    peer = Peer(STREAMS._replace(streams=7, window=100_000, has_websockets=False))
    assert peer.settings[3] == 7
    assert peer.settings[4] == 100_000
    assert peer.settings[8] == 0
    # What is taken comes back with half of it; what is not read may take up the other half.
    assert peer.room[0] == 2 * 7 * 100_000


def test_windows_are_not_smaller_than_what_clients_take_for_true_at_first() -> None:
    assert Peer(STREAMS._replace(window=1)).settings[4] == 65_535


def test_windows_have_an_end() -> None:
    peer = Peer(STREAMS._replace(window=2**40))
    assert peer.settings[4] == peer.room[0] == 2**31 - 1


def test_settings_are_acknowledged_at_once() -> None:
    peer = Peer(hello=False)
    assert peer.sent
    peer.feed(PREFACE + settings())
    assert [(sent.kind, sent.flags) for sent in peer.sent] == [(SETTINGS, ACK)]


def test_requests_may_come_with_the_preface() -> None:
    peer = Peer(hello=False)
    peer.feed(PREFACE + settings() + get(1))
    assert peer.made[0].started


@pytest.mark.parametrize("cut", range(1, len(PREFACE + settings() + get(1))))
def test_requests_may_be_cut_anywhere(cut: int) -> None:
    peer = Peer(hello=False)
    everything = PREFACE + settings() + get(1)
    peer.feed(everything[:cut])
    assert not peer.made
    peer.feed(everything[cut:])
    assert [call.calls for call in peer.made] == [["start"]]


def test_request_byte_by_byte(peer: Peer) -> None:
    request = get(1)
    peer.feed(*(request[i : i + 1] for i in range(len(request))))
    assert peer.made[0].started
    assert peer.calls == ["head"]  # once: the time that a head may take is not begun anew


# Responses while a request is being fed


@pytest.mark.parametrize("request_bytes", [get(1), post(1)])
def test_an_application_may_answer_when_it_is_started(request_bytes: bytes) -> None:
    peer = Peer(eager=lambda call: call.answer(b"at once"))
    reply = peer.open(1, request_bytes)
    peer.read()
    assert (reply.body, reply.ended) == (b"at once", True)


def test_an_application_may_give_up_when_it_is_started() -> None:
    peer = Peer(eager=lambda call: call.channel.abort())
    reply = peer.open(1, post(1), b"\0\0\1\0\1\0\0\0\1x")
    peer.read()
    assert reply.reset == 2
    assert peer.made[0].calls == ["start"]
    peer.assert_nothing_is_left()


def test_many_answers_within_one_read_are_one_write() -> None:
    peer = Peer(eager=lambda call: call.answer(b"x" * 100))
    peer.sink.writes = 0
    for stream in range(1, 40, 2):
        peer.window[stream] = 65_535
    peer.feed(b"".join(get(stream) for stream in range(1, 40, 2)))
    assert peer.sink.writes == 1
    peer.read()
    assert all(reply.ended for reply in peer.replies.values())


def test_parts_of_one_turn_are_one_write(peer: Peer) -> None:
    for stream in (1, 3):
        peer.open(stream, get(stream))
    peer.sink.writes = 0
    for call in peer.made:
        call.begin(b"a")
        call.go_on(b"b", more=False)
    assert peer.sink.writes == 0
    peer.read()
    assert peer.sink.writes == 1


def test_much_is_written_before_the_turn_is_over(peer: Peer) -> None:
    """What is sent does not gather in memory that the transport does not know of."""
    peer.credit(0, 1 << 20)
    peer.open(1, get(1))
    peer.credit(1, 1 << 20)
    peer.sink.writes = 0
    peer.made[0].begin(bytes(400_000))
    assert len(peer.sink.written) > 300_000
    assert peer.sink.writes >= 6


# What is told to the connection


def test_connection_is_idle_when_all_is_answered(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.open(3, get(3))
    assert peer.calls == []
    peer.made[0].answer()
    peer.read()
    assert peer.calls == []
    peer.made[1].answer()
    peer.read()
    assert peer.calls == ["idle"]


def test_connection_is_told_of_a_head_once(peer: Peer) -> None:
    request = get(1)
    peer.feed(request[:20])
    peer.feed(request[20:30])
    assert (peer.engine.mid_head, peer.calls) == (True, ["head"])
    peer.feed(request[30:])
    assert (peer.engine.mid_head, peer.calls) == (False, [])


def test_head_in_several_frames(peer: Peer) -> None:
    whole = get(1)[9:]
    peer.feed(headers(1, [], whole=False) + continuation(1, whole[:10], whole=False))
    assert peer.engine.mid_head
    assert peer.calls == ["head"]
    peer.feed(continuation(1, whole[10:]))
    assert peer.made[0].started
    assert peer.calls == []


def test_idle_is_not_begun_anew_by_what_is_no_request(peer: Peer) -> None:
    """Else a client could stay for ever by it."""
    peer.feed(ping(), settings(), window_update(0, 1))
    assert peer.calls == []


def test_idle_is_not_begun_anew_by_a_ping_in_two_parts(peer: Peer) -> None:
    for _ in range(3):
        peer.feed(ping()[:12])
        peer.feed(ping()[12:])
    assert "idle" not in peer.calls


def test_pings_are_answered_at_once(peer: Peer) -> None:
    peer.feed(ping(b"abcdefgh"))
    sent = peer.sent
    assert [(one.kind, one.flags, one.payload) for one in sent] == [(PING, ACK, b"abcdefgh")]


def test_streams_and_connection_tell_what_they_are(peer: Peer) -> None:
    peer.open(1, get(1))
    assert repr(peer.engine) == "<H2 OPEN streams=1>"
    assert repr(peer.made[0].channel) == (
        "<H2Stream 1 GET b'/' inbound=ENDED outbound=AWAITED waiting=0>"
    )


# The transport


def test_nothing_of_a_body_is_made_for_who_does_not_read(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.stop_reading()
    assert not peer.made[0].begin(b"abc")
    peer.read()
    assert reply.status == 0
    assert peer.made[0].calls == ["start"]
    peer.read_on()
    peer.read()
    assert (reply.status, reply.body) == (200, b"abc")
    assert peer.made[0].calls == ["start", "resume"]


def test_a_transport_that_is_full_stops_all_streams(peer: Peer) -> None:
    peer.credit(0, 1 << 20)
    for stream in (1, 3, 5):
        peer.open(stream, get(stream))
    peer.sink.full = True
    have_room = [call.begin(bytes(60_000)) for call in peer.made]
    assert have_room == [False, False, False]  # nobody knows yet whose turn it is
    peer.turn()
    assert len(peer.sink.written) < 65_536 + 16_384 + 1_000
    peer.read_on()
    peer.read()
    assert all(len(peer.replies[stream].body) == 60_000 for stream in (1, 3, 5))
    assert [call.calls[1:] for call in peer.made] == [["resume"]] * 3


def test_resume_tells_those_who_wait_only(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.open(3, get(3))
    peer.stop_reading()
    peer.made[0].begin()
    peer.read_on()
    peer.turn()
    assert peer.made[0].calls == ["start", "resume"]
    assert peer.made[1].calls == ["start"]


def test_who_waits_for_nothing_but_the_transport_is_told(peer: Peer) -> None:
    peer.credit(0, 1 << 20)
    peer.open(1, get(1))
    peer.credit(1, 1 << 20)
    peer.sink.full = True
    assert not peer.made[0].begin(bytes(65_536))  # all of it is written, and that was too much
    peer.turn()
    assert peer.made[0].calls == ["start"]
    peer.read_on()
    assert peer.made[0].calls == ["start", "resume"]


def test_who_is_idle_is_idle_again_when_the_transport_is_not_full_any_more(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.sink.full = True
    peer.made[0].answer(b"abc")
    peer.turn()
    peer.calls.clear()
    peer.read_on()
    peer.turn()
    assert peer.calls == ["idle"]


def test_who_sends_into_a_closing_transport_waits_for_its_end(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.sink.closing = True
    assert not peer.made[0].begin(b"abc")


def test_an_application_may_send_on_when_it_is_resumed() -> None:
    """At once, as one with a buffer of its own may."""

    class Sender(Call):
        left = 5

        def resume(self) -> None:
            super().resume()
            has_room = True
            while has_room and self.left:
                self.left -= 1
                has_room = self.go_on(bytes(30_000), more=self.left > 0)

    peer = Peer(make=Sender)
    peer.credit(0, 1 << 20)
    reply = peer.open(1, get(1))
    peer.credit(1, 1 << 20)
    peer.stop_reading()
    peer.made[0].begin(b"a")
    for _ in range(5):
        peer.stop_reading()
        peer.read_on()
        peer.read()
    assert reply.ended
    assert len(reply.body) == 150_001
    peer.assert_nothing_is_left()


def test_update_of_a_window_makes_no_write_of_its_own(peer: Peer) -> None:
    peer.open(1, post(1))
    peer.send(1, bytes(40_000)[:16_384])
    peer.send(1, bytes(16_384))
    peer.sink.writes = 0
    peer.made[0].take(32_768)
    peer.made[0].begin(b"a")
    assert peer.sink.writes == 0
    assert {sent.kind for sent in peer.sent} == {WINDOW_UPDATE, HEADERS, DATA}
    assert peer.sink.writes == 1


def test_fields_that_every_response_has_are_those_of_now(peer: Peer) -> None:
    first: list[Field] = [(b"date", b"now"), (b"server", b"test")]
    for stream in (1, 3):
        reply = peer.open(stream, get(stream))
        peer.made[-1].begin(status=204, more=False)
        peer.read()
        assert reply.fields == first


def test_reset_of_one_stream_leaves_the_others(peer: Peer) -> None:
    peer.open(1, get(1))
    other = peer.open(3, get(3))
    peer.feed(reset(1))
    assert peer.made[0].calls == ["start", "lost"]
    peer.made[1].answer(b"abc")
    peer.read()
    assert other.ended
    assert peer.replies[1].reset is None
    peer.assert_nothing_is_left()


def test_acknowledgements_are_nothing_to_us(peer: Peer) -> None:
    peer.feed(SETTINGS_ACK)
    assert not peer.sent
    assert not peer.goaways
