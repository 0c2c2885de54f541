"""The messages that wait for an application: in order, and no more than may wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.ws_inbox import Inbox
from tests.fakes import FakeTunnel


def put(inbox: Inbox, *messages: str | bytes) -> None:
    for message in messages:
        inbox.put(message, at_once=False)


def test_order() -> None:
    inbox = Inbox(FakeTunnel(), 10, 100)
    assert not inbox
    put(inbox, "a", b"b", "")
    assert inbox
    assert [inbox.take() for _ in range(3)] == ["a", b"b", ""]
    assert not inbox


@pytest.mark.parametrize(("most", "most_bytes"), [(4, 100), (100, 4)])
def test_hold_and_release(most: int, most_bytes: int) -> None:
    tunnel = FakeTunnel()
    inbox = Inbox(tunnel, most, most_bytes)
    put(inbox, *"abcd")
    assert tunnel.calls == []
    put(inbox, *"efg")
    assert tunnel.calls == ["hold"]
    for _ in range(4):
        inbox.take()
        assert tunnel.calls == ["hold"]
    inbox.take()
    assert tunnel.calls == ["hold", "release"]


def test_message_that_somebody_waits_for_does_not_count() -> None:
    tunnel = FakeTunnel()
    inbox = Inbox(tunnel, 1, 1)
    inbox.put("large", at_once=True)
    assert tunnel.calls == []
    put(inbox, "b")
    assert tunnel.calls == ["hold"]


def test_clear() -> None:
    tunnel = FakeTunnel()
    inbox = Inbox(tunnel, 1, 10)
    put(inbox, "aaaaaaaaa", "b", "c")
    inbox.clear()
    assert tunnel.calls == ["hold", "release"]
    assert not inbox
    put(inbox, "aaaaaaaaaa")
    assert tunnel.calls == ["hold", "release"], "what was cleared counts no more"


def test_loss() -> None:
    """What has come is kept; there is nothing to be held or released."""
    tunnel = FakeTunnel()
    inbox = Inbox(tunnel, 1, 10)
    put(inbox, "a", "b", "c")
    before = inbox.has_source
    inbox.cut_off()
    assert (before, inbox.has_source) == (True, False)
    assert [inbox.take(), inbox.take()] == ["a", "b"]
    put(inbox, "d", "e", "f")
    inbox.clear()
    assert tunnel.calls == ["hold"]


@given(st.integers(1, 5), st.integers(1, 9), st.lists(st.integers(-1, 4), max_size=60))
def test_any_order(most: int, most_bytes: int, moves: list[int]) -> None:
    """-1 takes a message, other numbers put one of that size."""
    tunnel = FakeTunnel()
    inbox = Inbox(tunnel, most, most_bytes)
    waiting: list[bytes] = []
    for move in moves:
        if move >= 0:
            waiting.append(bytes(move))
            put(inbox, waiting[-1])
        elif waiting:
            assert inbox.take() == waiting.pop(0)
        size = sum(map(len, waiting))
        held = tunnel.calls.count("hold") - tunnel.calls.count("release")
        assert held in (0, 1)
        if len(waiting) > most or size > most_bytes:
            assert held
        if len(waiting) <= most // 2 and size <= most_bytes // 2:
            assert not held
        assert bool(inbox) == bool(waiting)
