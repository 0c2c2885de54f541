"""What a load generator counted, and how one runs: on its own core, to its end."""

import subprocess
from dataclasses import dataclass

from benchmarks.failures import BenchmarkFailure
from benchmarks.machine import Cores, pinned

TIMEOUT_SECONDS = 5
"""A request that waits for longer is an error."""
_GRACE_SECONDS = 20


@dataclass(frozen=True)
class Load:
    """What the generator counted; h2load tells no percentiles."""

    requests: int
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None


def report_of(command: list[str], seconds: int, cores: Cores) -> str:
    """Run a generator for some seconds, and return all that it printed."""
    try:
        with pinned(cores.load):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS
            )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailure("the load generator did not come to an end") from error
    return done.stdout + done.stderr
