"""A request that turns into a tunnel at once, while the engine is at work on something else.

So do the tasks of an eager event loop, which Python 3.12 has.
"""

from collections.abc import Callable

import pytest

from tests.engines.test_h1_upgrade import ACCEPTED, EARLY, HANDSHAKE, feed, upgrade
from tests.engines.wire import Wire, get, plain
from tests.engines.ws_wire import Speaker
from tests.fakes import FakeCycle


def accept_websockets(speakers: list[Speaker]) -> Callable[[Wire, FakeCycle], None]:
    """An application that accepts while the handshake is being fed, and answers the rest."""

    def act(wire: Wire, cycle: FakeCycle) -> None:
        speakers.append(upgrade(wire)) if cycle.request.upgrade else wire.answer()

    return act


@pytest.mark.parametrize("before", [b"", b"\r\n", get("/1"), get("/1") + get("/2")])
@pytest.mark.parametrize("early", [b"", EARLY])
def test_acceptance_while_being_fed(parser: str, before: bytes, early: bytes) -> None:
    data = before + HANDSHAKE + early
    for size in range(1, len(data) + 1):
        speakers: list[Speaker] = []
        wire = Wire(parser, eager=accept_websockets(speakers))
        for piece in (data[:size], data[size:]):
            if piece:
                feed(wire, piece)
        (speaker,) = speakers
        assert speaker.calls == ["upgraded"]
        assert speaker.heard == early
        assert wire.sent == plain() * before.count(b"GET") + ACCEPTED
        assert wire.reading()


class Held:
    """A handshake behind a request; it is accepted as soon as it is its turn."""

    def __init__(self, parser: str, early: bytes = b"") -> None:
        self.speakers: list[Speaker] = []
        self.wire = Wire(parser, eager=self._act)
        self.wire.feed(get("/first") + HANDSHAKE + early)

    def _act(self, wire: Wire, cycle: FakeCycle) -> None:
        if cycle.request.upgrade:
            self.speakers.append(upgrade(wire))

    @property
    def speaker(self) -> Speaker:
        """Who speaks now."""
        (speaker,) = self.speakers
        assert not hasattr(self.wire.engine, "_reader")
        assert self.wire.sent == plain(b"a") + ACCEPTED
        return speaker


@pytest.fixture(params=[b"", EARLY], ids=["", "early"])
def early(request: pytest.FixtureRequest) -> bytes:
    """What comes with the handshake."""
    data: bytes = request.param
    return data


def test_acceptance_while_the_response_before_ends(parser: str, early: bytes) -> None:
    held = Held(parser, early)
    held.wire.answer(b"a")
    speaker = held.speaker
    assert speaker.heard == early
    assert speaker.calls == ["upgraded"]
    assert held.wire.calls == ["idle"]
    assert held.wire.reading()
    feed(held.wire, b"more")
    assert speaker.heard == early + b"more"


def test_acceptance_when_the_response_before_has_been_read(parser: str, early: bytes) -> None:
    held = Held(parser, early)
    held.wire.sink.write_paused = True
    held.wire.answer(b"a")
    assert not held.speakers
    held.wire.sink.write_paused = False
    held.wire.engine.resume()
    assert held.speaker.heard == early
    assert held.speakers[0].calls == ["upgraded"]
    assert held.wire.reading()


def test_acceptance_behind_the_end_of_what_the_peer_sends(parser: str, early: bytes) -> None:
    """What the connection is now hears of it, and nobody else answers it."""
    held = Held(parser, early)
    assert held.wire.engine.feed_eof()
    held.wire.answer(b"a")
    speaker = held.speaker
    assert speaker.heard == early
    assert speaker.calls == ["upgraded", "hung up"]
    assert held.wire.calls == ["idle", "close"]


def test_acceptance_while_the_server_stops(parser: str, early: bytes) -> None:
    """It is the tunnel's to come to an end, and nobody else closes it."""
    held = Held(parser, early)
    held.wire.engine.drain()
    held.wire.answer(b"a")
    speaker = held.speaker
    assert speaker.heard == early
    assert speaker.calls == ["upgraded", "drain"]
    assert held.wire.calls == ["idle"]
