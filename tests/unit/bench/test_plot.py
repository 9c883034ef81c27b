"""The picture of the results is an SVG with a bar for each."""

import xml.etree.ElementTree as ET

from bridge.bench.fanout import Row
from bridge.bench.plot import plot


def test_each_result_has_a_bar_as_long_as_it_is_large():
    """And the ratio beside it, where there is one."""
    svg = plot([Row("bridge", 10, 200, 2.0), Row("node-ws", 10, 100, 1.0), Row("bun", 100, 400, None)])

    root = ET.fromstring(svg)  # noqa: S314 - our own
    bars = [e for e in root.iter() if e.tag.endswith("rect")][1:]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths == [widths[1] * 2, widths[1], widths[1] * 4]
    assert "200/s (2.00 x Node)" in svg
