"""``bridge bench fanout --json | python -m bridge.bench.plot > fanout.svg``: the results as a picture."""

import sys
from collections.abc import Sequence
from html import escape

import msgspec

from bridge.bench.fanout import Row

WIDTH, LEFT, BAR, GAP = 720, 90, 18, 26
COLORS = {"bridge": "#2f6f4f", "node-ws": "#8a8f98", "bun": "#c58b2a", "c": "#4a6fa5"}


def plot(rows: Sequence[Row]) -> str:
    """Return an SVG with a bar for each row: deliveries a second, and how many times Node's that is."""
    most = max((row.deliveries_per_s for row in rows), default=1)
    scale = (WIDTH - LEFT - 170) / most
    parts: list[str] = []
    y = 30
    before: int | None = None
    for row in rows:
        if row.recipients != before:
            y += GAP if before is not None else 0
            parts.append(_text(10, y + 12, f"{row.recipients:,} recipients", bold=True))
            y += GAP
            before = row.recipients
        width = max(1.0, row.deliveries_per_s * scale)
        color = COLORS.get(row.server, "#555")
        ratio = "" if row.ratio_to_node is None else f" ({row.ratio_to_node:.2f} x Node)"
        parts.append(_text(10, y + 14, row.server))
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{color}"/>')
        parts.append(_text(LEFT + width + 8, y + 14, f"{row.deliveries_per_s:,}/s{ratio}"))
        y += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" font-family="sans-serif">'
    )
    title = _text(10, 18, "Deliveries a second, 1,000 connections; one core for the server", bold=True)
    return "\n".join(
        [head, f'<rect width="{WIDTH}" height="{y + 10}" fill="white"/>', title, *parts, "</svg>\n"]
    )


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" fill="#222"{weight}>{escape(text)}</text>'


if __name__ == "__main__":
    sys.stdout.write(plot(msgspec.json.decode(sys.stdin.buffer.read(), type=list[Row])))
