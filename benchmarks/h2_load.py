"""The load over HTTP/2: h2load, and its report read.

It offers no other protocol, so a server that would fall back to HTTP/1.1 fails. It does not
connect anew: where a server ends a connection, be it with all answers given, the load is less than
the case says, and that is a failure, too.
"""

import re
from tempfile import NamedTemporaryFile

from benchmarks.cases import Case
from benchmarks.failures import BenchmarkFailure, excerpt
from benchmarks.load import TIMEOUT_SECONDS, Load, report_of
from benchmarks.machine import Cores
from benchmarks.servers import HOST

_COUNT = re.compile(r"(\d+) (\w+)")
_DATA = re.compile(r"\((\d+)\) data")
_ENDED = "Process Request Failure"  # said when a connection takes no further request
_ERRORS = ("failed", "errored", "timeout", "3xx", "4xx", "5xx")


def generate(case: Case, port: int, seconds: int, cores: Cores) -> Load:
    """Load the server for some seconds. One error of any kind makes the whole round a failure."""
    command = ["h2load", "--threads", "1", "--duration", str(seconds)]
    command += ["--clients", str(case.connections)]
    command += ["--max-concurrent-streams", str(case.streams)]
    command += ["--connection-inactivity-timeout", str(TIMEOUT_SECONDS), "--npn-list", "h2"]
    for name, value in case.exchange.headers:
        command += ["--header", f"{name}: {value}"]
    scheme = "https" if case.wire.encrypted else "http"
    with NamedTemporaryFile() as body:
        if case.exchange.body is not None:  # then it is a POST
            body.write(case.exchange.body)
            body.flush()
            command += ["--data", body.name]
        report = report_of([*command, f"{scheme}://{HOST}:{port}/"], seconds, cores)
    return read_report(report, seconds, len(case.exchange.expected))


def read_report(report: str, seconds: float, body_size: int) -> Load:
    lines = dict(line.split(": ", 1) for line in report.splitlines() if ": " in line)
    try:
        told = f"{lines['requests']}, {lines['status codes']}"
        counts = {name: int(number) for number, name in _COUNT.findall(told)}
        total, done, succeeded = (counts[name] for name in ("total", "done", "succeeded"))
        errors = ", ".join(f"{counts[name]} {name}" for name in _ERRORS if counts[name])
        data = int(_DATA.findall(lines["traffic"])[0])
    except (KeyError, IndexError) as error:
        raise BenchmarkFailure(f"the load generator failed: {excerpt(report)}") from error
    if errors:
        raise BenchmarkFailure(f"errors under load: {errors}, of {total} requests")
    if ended := report.count(_ENDED):
        raise BenchmarkFailure(f"ended {ended} connections under load, after {done} requests")
    if not succeeded:
        raise BenchmarkFailure("no request succeeded")
    # Status codes are counted with the head, requests at their end: the first number may be larger.
    if succeeded != done or counts.get("2xx", 0) < succeeded:
        raise BenchmarkFailure(f"errors under load: {told}")
    if data < succeeded * body_size:
        raise BenchmarkFailure("fewer bytes came back than the responses have")
    return Load(succeeded, seconds)
