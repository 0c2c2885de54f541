"""The load generator: wrk, found or installed, run on its own core, its report read."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.failures import BenchmarkFailure, excerpt
from benchmarks.machine import Cores, pinned
from benchmarks.servers import HOST

_SCRIPTS = Path(__file__).resolve().parent / "wrk"
_TIMEOUT_SECONDS = 5
_GRACE_SECONDS = 20
_FIGURE = re.compile(r"(\w+)=(\d+)")
_ERRORS = ("status", "connect", "read", "write", "timeout")


@dataclass(frozen=True)
class Load:
    """What the generator counted."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def ensure_wrk() -> str:
    """Return wrk's name and version; install it where that needs no question."""
    program = shutil.which("wrk") or _install_wrk()
    if program is None:
        raise SystemExit("wrk is missing. Install it: apt-get install wrk (or your system's way).")
    # It has no switch for that which succeeds: --version exits with 1 on some builds.
    banner = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    found = re.search(r"wrk \S+", banner.stdout + banner.stderr)
    return found[0] if found else "wrk"


def _install_wrk() -> str | None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return None
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "wrk"]):
        subprocess.run([apt, *arguments], capture_output=True, timeout=600)
    return shutil.which("wrk")


def generate(case: Case, port: int, seconds: int, cores: Cores) -> Load:
    """Load the server for some seconds. One error of any kind makes the whole round a failure."""
    command = ["wrk", "--threads", "1", "--connections", str(case.connections)]
    command += ["--duration", f"{seconds}s", "--timeout", f"{_TIMEOUT_SECONDS}s"]
    command += ["--script", str(_SCRIPTS / case.script)]
    for name, value in case.exchange.headers:
        command += ["--header", f"{name}: {value}"]
    try:
        with pinned(cores.load):
            done = subprocess.run(
                [*command, f"http://{HOST}:{port}/"],
                capture_output=True,
                text=True,
                timeout=seconds + _GRACE_SECONDS,
            )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailure("the load generator did not come to an end") from error
    return _read_report(done.stdout + done.stderr, len(case.exchange.expected))


def _read_report(output: str, body_size: int) -> Load:
    line = next((line for line in output.splitlines() if line.startswith("BENCHMARK ")), None)
    if line is None:
        raise BenchmarkFailure(f"the load generator failed: {excerpt(output)}")
    figures = {name: int(value) for name, value in _FIGURE.findall(line)}
    errors = ", ".join(f"{figures[name]} {name}" for name in _ERRORS if figures[name])
    if errors:
        raise BenchmarkFailure(f"errors under load: {errors}")
    if not figures["requests"]:
        raise BenchmarkFailure("no request succeeded")
    if figures["bytes"] < figures["requests"] * body_size:
        raise BenchmarkFailure("fewer bytes came back than the responses have")
    return Load(
        figures["requests"],
        figures["microseconds"] / 1e6,
        figures["p50"] / 1e3,
        figures["p99"] / 1e3,
    )
