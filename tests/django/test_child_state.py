"""Settings and databases of a test run, in the process of a live server."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asgiref.sync import SyncToAsync

from aserver.django.child_state import renew_executor
from tests.django.live_tests import run_tests


def test_in_a_spawned_process(tmp_path: Path) -> None:
    output = run_tests("cases.ChangedProcess", directory=tmp_path, LIVE_START_METHOD="spawn")
    assert "Ran 3 tests" in output, output
    assert output.endswith("exit code 0"), output


def test_the_executor_of_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = ThreadPoolExecutor(max_workers=1)
    stuck.shutdown()
    monkeypatch.setattr(SyncToAsync, "single_thread_executor", stuck)
    renew_executor()
    assert SyncToAsync.single_thread_executor.submit(int, "7").result(5) == 7
