"""The load over HTTP/1.1, with and without TLS: wrk, and its report read."""

import re
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.failures import BenchmarkFailure, excerpt
from benchmarks.load import TIMEOUT_SECONDS, Load, report_of
from benchmarks.machine import Cores
from benchmarks.servers import HOST

_SCRIPTS = Path(__file__).resolve().parent / "wrk"
_FIGURE = re.compile(r"(\w+)=(\d+)")
_ERRORS = ("status", "connect", "read", "write", "timeout")


def generate(case: Case, port: int, seconds: int, cores: Cores) -> Load:
    """Load the server for some seconds. One error of any kind makes the whole round a failure."""
    command = ["wrk", "--threads", "1", "--connections", str(case.connections)]
    command += ["--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
    command += ["--script", str(_SCRIPTS / case.script)]
    for name, value in case.exchange.headers:
        command += ["--header", f"{name}: {value}"]
    scheme = "https" if case.wire.encrypted else "http"
    report = report_of([*command, f"{scheme}://{HOST}:{port}/"], seconds, cores)
    return read_report(report, len(case.exchange.expected))


def read_report(report: str, body_size: int) -> Load:
    line = next((line for line in report.splitlines() if line.startswith("BENCHMARK ")), None)
    if line is None:
        raise BenchmarkFailure(f"the load generator failed: {excerpt(report)}")
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
