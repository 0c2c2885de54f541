"""The chart: one panel of bars per case, as an SVG of its own (no script, no font, no library).

It paints its own background and follows the reader's colour scheme, so it is readable wherever it
is embedded.
"""

from html import escape

from benchmarks.cases import Case
from benchmarks.results import Results, figure
from benchmarks.servers import Server

_COLUMNS = 2
_PANEL_WIDTH = 460
_LABEL_WIDTH = 130
_BAR_WIDTH = 230
_BAR_HEIGHT = 14
_ROW_HEIGHT = 20
_PANEL_HEAD = 46
_MARGIN = 24
_TITLE_HEIGHT = 64

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .paper { fill: #ffffff }
  .title { font-size: 18px; font-weight: 600 }
  .case { font-size: 14px; font-weight: 600 }
  .note { fill: #59636e }
  .peer { fill: #9aa7b4 }
  .ours { fill: #1a7f5a }
  .name-ours { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .paper { fill: #14181d }
    .note { fill: #9198a1 }
    .peer { fill: #5b6672 }
    .ours { fill: #3fb984 }
  }
"""


def chart(results: Results) -> str:
    """Panels in reading order, all of one size: a grid."""
    most = max((len(results.takers(case)) for case in results.cases), default=0)
    height = _PANEL_HEAD + most * _ROW_HEIGHT + _MARGIN
    rows = -(-len(results.cases) // _COLUMNS)
    width = _MARGIN + _COLUMNS * (_PANEL_WIDTH + _MARGIN)
    total = _TITLE_HEIGHT + rows * height + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" '
        f'width="{width}" height="{total}" role="img" aria-label="Benchmark results">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{total}" rx="8"/>',
        _text(_MARGIN, 30, "aserver and its peers: one worker on one core", "title"),
        _text(_MARGIN, 50, f"Lower is better. {_setting(results)}", "note"),
    ]
    for index, case in enumerate(results.cases):
        left = _MARGIN + index % _COLUMNS * (_PANEL_WIDTH + _MARGIN)
        top = _TITLE_HEIGHT + index // _COLUMNS * height
        parts += [f'<g transform="translate({left} {top})">', *_panel(results, case), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _setting(results: Results) -> str:
    machine, settings = results.machine, results.settings
    return f"{machine['processor']}, {machine['python']}, median of {settings['rounds']} rounds"


def _panel(results: Results, case: Case) -> list[str]:
    """Best first; servers without a figure come last and say so."""
    figures = {server.name: results.cell(case, server).value for server in results.takers(case)}
    ordered = sorted(results.takers(case), key=lambda server: _rank(figures[server.name]))
    longest = max((value for value in figures.values() if value is not None), default=1.0)
    parts = [
        _text(0, 18, f"{case.name}: {case.title}", "case"),
        _text(0, 35, case.kind.value, "note"),
    ]
    for row, server in enumerate(ordered):
        top = _PANEL_HEAD + row * _ROW_HEIGHT
        parts += _bar(server, figures[server.name], longest or 1.0, top)
    return parts


def _rank(value: float | None) -> float:
    return float("inf") if value is None else value


def _bar(server: Server, value: float | None, longest: float, top: int) -> list[str]:
    baseline = top + _BAR_HEIGHT - 3
    name = _text(0, baseline, server.name, "name-ours" if server.ours else "")
    if value is None:
        return [name, _text(_LABEL_WIDTH, baseline, "no figure", "note")]
    width = max(1.0, value / longest * _BAR_WIDTH)
    kind = "ours" if server.ours else "peer"
    return [
        name,
        f'<rect class="{kind}" x="{_LABEL_WIDTH}" y="{top}" width="{width:.1f}" '
        f'height="{_BAR_HEIGHT}" rx="2"/>',
        _text(_LABEL_WIDTH + width + 6, baseline, figure(value), ""),
    ]


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'
