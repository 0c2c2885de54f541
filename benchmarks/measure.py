"""How one round of one case is measured on one server: a function per kind of case."""

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import client
from benchmarks.cases import Case, Kind
from benchmarks.failures import BenchmarkFailure, NotSupportedError
from benchmarks.load import generate
from benchmarks.machine import Cores
from benchmarks.process import RunningServer, running
from benchmarks.results import Sample
from benchmarks.servers import Server

_WARM_UP_SECONDS = 1
_WARM_UP_CONNECTIONS = 20
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Bench:
    """What all rounds of a run share."""

    folder: Path
    cores: Cores
    seconds: int


def measure(server: Server, case: Case, programs: Path, bench: Bench) -> Sample:
    """Measure once, on a process of its own: no round inherits anything from another one."""
    if case.access_log and server.logged is None:
        raise NotSupportedError("has no access log")
    with running(server, case, programs, bench.folder, bench.cores) as started:
        ready = client.wait_until_ready(started, case.exchange)
        match case.kind:
            case Kind.STARTUP:
                return Sample(ready * 1e3)
            case Kind.MEMORY:
                return _memory_per_connection(started, case)
            case Kind.LOAD:
                sample, requests = _cost_per_request(started, case, bench)
    # Only now that the server has stopped must a writer that collects lines have written them all.
    if case.access_log and started.log_lines() < requests:
        raise BenchmarkFailure(f"logged {started.log_lines()} lines for {requests} requests")
    return sample


def _cost_per_request(server: RunningServer, case: Case, bench: Bench) -> tuple[Sample, int]:
    client.probe(server, case.exchange)
    generate(case, server.port, _WARM_UP_SECONDS, bench.cores)
    before = server.cpu_nanoseconds()
    load = generate(case, server.port, bench.seconds, bench.cores)
    after = server.cpu_nanoseconds()
    if not before.keys() <= after.keys():
        raise BenchmarkFailure(f"a process of it ended under load: {server.last_words()}")
    sample = Sample(
        (sum(after.values()) - sum(before.values())) / 1e3 / load.requests,
        load.requests / load.seconds,
        load.p50_ms,
        load.p99_ms,
        server.peak_kib() / 1024,
    )
    return sample, load.requests


def _memory_per_connection(server: RunningServer, case: Case) -> Sample:
    """The growth of resident memory, after a few connections have paid what is paid once."""
    with client.idle_connections(server, case.exchange, _WARM_UP_CONNECTIONS):
        pass
    time.sleep(_SETTLE_SECONDS)
    before = server.resident_kib()
    with client.idle_connections(server, case.exchange, case.connections):
        time.sleep(_SETTLE_SECONDS)
        grown = server.resident_kib() - before
    return Sample(grown / case.connections)
