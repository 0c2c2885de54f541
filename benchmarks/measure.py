"""How one round of one case is measured on one server: a function per kind of case."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import certificates, client, h2_load, wrk_load, ws_client, ws_frames, ws_load
from benchmarks.cases import Case, Kind, Talk
from benchmarks.client import Checker, PlainChecker
from benchmarks.failures import BenchmarkFailure, NotSupportedError
from benchmarks.httpx_client import HttpxChecker
from benchmarks.load import Load
from benchmarks.machine import Cores, pinned
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
        checker = _checker(started, case, bench)
        ready = client.wait_until_ready(started, checker)
        if case.talk is not None:
            return _over_websocket(started, case, case.talk, bench)
        if case.kind is Kind.STARTUP:
            return Sample(ready * 1e3)
        if case.kind.idle:
            open_one = partial(client.used_connection, started.port, case.exchange)
            return _memory_per_connection(started, case, open_one)
        checker.probe()
        sample, requests = _cost_per_request(started, case, bench)
    # Only now that the server has stopped must a writer that collects lines have written them all.
    if case.access_log and started.log_lines() < requests:
        raise BenchmarkFailure(f"logged {started.log_lines()} lines for {requests} requests")
    return sample


def _checker(server: RunningServer, case: Case, bench: Bench) -> Checker:
    if case.wire.encrypted or case.wire.multiplexed:
        return HttpxChecker(case, server.port, certificates.trusting(bench.folder))
    return PlainChecker(server.port, case.exchange)


def _cost_per_request(server: RunningServer, case: Case, bench: Bench) -> tuple[Sample, int]:
    generate = h2_load.generate if case.wire.multiplexed else wrk_load.generate
    loading = partial(generate, case, server.port, cores=bench.cores)
    load, cost = _cost(server, loading, bench)
    return _sample(server, load, cost), load.requests


def _over_websocket(server: RunningServer, case: Case, talk: Talk, bench: Bench) -> Sample:
    messages = ws_frames.messages(talk)
    ws_client.probe(server.port, talk, messages)
    open_one = partial(ws_client.used_socket, server.port, talk, messages[0])
    if case.kind.idle:
        return _memory_per_connection(server, case, open_one)
    with pinned(bench.cores.load), client.crowd(open_one, case.connections) as connections:
        load, cost = _cost(server, partial(ws_load.exchange, connections, messages), bench)
        return _sample(server, load, cost)


def _cost(server: RunningServer, loading: Callable[[int], Load], bench: Bench) -> tuple[Load, int]:
    """A load, and the nanoseconds of CPU time that it cost the server."""
    loading(_WARM_UP_SECONDS)
    before = server.cpu_nanoseconds()
    load = loading(bench.seconds)
    after = server.cpu_nanoseconds()
    if not before.keys() <= after.keys():
        raise BenchmarkFailure(f"a process of it ended under load: {server.last_words()}")
    return load, sum(after.values()) - sum(before.values())


def _sample(server: RunningServer, load: Load, cost: int) -> Sample:
    return Sample(
        cost / 1e3 / load.requests,
        load.requests / load.seconds,
        load.p50_ms,
        load.p99_ms,
        server.peak_kib() / 1024,
    )


def _memory_per_connection(
    server: RunningServer, case: Case, open_one: Callable[[], socket.socket]
) -> Sample:
    """The growth of resident memory, after a few connections have paid what is paid once."""
    with client.crowd(open_one, _WARM_UP_CONNECTIONS):
        pass
    time.sleep(_SETTLE_SECONDS)
    before = server.resident_kib()
    with client.crowd(open_one, case.connections):
        time.sleep(_SETTLE_SECONDS)
        grown = server.resident_kib() - before
    return Sample(grown / case.connections)
