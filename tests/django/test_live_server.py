"""A live server in a thread."""

from pathlib import Path

from tests.django.live_tests import run, run_tests, seconds_to_end


def test_a_server_that_does_not_start_fails_the_tests(tmp_path: Path) -> None:
    nothing = "tests.django.live.nothing.application"
    output = run_tests("cases.Thread", directory=tmp_path, LIVE_APPLICATION=nothing)
    assert "Ran 0 tests" in output, output
    assert "FAILED (errors=1)" in output
    assert "tests.django.live.nothing" in output


def test_nobody_waits_for_what_the_tests_leave_behind(tmp_path: Path) -> None:
    output = run_tests("leaving_cases.Leaving", directory=tmp_path)
    assert output.endswith("exit code 0"), output
    assert seconds_to_end(output) < 2
    assert "Traceback" not in output


def test_what_they_leave_behind_never_writes_to_the_real_database(tmp_path: Path) -> None:
    real = tmp_path / "real.sqlite3"
    output = run_tests("leaving_cases.Late", directory=tmp_path, LIVE_REAL_DATABASE=str(real))
    assert output.endswith("exit code 0"), output
    assert "refused: no connection to the database 'default': the tests of" in output
    assert not real.exists()


def test_in_parallel(tmp_path: Path) -> None:
    """Forked workers, of a process that has used threads."""
    cases = "tests.django.live.parallel_cases"
    options = ("--parallel", "2", f"{cases}.ChangedThread", f"{cases}.Thread")
    output = run("-m", "django", "test", *options, database=tmp_path / "test.sqlite3")
    assert "Cloning test database" in output, output
    assert "Ran 8 tests" in output, output
    assert output.endswith("exit code 0"), output
