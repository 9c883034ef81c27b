"""What a channel asked for: the bindings of ``phx_join`` and whether a change matches them."""

import json
import re
import zlib
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

_OPERATORS = ("eq", "neq", "lt", "lte", "gt", "gte", "in")


class FilterError(Exception):
    """A filter cannot be read; the text is what Realtime says."""


class Filter(msgspec.Struct, frozen=True):
    """``column=operator.value``; ``in`` holds several values."""

    column: str
    operator: str
    value: str

    def matches(self, row: dict[str, Any]) -> bool:
        """True if ``row`` has the column and its value fits."""
        if self.column not in row or row[self.column] is None:
            return False
        actual = _text(row[self.column])
        if self.operator == "in":
            return actual in [part.strip(' "') for part in self.value.strip("()").split(",")]
        left, right = _comparable(actual, self.value)
        match self.operator:
            case "eq":
                return bool(left == right)
            case "neq":
                return bool(left != right)
            case "lt":
                return bool(left < right)
            case "lte":
                return bool(left <= right)
            case "gt":
                return bool(left > right)
            case _:
                return bool(left >= right)


class Binding(msgspec.Struct, frozen=True):
    """One entry of ``config.postgres_changes``."""

    id: int
    event: str
    schema: str
    table: str | None
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None

    def described(self) -> str:
        """Return the binding as Realtime prints it in its error messages."""
        filters = ", ".join(f'{{"{f.column}", "{f.operator}", "{f.value}", false}}' for f in self.filters)
        select = "nil" if self.select is None else str(list(self.select))
        table = "*" if self.table is None else self.table
        where = f"schema: {self.schema}, table: {table}, filters: [{filters}], select: {select}"
        return f"[event: {self.event}, {where}]"

    def covers(self, schema: str, table: str) -> bool:
        """True if the binding is for this table, among others perhaps."""
        return self.schema in ("*", schema) and self.table in (None, "*", table)

    def matches(self, data: dict[str, Any]) -> bool:
        """True if the change is of the bound table and event, and its row fits the filters."""
        if not self.covers(data["schema"], data["table"]):
            return False
        if self.event not in ("*", data["type"]):
            return False
        row = data["old_record"] if data["type"] == "DELETE" else data.get("record", {})
        return all(f.matches(row) for f in self.filters)


def binding_id(config: dict[str, Any]) -> int:
    """Return the number by which frames name a binding; the same for the same binding."""
    return zlib.crc32(json.dumps(config, sort_keys=True).encode()) >> 4


def read_binding(config: dict[str, Any]) -> Binding:
    """Read one entry of ``config.postgres_changes``; the event's case does not matter, none means all.

    Raises:
        FilterError: the filter's operator is unknown.
    """
    select = config.get("select")
    return Binding(
        id=binding_id(config),
        event=str(config.get("event", "*")).upper(),
        schema=str(config.get("schema", "public")),
        table=config.get("table"),
        filters=tuple(_filters(config["filter"])) if config.get("filter") else (),
        select=tuple(select) if select else None,
    )


def _filters(text: str) -> list[Filter]:
    found = []
    for part in re.split(r",(?![^(]*\))", text):
        column, _, rest = part.partition("=")
        operator, dot, value = rest.partition(".")
        if operator not in _OPERATORS or not dot:
            raise FilterError(f'Error parsing `filter` params: ["{operator}", "{value}"]')
        found.append(Filter(column.strip(), operator, value))
    return found


def _text(value: Any) -> str:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    return value if isinstance(value, str) else json.dumps(value)


def _comparable(left: str, right: str) -> tuple[Any, Any]:
    try:
        return Decimal(left), Decimal(right)
    except InvalidOperation:
        return left, right
