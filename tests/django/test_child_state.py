"""Settings and databases of a test run, in the process of a live server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from asgiref.sync import SyncToAsync

import aserver.django.child_state as module
from aserver.django.child_state import ChildState, renew_executor
from tests.django.live_tests import run_tests


def test_in_a_spawned_process(tmp_path: Path) -> None:
    output = run_tests("cases.ChangedProcess", directory=tmp_path, LIVE_START_METHOD="spawn")
    assert "Ran 3 tests" in output, output
    assert output.endswith("exit code 0"), output


@pytest.mark.parametrize("renew", [renew_executor, ChildState({}, {}).restore])
def test_the_executor_of_a_fork(renew: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    # There are no settings in this process.
    monkeypatch.setattr(module, "apps", SimpleNamespace(ready=True))
    monkeypatch.setattr(module, "override_settings", lambda: SimpleNamespace(enable=int))
    stuck = ThreadPoolExecutor(max_workers=1)
    stuck.shutdown()
    monkeypatch.setattr(SyncToAsync, "single_thread_executor", stuck)
    renew()
    assert SyncToAsync.single_thread_executor.submit(int, "7").result(5) == 7
