"""The load generators that are programs of the system: found, or installed where that needs no
question. The cases of one that is missing are left out, and a line says so.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from benchmarks.cases import Case, Kind

_INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Tool:
    program: str
    package: str
    banner: str
    """A pattern: how its name and version look in what it says to ``--version``."""


WRK = Tool("wrk", "wrk", r"wrk \S+")
H2LOAD = Tool("h2load", "nghttp2-client", r"h2load \S+")


def tool_of(case: Case) -> Tool | None:
    """Memory, start-up and WebSockets need none."""
    if case.kind is not Kind.LOAD:
        return None
    return H2LOAD if case.wire.multiplexed else WRK


def ready(cases: list[Case]) -> dict[Tool, str]:
    """What the cases need and the system has, with name and version."""
    wanted = dict.fromkeys(tool for case in cases if (tool := tool_of(case)))
    return {tool: _version(tool) for tool in wanted if _found(tool)}


def possible(cases: list[Case], tools: dict[Tool, str]) -> list[Case]:
    return [case for case in cases if (tool := tool_of(case)) is None or tool in tools]


def missing(cases: list[Case], tools: dict[Tool, str]) -> list[str]:
    """A line for each tool that is not there."""
    left_out: dict[Tool, list[str]] = {}
    for case in cases:
        tool = tool_of(case)
        if tool is not None and tool not in tools:
            left_out.setdefault(tool, []).append(case.name)
    return [
        f"{tool.program} is missing, left out: {', '.join(names)}. "
        f"Install it: apt-get install {tool.package} (or your system's way)."
        for tool, names in left_out.items()
    ]


def _found(tool: Tool) -> bool:
    if shutil.which(tool.program) is None:
        _install(tool)
    return shutil.which(tool.program) is not None


def _version(tool: Tool) -> str:
    # wrk has no switch for that which succeeds: --version exits with 1 on some builds.
    told = subprocess.run([tool.program, "--version"], capture_output=True, text=True, timeout=10)
    found = re.search(tool.banner, told.stdout + told.stderr)
    return found[0] if found else tool.program


def _install(tool: Tool) -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", tool.package]):
        subprocess.run([apt, *arguments], capture_output=True, timeout=_INSTALL_SECONDS)
