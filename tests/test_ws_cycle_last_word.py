"""What comes behind our close frame, and what happens when the log fails at the end."""

import pytest

from tests.fakes import rounds
from tests.ws_stage import PING, SocketStage, closing, ended, frame, result, waiting

pytestmark = pytest.mark.asyncio


async def test_pings_behind_our_close_frame_do_not_put_off_the_end() -> None:
    """They are answered, and the client takes the answers: that is no progress towards its own."""
    stage = SocketStage(websocket_close_timeout=5, ping_interval=0)
    call = await stage.open()
    await call.send(closing(4000))
    await call.end()
    seconds = 0
    while not stage.tunnel.calls:
        stage.feed(frame(PING, bytes(100)))
        stage.clock.tick()
        seconds += 1
        assert seconds <= 6
    assert stage.tunnel.calls == ["abort"]
    assert seconds == 6
    assert stage.left_open == 0


class Broken(Exception):
    pass


def broken(*arguments: object) -> None:
    raise Broken


async def test_log_that_fails_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application is told, and nothing stays open."""
    stage = SocketStage()
    call = await stage.open()
    task = await waiting(call.receive)
    monkeypatch.setattr(stage.context.throttle, "info", broken)
    with pytest.raises(Broken):
        stage.feed(b"\x83\x80\0\0\0\0")  # an opcode that is none
    assert (await result(task))["code"] == 1002
    assert stage.tunnel.calls == ["close"]
    await call.end()
    assert stage.left_open == 0


async def test_log_that_fails_when_a_client_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = SocketStage(ping_interval=1, ping_timeout=1)
    call = await stage.open()
    monkeypatch.setattr(stage.context.throttle, "info", broken)
    stage.clock.run(5)
    await rounds()
    assert await call.receive() == ended(1006)
    assert stage.tunnel.calls == ["close"]
    await call.end()
    assert stage.left_open == 0


async def test_error_of_ours_in_a_step_that_was_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends; nothing is held for ever."""
    stage = SocketStage()
    await stage.open()
    websocket = stage.cycle._websocket
    monkeypatch.setattr(type(websocket), "go_on", broken)
    with pytest.raises(Broken):
        stage.cycle._go_on()
    assert stage.tunnel.calls == ["abort"]
    stage.lose()
