"""The order of a run: case by case, round by round, every server in each round.

A machine drifts: other work comes and goes, clocks change with heat. Servers that take turns meet
the same drift; servers measured one after the other would not. Each round starts with another
server, so none is always the one after a pause.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import apps, certificates, environments, machine, tools
from benchmarks.cases import Case
from benchmarks.failures import WORK, BenchmarkFailure, NotSupportedError, excerpt
from benchmarks.measure import Bench, measure
from benchmarks.results import Cell, Results, Sample, figure
from benchmarks.servers import ENVIRONMENTS, Environment, Server

_HYPERCORN_SETTINGS = Path(__file__).resolve().parent / "hypercorn.toml"


def run(cases: list[Case], servers: list[Server], rounds: int, seconds: int) -> Results:
    """Do it all; what fails on the way is in the results."""
    generators = tools.ready(cases)
    for line in tools.missing(cases, generators):
        say(line)
    cases = tools.possible(cases, generators)
    if not cases:
        raise SystemExit("Nothing is left to measure.")
    machine.raise_file_limit()
    cores = machine.choose_cores()
    results = Results(
        cases,
        servers,
        machine.describe(cores, ", ".join(generators.values()) or "our own"),
        versions={},
        settings={"rounds": rounds, "seconds": seconds},
    )
    programs = _prepare(results)
    say(str(cores))
    with _run_folder() as folder, machine.pinned(cores.load):
        bench = Bench(folder, cores, seconds)
        for case in cases:
            for number in range(_rounds(case, rounds)):
                _round(results, case, number, programs, bench)
    return results


def say(text: str) -> None:
    """Progress goes to stderr: stdout is for the tables."""
    print(text, file=sys.stderr, flush=True)


def _prepare(results: Results) -> dict[str, Path]:
    """Make the environments that are asked for; a server without one fails in every case."""
    programs: dict[str, Path] = {}
    for environment in _needed(results.servers):
        say(f"environment {environment.name}")
        try:
            programs[environment.name] = environments.prepare(environment)
            results.versions[environment.name] = environments.versions(environment)
        except BenchmarkFailure as error:
            reason = f"not installed: {excerpt(str(error))}"
            say(f"environment {environment.name}: {reason}")
            for server in results.servers:
                if server.environment == environment.name:
                    _fail_everywhere(results, server, reason)
    return programs


def _needed(servers: list[Server]) -> list[Environment]:
    names = {server.environment for server in servers}
    return [environment for environment in ENVIRONMENTS if environment.name in names]


def _fail_everywhere(results: Results, server: Server, reason: str) -> None:
    for case in results.cases:
        if server in results.takers(case):
            results.cell(case, server).failure = reason


def _rounds(case: Case, rounds: int) -> int:
    return case.unmeasured_rounds + max(rounds, case.min_rounds)


def _round(
    results: Results, case: Case, number: int, programs: dict[str, Path], bench: Bench
) -> None:
    heading = f"{case.name} {number + 1}/{_rounds(case, results.settings['rounds'])}"
    for server in _rotated(results.takers(case), number):
        cell = results.cell(case, server)
        if cell.failure is not None:
            continue
        sample = _one(cell, case, server, programs[server.environment], bench)
        if sample is None:
            say(f"{heading} {server.name}: {cell.shown}")
            continue
        say(f"{heading} {server.name}: {figure(sample.value)}")
        if number >= case.unmeasured_rounds:
            cell.samples.append(sample)


def _one(cell: Cell, case: Case, server: Server, programs: Path, bench: Bench) -> Sample | None:
    """One server's turn; a failure ends its part in the case."""
    try:
        return measure(server, case, programs, bench)
    except BenchmarkFailure as error:
        cell.failure = str(error)
        cell.supported = not isinstance(error, NotSupportedError)
        return None


def _rotated(servers: list[Server], number: int) -> list[Server]:
    start = number % max(1, len(servers))
    return servers[start:] + servers[:start]


@contextmanager
def _run_folder() -> Iterator[Path]:
    """A folder with the application, settings, certificate and logs, in which every server runs.

    Not the repository's: a server that puts its working directory on the import path would find
    the working tree's ``aserver`` there, and not the one that was installed.
    """
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=WORK) as name:
        folder = Path(name)
        shutil.copy(apps.__file__, folder)
        shutil.copy(_HYPERCORN_SETTINGS, folder)
        certificates.write(folder)
        yield folder
