"""The tables: plain ones for a terminal, and the same as Markdown."""

from benchmarks.cases import Case, Kind
from benchmarks.results import Results, figure
from benchmarks.servers import Server

_MEANING = (
    "Lower is better; the ratio is to the best peer, below 1 is ahead of all of them. Figures are "
    "medians over the rounds, the spread is the lowest and the highest round."
)


def plain(results: Results) -> str:
    """All cases, one aligned table each."""
    return "\n\n".join(_plain_case(results, case) for case in results.cases)


def markdown(results: Results) -> str:
    """A page: the machine, one overview, then a table per case."""
    parts = ["# Benchmark results", _MEANING, _facts(results), _versions(results)]
    parts += ["## Overview", _overview(results)]
    for case in results.cases:
        parts += [f"## {case.name}: {case.title}", _markdown_table(_rows(results, case))]
        parts += _reasons(results, case)
    return "\n\n".join(parts) + "\n"


def _plain_case(results: Results, case: Case) -> str:
    rows = _rows(results, case)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    title = f"{case.name}: {case.title}"
    return "\n".join([title, "-" * len(title), *lines, *_reasons(results, case)])


def _rows(results: Results, case: Case) -> list[list[str]]:
    """The head and a row per server; requests and memory only where there is a load."""
    under_load = case.kind.under_load
    head = ["server", case.kind.value, "ratio", "spread"]
    rate = "messages/s" if case.kind is Kind.ECHO else "requests/s"
    head += [rate, "p50 ms", "p99 ms", "peak MiB"] if under_load else []
    takers = results.takers(case)
    return [head] + [_row(results, case, server, under_load) for server in takers]


def _row(results: Results, case: Case, server: Server, under_load: bool) -> list[str]:
    cell = results.cell(case, server)
    ratio = results.ratio(case, server)
    row = [server.name, cell.shown, "-" if ratio is None else f"{ratio:.2f}"]
    row += ["-" if cell.failure else cell.spread or "-"]
    if under_load:
        row += [_shown(cell.median("requests_per_second"))]
        row += [_shown(cell.median(name)) for name in ("p50_ms", "p99_ms", "peak_mib")]
    return row


def _shown(value: float | None) -> str:
    return "-" if value is None else figure(value)


def _reasons(results: Results, case: Case) -> list[str]:
    """A line per server without a figure."""
    failures = (
        (server.name, results.cell(case, server).failure) for server in results.takers(case)
    )
    return [f"{name}: {reason}" for name, reason in failures if reason]


def _facts(results: Results) -> str:
    facts = results.machine | {name: str(value) for name, value in results.settings.items()}
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _versions(results: Results) -> str:
    described = (
        ", ".join(f"{package} {version}" for package, version in versions.items())
        for versions in results.versions.values()
    )
    return "Versions: " + "; ".join(described) + "."


def _overview(results: Results) -> str:
    """Servers across, cases down: the table to look at first."""
    head = ["case", "unit", *(server.name for server in results.servers), "best peer"]
    rows = [head]
    for case in results.cases:
        takers = results.takers(case)
        figures = [
            results.cell(case, server).shown if server in takers else "n/a"
            for server in results.servers
        ]
        best = results.best_peer(case)
        rows.append([case.name, case.kind.value, *figures, best.name if best else "-"])
    return _markdown_table(rows, texts=2)


def _markdown_table(rows: list[list[str]], texts: int = 1) -> str:
    """The first columns are texts, the others figures."""
    rule = ["---" if column < texts else "--:" for column in range(len(rows[0]))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))
