"""A server under test: started on its core, watched from outside, and never left behind.

A server is the leader of a session of its own. Its tree is every process of that session, however
it was forked, so neither the CPU time of a worker nor a stray process is missed.

CPU time comes from each process's CPU clock (``clock_getcpuclockid(3)``): user and system time of
all its threads, those that ended included, in nanoseconds. ``/proc/<pid>/stat`` has the same sum in
ticks of 10 ms, and the ``schedstat`` files lose a thread when it ends.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.failures import BenchmarkFailure, excerpt
from benchmarks.machine import Cores, pinned
from benchmarks.servers import HOST, Server, command_line

_STOP_SECONDS = 3.0
_libc = ctypes.CDLL(None, use_errno=True)


class RunningServer:
    """The processes of one started server."""

    def __init__(
        self, leader: subprocess.Popen[bytes], spawned: float, port: int, output: Path, log: Path
    ) -> None:
        self.leader = leader
        self.spawned = spawned
        self.port = port
        self._output = output
        self._log = log

    def pids(self) -> list[int]:
        """All live processes of the session."""
        return sorted(_session(self.leader.pid))

    def cpu_nanoseconds(self) -> dict[int, int]:
        """User and system time used so far, per process."""
        return {pid: _cpu_clock(pid) for pid in self.pids()}

    def peak_kib(self) -> int:
        return sum(_memory(f"/proc/{pid}/status", "VmHWM:") for pid in self.pids())

    def resident_kib(self) -> int:
        """Counted from the page tables: the quick counters of the kernel lag behind."""
        return sum(_memory(f"/proc/{pid}/smaps_rollup", "Rss:") for pid in self.pids())

    def check_alive(self) -> None:
        code = self.leader.poll()
        if code is not None:
            raise BenchmarkFailure(f"exited with {code}: {self.last_words()}")

    def last_words(self) -> str:
        return excerpt(self._output.read_text(errors="replace"))

    def log_lines(self) -> int:
        """Lines of the access log, wherever the server writes it: to its file or to stdout."""
        return sum(path.read_bytes().count(b"\n") for path in (self._log, self._output))

    def stop(self) -> None:
        """TERM to the leader, a moment for all of them to finish, then KILL."""
        self.leader.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        while self._alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        while self._alive():
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _alive(self) -> bool:
        return self.leader.poll() is None or bool(self.pids())


@contextmanager
def running(
    server: Server, case: Case, programs: Path, folder: Path, cores: Cores
) -> Iterator[RunningServer]:
    """Start a server for a case in ``folder``, and end it whatever happens."""
    log = folder / "access.log"
    output = folder / "output.log"
    log.write_bytes(b"")
    port = _free_port()
    command = command_line(
        server,
        _options(server, case),
        bin=str(programs),
        port=str(port),
        app=f"apps:{case.app}",
        log=str(log),
    )
    with output.open("wb") as stream, pinned(cores.server):
        spawned = time.monotonic()
        try:
            leader = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(programs, folder),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise BenchmarkFailure(f"cannot be started: {error.strerror}") from error
    started = RunningServer(leader, spawned, port, output, log)
    try:
        yield started
        started.stop()
    finally:
        started.kill()


def _options(server: Server, case: Case) -> str:
    switches = [server.wires[case.wire]]
    switches += [server.logged or ""] if case.access_log else [server.quiet]
    if case.kind.idle:
        switches.append(server.patient)
    return " ".join(switches)


def _environment(programs: Path, folder: Path) -> dict[str, str]:
    """The same small one for all: no setting of this shell reaches a server."""
    return {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PATH": f"{programs}:{os.defpath}",
        "PYTHONPATH": str(folder),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _session(leader: int) -> Iterator[int]:
    """Scan /proc: field 3 of a process's stat line is its state, field 6 its session."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            line = Path(f"/proc/{name}/stat").read_text()
        except OSError:
            continue  # it ended while we looked
        fields = line[line.rindex(")") + 2 :].split()
        if int(fields[3]) == leader and fields[0] not in "ZX":
            yield int(name)


def _cpu_clock(pid: int) -> int:
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise BenchmarkFailure("a process of it ended during the measurement")
    return time.clock_gettime_ns(clock.value)


def _memory(path: str, field: str) -> int:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise BenchmarkFailure("a process of it ended during the measurement") from error
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))
