"""The engines that the options choose by name."""

import sys

import pytest

from aserver.declarations import ConfigError
from aserver.engine_choice import choose_frames, choose_parser
from aserver.engines import h1_h11
from aserver.engines.h1_httptools import HttpToolsParser
from aserver.engines.ws_wsproto import WsprotoFrames


def test_the_parser_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(getattr(choose_parser("auto"), "__self__", None), HttpToolsParser)
    assert isinstance(getattr(choose_parser("httptools"), "__self__", None), HttpToolsParser)
    assert choose_parser("h11") is h1_h11.parse
    monkeypatch.setitem(sys.modules, "aserver.engines.h1_httptools", None)
    assert choose_parser("auto") is h1_h11.parse
    with pytest.raises(ConfigError, match="httptools is not installed"):
        choose_parser("httptools")


@pytest.mark.parametrize("name", ["auto", "wsproto"])
def test_the_frame_engine_is_chosen_by_name(name: str) -> None:
    new_frames = choose_frames(name)
    assert new_frames is not None
    assert isinstance(new_frames(None, 1024), WsprotoFrames)


def test_none_is_a_choice_of_frame_engines() -> None:
    assert choose_frames("none") is None
