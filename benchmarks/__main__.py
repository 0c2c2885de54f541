"""The command: ``python -m benchmarks``."""

import argparse
import json
import signal
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks import chart, runner, text_report
from benchmarks.cases import CASES
from benchmarks.failures import ROOT, WORK
from benchmarks.machine import require_linux
from benchmarks.results import Results
from benchmarks.servers import SERVERS


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=_Named)


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print(_listing())
        return 0
    require_linux()
    try:
        cases = _chosen(CASES, options.cases)
        servers = _chosen(SERVERS, options.servers)
    except LookupError as error:
        parser.error(f"no such name: {error.args[0]} (see --list)")
    # TERM unwinds the same way as Ctrl-C, and unwinding is what ends the servers. A shell starts
    # its background jobs with INT ignored, so that one is set as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        results = runner.run(cases, servers, options.rounds, options.seconds)
    except KeyboardInterrupt:
        runner.say("interrupted: every server is stopped, nothing is written")
        return 130
    print(text_report.plain(results))
    _write(results, options.output or _default_folder(_is_whole(results)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure aserver and its peers side by side."
    )
    parser.add_argument("--cases", help="names, with commas between them (default: all)")
    parser.add_argument("--servers", help="names, with commas between them (default: all)")
    parser.add_argument("--rounds", type=_positive, default=5, help="per case (default: 5)")
    parser.add_argument(
        "--seconds", type=_positive, default=3, help="of load in each round (default: 3)"
    )
    parser.add_argument("--list", action="store_true", help="show cases and servers, and stop")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for latest.json, latest.md and latest.svg (default: benchmarks/results; "
        ".bench/results if only a part was asked for)",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _listing() -> str:
    lines = ["cases:"] + [f"  {case.name:<22} {case.title}, {case.kind.value}" for case in CASES]
    return "\n".join([*lines, "servers:", *(f"  {server.name}" for server in SERVERS)])


def _chosen(rows: tuple[Row, ...], names: str | None) -> list[Row]:
    """The rows asked for, in the order of the table."""
    if names is None:
        return list(rows)
    wanted = {name.strip() for name in names.split(",")}
    unknown = wanted - {row.name for row in rows}
    if unknown:
        raise LookupError(", ".join(sorted(unknown)))
    return [row for row in rows if row.name in wanted]


def _is_whole(results: Results) -> bool:
    """Every server in every case; a case may be missing because its load generator is."""
    return len(results.cases) == len(CASES) and len(results.servers) == len(SERVERS)


def _default_folder(whole: bool) -> Path:
    """A partial run must not replace the results that the repository shows."""
    return (ROOT / "benchmarks" if whole else WORK) / "results"


def _write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(results.as_json(), indent=2) + "\n")
    (folder / "latest.md").write_text(text_report.markdown(results))
    (folder / "latest.svg").write_text(chart.chart(results))
    runner.say(f"written: latest.json, latest.md and latest.svg in {folder}")


if __name__ == "__main__":
    raise SystemExit(main())
