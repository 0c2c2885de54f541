"""The tunnel that a connection becomes: bytes both ways, and both parts that it plays."""

from collections.abc import Callable

import pytest

from aserver.engines.h1_tunnel import H1Tunnel
from aserver.seams import Engine
from aserver.types import ProtocolError
from tests.engines.ws_wire import Speaker
from tests.fakes import FakeSink


class Ends:
    """A tunnel between a sink and a cycle."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.speaker = Speaker()
        self.tunnel = H1Tunnel(self.sink, self.speaker)
        self.speaker.upgraded(self.tunnel)
        self.speaker.calls.clear()


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_bytes_go_both_ways(ends: Ends) -> None:
    ends.tunnel.feed(b"in")
    assert ends.tunnel.send(b"out")
    assert ends.speaker.heard == b"in"
    assert ends.sink.written == b"out"
    assert ends.sink.writes == 1


@pytest.mark.parametrize("full", [False, True])
def test_tunnel_is_full_when_the_transport_is(ends: Ends, full: bool) -> None:
    ends.sink.write_paused = full
    assert ends.tunnel.is_full is full


def test_who_sends_waits_for_the_peer(ends: Ends) -> None:
    ends.sink.write_paused = True
    assert not ends.tunnel.send(b"a")
    assert ends.sink.written == b"a"
    ends.sink.write_paused = False
    ends.tunnel.resume()
    assert ends.speaker.calls == ["resume"]
    assert ends.tunnel.send(b"b")


def test_who_sends_to_a_closed_transport_waits_for_its_end(ends: Ends) -> None:
    ends.sink.closing = True
    assert not ends.tunnel.send(b"a")


def test_reading_is_paused_once(ends: Ends) -> None:
    for _ in range(2):
        ends.tunnel.hold()
        ends.tunnel.hold()
        assert not ends.sink.reading
        ends.tunnel.release()
        ends.tunnel.release()
        assert ends.sink.reading


@pytest.mark.parametrize("held", [False, True])
def test_close_lets_the_peer_read_our_last_words(ends: Ends, held: bool) -> None:
    if held:
        ends.tunnel.hold()
    ends.tunnel.close()
    assert ends.sink.calls == ["linger"]
    assert ends.sink.reading
    ends.tunnel.release()  # it reads on already
    assert ends.sink.reading


@pytest.mark.parametrize("held", [False, True])
def test_abort_is_seen_as_an_error(ends: Ends, held: bool) -> None:
    if held:
        ends.tunnel.hold()
    ends.tunnel.abort()
    assert ends.sink.calls == ["reset"]
    ends.tunnel.release()  # there is nothing to read any more
    assert ends.sink.reading is not held


@pytest.mark.parametrize("end", [H1Tunnel.close, H1Tunnel.abort])
def test_nothing_is_fed_behind_the_end(ends: Ends, end: Callable[[H1Tunnel], None]) -> None:
    end(ends.tunnel)
    ends.tunnel.feed(b"late")
    assert not ends.speaker.heard
    assert not ends.speaker.calls  # who ends it knows


def test_signs_of_life_are_the_sinks(ends: Ends) -> None:
    assert not ends.tunnel.has_unread()
    assert ends.tunnel.unsent() == 0
    ends.sink.unread, ends.sink.untaken = True, 5
    assert ends.tunnel.has_unread()
    assert ends.tunnel.unsent() == 5


# In the engine's place


def test_half_a_tunnel_is_none(ends: Ends) -> None:
    assert not ends.tunnel.feed_eof()
    assert ends.speaker.calls == ["hung up"]


def test_nothing_of_http_is_left(ends: Ends) -> None:
    assert not ends.tunnel.mid_head
    engine: Engine = ends.tunnel
    assert engine.body_progress() is None
    ends.tunnel.hang_up()
    assert not ends.speaker.calls
    assert not ends.sink.calls


def test_refusal_is_an_end_without_an_answer(ends: Ends) -> None:
    ends.tunnel.refuse(ProtocolError(400, "late"))
    assert ends.sink.calls == ["reset"]
    assert not ends.sink.written


def test_cycle_is_told_of_the_stop(ends: Ends) -> None:
    ends.tunnel.drain()
    assert ends.speaker.calls == ["drain"]


def test_cycle_is_told_of_the_loss_and_let_go_of(ends: Ends) -> None:
    ends.tunnel.lost()
    assert ends.speaker.calls == ["lost"]
    assert not any(hasattr(ends.tunnel, name) for name in ("_sink", "_write", "_cycle", "feed"))


def test_repr_says_whether_it_reads(ends: Ends) -> None:
    assert repr(ends.tunnel) == "<H1Tunnel held=False>"
    ends.tunnel.hold()
    assert repr(ends.tunnel) == "<H1Tunnel held=True>"
