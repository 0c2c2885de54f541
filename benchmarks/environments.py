"""One virtual environment per peer, made when it is missing and kept until its row changes.

An environment lives in ``.bench/<name>``; a stamp file in it holds the requirements it was made
from. The one of aserver is different in one point: the working tree is installed into it anew at
each run, as a user would install it (not editable).
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.failures import ROOT, WORK, BenchmarkFailure
from benchmarks.servers import Environment

_INSTALL_SECONDS = 900
_ERROR_LINE = re.compile(r"^\s*((?:ERROR|\w+Error): .*)$", re.MULTILINE)


def prepare(environment: Environment) -> Path:
    """Return the folder of programs of an environment that is complete."""
    home = WORK / environment.name
    programs = home / "bin"
    stamp = home / "requirements.txt"
    wanted = "\n".join((f"python {sys.version}", *environment.requirements))
    if not stamp.exists() or stamp.read_text() != wanted:
        _create(home, environment)
        stamp.write_text(wanted)
    if environment.checkout:
        _install_checkout(programs / "python")
    return programs


def versions(environment: Environment) -> dict[str, str]:
    """The versions that a report names, read from the files: no program is started for it."""
    places = [str(path) for path in (WORK / environment.name).glob("lib/python*/site-packages")]
    installed = {found.name.lower(): found.version for found in distributions(path=places)}
    return {name: installed[name.lower()] for name in environment.show if name.lower() in installed}


def _create(home: Path, environment: Environment) -> None:
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(home)])
    if environment.requirements:
        _pip(home / "bin" / "python", "install", *environment.requirements)


def _install_checkout(python: Path) -> None:
    """Remove it first: pip may keep what is there if the version is the same."""
    _pip(python, "uninstall", "--yes", "aserver")
    _pip(python, "install", str(ROOT))


def _pip(python: Path, *arguments: str) -> None:
    _run([str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


def _run(command: list[str]) -> None:
    """Run to the end; of a failure keep the lines that name an error, not pip's story around it."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, env=clean
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailure(f"not installed within {_INSTALL_SECONDS} s") from error
    if done.returncode:
        output = done.stdout + done.stderr
        raise BenchmarkFailure("\n".join(_ERROR_LINE.findall(output)) or output)
