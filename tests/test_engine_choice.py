"""The engines that the options choose by name."""

import subprocess
import sys

import pytest

from aserver.declarations import ConfigError
from aserver.engine_choice import choose_frames, choose_parser, choose_wire
from aserver.engines import h1_h11
from aserver.engines.h1_httptools import HttpToolsParser
from aserver.engines.h2_library import H2Library
from aserver.engines.h2_wire import WireSettings
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


def test_the_wire_is_the_librarys() -> None:
    new_wire = choose_wire(http2=True)
    assert new_wire is not None
    first, second = (new_wire(WireSettings(1, 1, 1, 1, False)) for _ in range(2))
    assert isinstance(first, H2Library)
    assert first is not second, "each connection has its own"


def test_no_http2_is_a_choice() -> None:
    assert choose_wire(http2=False) is None


def test_engines_are_imported_when_they_are_needed() -> None:
    """Choosing one costs nothing: a worker may never have such a connection."""
    program = """
import sys
from aserver.engine_choice import choose_frames, choose_wire
assert choose_wire(http2=True) and choose_frames("auto")
print(*sorted({"h2", "hpack", "wsproto"} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout == b"\n"
