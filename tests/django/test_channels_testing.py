"""The test case of Channels, without Daphne."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from aserver.django.channels_testing import import_channels_testing
from tests.django.live_tests import run_tests


def test_in_a_spawned_process(tmp_path: Path) -> None:
    output = run_tests("channels_cases", directory=tmp_path, LIVE_START_METHOD="spawn")
    assert "Ran 1 test" in output, output
    assert output.endswith("exit code 0"), output


@pytest.mark.parametrize("spec", [None, ModuleSpec("daphne", None)])
def test_where_there_is_a_daphne_nothing_is_changed(
    spec: ModuleSpec | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where somebody else has put something in its place, which was never found."""
    stub = ModuleType("daphne")
    stub.__spec__ = spec
    monkeypatch.setitem(sys.modules, "daphne", stub)
    before = sys.modules.copy()
    import_channels_testing()
    assert sys.modules == before


def test_where_daphne_is_installed_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "daphne.py").write_text("raise AssertionError('nobody imports it')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "daphne", raising=False)
    before = sys.modules.copy()
    import_channels_testing()
    assert sys.modules == before
