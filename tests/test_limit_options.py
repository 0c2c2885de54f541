"""The options that bound what a client may take: their defaults, and which numbers they accept."""

from dataclasses import fields
from math import inf

import pytest

from aserver.config import DECLARATIONS, Config
from aserver.declarations import ConfigError
from aserver.limit_options import Limits, WebSocket
from aserver.limits import SocketLimits

NUMBERS = [
    f.name for section in (Limits, WebSocket) for f in fields(section) if f.type in (int, float)
]


def test_websocket_defaults() -> None:
    websocket = WebSocket()
    assert websocket.ws == "auto"
    assert websocket.websocket_connect_timeout == 5  # as Daphne's
    assert (websocket.ping_interval, websocket.ping_timeout) == (20, 30)  # as Daphne's
    assert websocket.websocket_max_message_size == 16 * 2**20  # as uvicorn's
    assert websocket.websocket_timeout == 0, "Daphne's day is a surprise to most who find it"
    assert Config().websocket == websocket


def test_every_limit_is_on_by_default_except_for_lifetimes() -> None:
    """What an unknown client can take is bounded without any option."""
    limits = SocketLimits.of(WebSocket(), Limits(), 0)
    values = {**limits._asdict(), **limits.messages._asdict()}
    assert {name for name, value in values.items() if value == inf} == {
        "idle_seconds",
        "age_seconds",
    }


@pytest.mark.parametrize("name", NUMBERS)
def test_number_below_the_least(name: str) -> None:
    minimum = DECLARATIONS[name].option.minimum
    assert minimum is not None
    Config.of(**{name: minimum})
    with pytest.raises(ConfigError, match=DECLARATIONS[name].label):
        Config.of(**{name: minimum - 1})


@pytest.mark.parametrize("name", NUMBERS)
def test_number_above_the_most(name: str) -> None:
    maximum = DECLARATIONS[name].option.maximum
    if maximum is not None:
        Config.of(**{name: maximum})
        with pytest.raises(ConfigError, match=DECLARATIONS[name].label):
            Config.of(**{name: maximum + 1})


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "websocket_window_bits"])
def test_units_are_said(name: str) -> None:
    assert DECLARATIONS[name].option.unit


@pytest.mark.parametrize(
    "name", ["websocket_connect_timeout", "websocket_idle_timeout", "websocket_timeout"]
)
def test_minus_one_is_no_limit(name: str) -> None:
    """As Daphne says it."""
    Config.of(**{name: -1})


@pytest.mark.parametrize("name", ["websocket_connect_timeout", "websocket_timeout"])
def test_flags_of_daphne(name: str) -> None:
    assert f"--{name}" in DECLARATIONS[name].option.flags


@pytest.mark.parametrize("value", ["auto", "wsproto", "none"])
def test_frame_engines(value: str) -> None:
    assert Config.of(ws=value).websocket.ws == value


@pytest.mark.parametrize("value", ["websockets", "", "None"])
def test_frame_engines_that_there_are_not(value: str) -> None:
    with pytest.raises(ConfigError, match="--ws"):
        Config.of(ws=value)
