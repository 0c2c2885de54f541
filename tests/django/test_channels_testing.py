"""The test case of Channels, without Daphne."""

from pathlib import Path

from tests.django.live_tests import run_tests


def test_in_a_spawned_process(tmp_path: Path) -> None:
    output = run_tests("channels_cases", directory=tmp_path, LIVE_START_METHOD="spawn")
    assert "Ran 1 test" in output, output
    assert output.endswith("exit code 0"), output
