"""What a run found out, free of how it was found and of how it is shown."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.cases import Case
from benchmarks.servers import Server


@dataclass(frozen=True)
class Sample:
    """One round. ``value`` is in the unit of the case's kind; the rest is known under load only."""

    value: float
    requests_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    peak_mib: float | None = None


@dataclass
class Cell:
    """One server in one case: its rounds, or why there is no figure."""

    samples: list[Sample] = field(default_factory=list)
    failure: str | None = None
    supported: bool = True

    @property
    def shown(self) -> str:
        """What stands in a table in place of a figure, or the figure."""
        if self.failure is not None:
            return "failed" if self.supported else "n/a"
        return "-" if self.value is None else figure(self.value)

    @property
    def value(self) -> float | None:
        """The median over the rounds; a case that ever failed has no figure."""
        return self.median("value")

    def median(self, name: str) -> float | None:
        figures = [getattr(sample, name) for sample in self.samples]
        if self.failure is not None or not figures or None in figures:
            return None
        return float(median(figures))

    @property
    def spread(self) -> str:
        """Lowest to highest round: how far to trust the median."""
        figures = [sample.value for sample in self.samples]
        return f"{figure(min(figures))}-{figure(max(figures))}" if figures else ""


@dataclass
class Results:
    cases: list[Case]
    servers: list[Server]
    machine: dict[str, str]
    versions: dict[str, dict[str, str]]
    settings: dict[str, int]
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    def cell(self, case: Case, server: Server) -> Cell:
        return self.cells.setdefault((case.name, server.name), Cell())

    def takers(self, case: Case) -> list[Server]:
        """The servers that take part in a case."""
        return [server for server in self.servers if case.wire in server.wires]

    def best_peer(self, case: Case) -> Server | None:
        """The peer with the lowest figure: what a ratio is a ratio to."""
        ranked = [
            (value, server.name, server)
            for server in self.takers(case)
            if not server.ours and (value := self.cell(case, server).value) is not None
        ]
        return min(ranked)[2] if ranked else None

    def ratio(self, case: Case, server: Server) -> float | None:
        best = self.best_peer(case)
        value = self.cell(case, server).value
        reference = self.cell(case, best).value if best else None
        return value / reference if value is not None and reference else None

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "cases": [self._case_as_json(case) for case in self.cases],
        }

    def _case_as_json(self, case: Case) -> dict[str, Any]:
        best = self.best_peer(case)
        return {
            "name": case.name,
            "title": case.title,
            "unit": case.kind.value,
            "best peer": best.name if best else None,
            "servers": {
                server.name: self._cell_as_json(case, server) for server in self.takers(case)
            },
        }

    def _cell_as_json(self, case: Case, server: Server) -> dict[str, Any]:
        cell = self.cell(case, server)
        if cell.failure is not None:
            return {"failure": cell.failure}
        shown = ("value", "requests_per_second", "p50_ms", "p99_ms", "peak_mib")
        medians = {name: _rounded(cell.median(name)) for name in shown}
        return {
            **{name: value for name, value in medians.items() if value is not None},
            "ratio": _rounded(self.ratio(case, server)),
            "rounds": [_rounded(sample.value) for sample in cell.samples],
        }


def figure(value: float) -> str:
    """Three significant digits, and never an exponent: more would pretend precision."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
