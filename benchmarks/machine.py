"""The machine of a run: its cores, its limits, and how a report describes it. Linux only."""

import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """Which core serves and which one asks."""

    server: int
    load: int

    @property
    def shared(self) -> bool:
        return self.server == self.load

    def __str__(self) -> str:
        if self.shared:
            return "ONE core only: server and load generator share it, expect worse figures"
        return f"server on core {self.server}, load generator on core {self.load}"


def choose_cores() -> Cores:
    """Two cores that this process may use and that are not two threads of one, if there are any."""
    allowed = sorted(os.sched_getaffinity(0))
    server = allowed[-1]
    siblings = _siblings(server)
    apart = [core for core in allowed if core not in siblings]
    others = apart or [core for core in allowed if core != server]
    return Cores(server, others[0] if others else server)


def _siblings(core: int) -> set[int]:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        ranges = [part.partition("-") for part in path.read_text().strip().split(",")]
    except OSError:
        return {core}
    return {
        sibling
        for first, _, last in ranges
        for sibling in range(int(first), int(last or first) + 1)
    }


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run on one core for a while, so that a child started meanwhile inherits it from birth."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def describe(cores: Cores, load_generator: str) -> dict[str, str]:
    """What a reader must know to compare a report with another one."""
    return {
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0))}; {cores}",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load generator": load_generator,
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def require_linux() -> None:
    if sys.platform != "linux":
        raise SystemExit("The benchmark reads /proc and pins processes: it runs on Linux only.")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
