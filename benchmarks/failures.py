"""The one exception of the benchmark, and the text a failure leaves in a report."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".bench"

_URL = re.compile(r"\w+://\S+")
_KEPT_LINES = 3
_KEPT_CHARACTERS = 300


class BenchmarkFailure(Exception):
    """A server could not be installed, started or measured: its cell says so, the rest goes on."""


class NotSupportedError(BenchmarkFailure):
    """The server does not have what the case is about: that is no fault."""


def excerpt(output: str) -> str:
    """The last lines of a program's output, fit to be committed: no address, no absolute path."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    text = " / ".join(lines[-_KEPT_LINES:]).replace(str(ROOT), ".").replace(str(Path.home()), "~")
    return _URL.sub("<url>", text)[-_KEPT_CHARACTERS:]
