"""Results as a table for people."""

from collections.abc import Sequence
from io import StringIO

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table


def table(rows: Sequence[msgspec.Struct]) -> str:
    """Return rows of one type as a table; fields are its columns."""
    out = StringIO()
    if rows:
        names = list(msgspec.structs.asdict(rows[0]))
        shown = Table(*(name.replace("_", " ") for name in names), box=box.SIMPLE_HEAD)
        for column in shown.columns[1:]:
            column.justify = "right"
        for row in rows:
            shown.add_row(*(cell(value) for value in msgspec.structs.asdict(row).values()))
        Console(file=out, width=120).print(shown)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip())


def cell(value: object) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
