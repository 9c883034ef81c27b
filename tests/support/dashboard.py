"""Looks at ops/grafana/bridge.json without a Grafana: its queries answered by a real Prometheus, drawn as a page."""

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.prometheus import Prometheus
from tests.support.stack import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "ops" / "grafana" / "bridge.json").read_text())
PANELS: list[dict[str, Any]] = [p for p in DASHBOARD["panels"] if p["type"] != "row"]

COLORS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#e0f9d7", "#fade2a")
_STYLE = """
body { background: #111217; color: #ccccdc; font: 12px Inter, "DejaVu Sans", sans-serif; margin: 0; padding: 12px }
.grid { display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: 26px; gap: 6px }
.panel { background: #181b1f; border: 1px solid #24262b; border-radius: 2px; padding: 6px 8px; overflow: hidden }
.title { font-weight: 600; white-space: nowrap } .row { font-size: 14px; font-weight: 600; padding-top: 4px }
.value { font-size: 34px; font-weight: 600; padding-top: 6px } .legend { color: #9fa7b3; font-size: 10.5px; white-space: nowrap }
.legend i { display: inline-block; width: 10px; height: 3px; margin: 0 4px 3px 8px } text { fill: #9fa7b3; font-size: 10px }
"""

Series = tuple[str, list[tuple[float, float]]]


def expression(text: str, *, interval: str, span: str) -> str:
    """Put in what Grafana does: all workers, the interval of rates, the time shown."""
    text = text.replace("$__rate_interval", interval).replace("$__range", span).replace("$instance", ".*")
    assert "$" not in text, text
    return text


def legend(form: str, labels: Mapping[str, str]) -> str:
    """Return the name of a series."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)


async def series_of(
    panel: Mapping[str, Any],
    prometheus: Prometheus,
    *,
    start_s: float,
    end_s: float,
    step_s: float,
    interval: str,
) -> list[Series]:
    """Return what a panel shows."""
    shown: list[Series] = []
    for target in panel["targets"]:
        text = expression(target["expr"], interval=interval, span=f"{int(end_s - start_s)}s")
        for found in await prometheus.query_range(text, start_s=start_s, end_s=end_s, step_s=step_s):
            points = [(float(at), float(value)) for at, value in found["values"]]
            points = [(at, value) for at, value in points if math.isfinite(value)]
            if points:
                shown.append((legend(target["legendFormat"], found["metric"]), points))
    return shown


def page(shown: Mapping[int, Sequence[Series]], *, start_s: float, end_s: float) -> str:
    """Return the dashboard as HTML, with these series by the id of their panel."""
    cells = []
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        place = f"grid-area:{at['y'] + 1}/{at['x'] + 1}/span {at['h']}/span {at['w']}"
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            cells.append(f'<div class="row" style="{place}">⌄ {title}</div>')
            continue
        series = shown[panel["id"]]
        draw = {"stat": _stat, "state-timeline": _states}.get(panel["type"], _lines)
        body = draw(panel, series, start_s, end_s) if series else "No data"
        cells.append(f'<div class="panel" style="{place}"><div class="title">{title}</div>{body}</div>')
    return f'<meta charset="utf-8"><style>{_STYLE}</style><div class="grid">{"".join(cells)}</div>'


def _mapped(panel: Mapping[str, Any], value: float) -> tuple[str, str]:
    """Return the text and the color of a value."""
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings", ()):
        if found := mapping["options"].get(f"{value:g}"):
            return found["text"], {"red": "#f2495c", "green": "#73bf69", "orange": "#ff9830"}[found["color"]]
    steps = [s for s in defaults["thresholds"]["steps"] if s["value"] is None or value >= s["value"]]
    color = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}.get(steps[-1]["color"], "#5794f2")
    return _text(value, defaults["unit"]), color


def _text(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    text = f"{value / 1000:.3g} K" if value >= 1000 else f"{value:.3g}"
    return f"{text} /s" if unit == "cps" else text


def _stat(panel: Mapping[str, Any], series: Sequence[Series], _start_s: float, _end_s: float) -> str:
    text, color = _mapped(panel, series[0][1][-1][1])
    return f'<div class="value" style="color:{color}">{text}</div>'


def _states(panel: Mapping[str, Any], series: Sequence[Series], start_s: float, end_s: float) -> str:
    bars = []
    for row, (name, points) in enumerate(series):
        step = 100 / max(1, len(points))
        for at, value in points:
            left = 100 * (at - start_s) / (end_s - start_s)
            bars.append(
                f'<rect x="{left:.2f}%" y="{row * 60 + 20}" width="{step * 1.05:.2f}%" height="36" fill="{_mapped(panel, value)[1]}"/>'
            )
        bars.append(f'<text x="0" y="{row * 60 + 14}">{html.escape(name)}</text>')
    return f'<svg width="100%" height="150">{"".join(bars)}</svg>'


def _lines(panel: Mapping[str, Any], series: Sequence[Series], start_s: float, end_s: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    stacked, bars = (
        defaults["custom"]["stacking"]["mode"] == "normal",
        defaults["custom"]["drawStyle"] == "bars",
    )
    below: dict[float, float] = {}
    lines: list[tuple[str, list[tuple[float, float, float]]]] = []
    for name, points in series:
        line = [(at, below.get(at, 0.0), below.get(at, 0.0) + value) for at, value in points]
        if stacked:
            below.update({at: top for at, _, top in line})
        lines.append((name, line))
    top = max(0.001 if defaults["unit"] == "s" else 1, *(t for _, line in lines for _, _, t in line)) * 1.1

    def x(at: float) -> float:
        return 46 + 350 * (at - start_s) / (end_s - start_s)

    height = 78_000 / (64 * panel["gridPos"]["w"])  # so that it fills its place

    def y(value: float) -> float:
        return height - 5 - (height - 15) * value / top

    parts = []
    for share in (0, 0.5, 1):
        parts.append(f'<line x1="46" x2="396" y1="{y(top * share)}" y2="{y(top * share)}" stroke="#2c2f35"/>')
        parts.append(
            f'<text x="42" y="{y(top * share) + 4}" text-anchor="end">{_text(top * share, defaults["unit"])}</text>'
        )
    for number, (_, line) in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        if bars:
            width = max(1.0, 0.8 * 350 / max(1, len(line)))
            parts += [
                f'<rect x="{x(at):.1f}" y="{y(high):.1f}" width="{width:.1f}" height="{y(low) - y(high):.1f}" fill="{color}"/>'
                for at, low, high in line
                if high > low
            ]
            continue
        edge = " ".join(f"{x(at):.1f},{y(high):.1f}" for at, _, high in line)
        back = " ".join(f"{x(at):.1f},{y(low):.1f}" for at, low, _ in reversed(line))
        parts.append(f'<polygon points="{edge} {back}" fill="{color}" opacity="{0.3 if stacked else 0.07}"/>')
        parts.append(f'<polyline points="{edge}" fill="none" stroke="{color}" stroke-width="1.3"/>')
    moved = [
        (n, name)
        for n, (name, line) in enumerate(lines)
        if len(lines) <= 6 or any(h > low for _, low, h in line)
    ]
    names = "".join(
        f'<i style="background:{COLORS[n % len(COLORS)]}"></i>{html.escape(name)}' for n, name in moved
    )
    return f'<svg width="100%" viewBox="0 0 400 {height:.0f}">{"".join(parts)}</svg><div class="legend">{names}</div>'
