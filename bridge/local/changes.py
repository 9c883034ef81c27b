"""From decoded row changes to the ``data`` objects of Realtime's ``postgres_changes`` frames.

Values become JSON as Postgres makes it: each row goes back as a row literal and is read with
``to_jsonb``.  What Realtime does differently is applied on top (recorded in tests/protocol/).
"""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from bridge.clock import rfc3339_ms
from bridge.pgoutput import Cell, Relation, RowChange, Unchanged

MAX_RECORD_BYTES = 1024 * 1024
"""A change whose values take more is sent without them."""

KEPT_VALUE_BYTES = 64
"""The longest value that such a change still carries."""

TOO_LARGE = "Error 413: Payload Too Large"
NO_PRIMARY_KEY = "Error 400: Bad Request, no primary key"
UNAUTHORIZED = "Error 401: Unauthorized"

_NOT_A_NUMBER = frozenset({"NaN", "Infinity", "-Infinity"})


class TableFacts(msgspec.Struct, frozen=True):
    """What has to be known of a table beside its changes."""

    columns: tuple[tuple[str, str], ...]
    """Names and type names, in order."""
    primary_key: tuple[str, ...]
    rls: bool


class Data(msgspec.Struct, frozen=True):
    """One change as Realtime describes it.

    Attributes:
        payload: The frame's ``data`` object.
        key: The primary key, after the change (before it for DELETE), as JSON values.
        rls: True if the table's policies have to be asked for each subscriber.
        relation: The table.
    """

    payload: dict[str, Any]
    key: dict[str, Any]
    rls: bool
    relation: Relation


def view(change: Data, readable: Collection[str]) -> dict[str, Any]:
    """Return the ``data`` object for a role that may SELECT the columns ``readable``."""
    data = change.payload
    if not all(name in readable for name in change.key) and data["type"] != "DELETE":
        empty: dict[str, Any] = {side: {} for side in ("record", "old_record") if side in data}
        return {**data, "errors": [UNAUTHORIZED], "columns": [], "commit_timestamp": None, **empty}
    if all(column["name"] in readable for column in data["columns"]):
        return data
    rows: dict[str, Any] = {
        side: {n: v for n, v in data[side].items() if n in readable}
        for side in ("record", "old_record")
        if side in data
    }
    return {**data, "columns": [c for c in data["columns"] if c["name"] in readable], **rows}


_FACTS = """
select
    c.relrowsecurity,
    (select coalesce(array_agg(array[a.attname::text, t.typname::text] order by a.attnum), '{}')
     from pg_attribute a join pg_type t on t.oid = a.atttypid
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    (select coalesce(array_agg(a.attname::text order by k.n), '{}')
     from pg_constraint p cross join unnest(p.conkey) with ordinality as k (attnum, n)
     join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
     where p.conrelid = c.oid and p.contype = 'p')
from pg_class c where c.oid = %s
"""


class ChangeReader:
    """Converts changes in batches, one query for the rows of each table.

    Args:
        connection: In autocommit mode, as a role that sees everything, with time zone UTC.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def convert(self, changes: Sequence[RowChange]) -> list[Data]:
        """Return what Realtime would say of ``changes``, in order; those of dropped tables are left out."""
        facts: dict[int, TableFacts | None] = {}
        for change in changes:
            if change.relation.oid not in facts:
                facts[change.relation.oid] = await self._facts(change.relation)
        rows = await self._rows(changes, facts)
        described = []
        for position, change in enumerate(changes):
            table = facts[change.relation.oid]
            if table is not None:
                new, old = rows.get((position, "new")), rows.get((position, "old"))
                described.append(_describe(change, table, new, old))
        return described

    async def _facts(self, relation: Relation) -> TableFacts | None:
        cursor = await self._connection.execute(_FACTS, (relation.oid,))
        found = await cursor.fetchone()
        if found is None:
            return None
        return TableFacts(
            columns=tuple((name, type_) for name, type_ in found[1]),
            primary_key=tuple(found[2]),
            rls=found[0],
        )

    async def _rows(
        self, changes: Sequence[RowChange], facts: dict[int, TableFacts | None]
    ) -> dict[tuple[int, str], dict[str, Any]]:
        """Return each row as JSON values, by position of its change and side; cells not sent are left out."""
        literals: dict[int, list[tuple[tuple[int, str], str]]] = {}
        sent: dict[tuple[int, str], set[str]] = {}
        for position, change in enumerate(changes):
            table = facts[change.relation.oid]
            if table is None:
                continue
            for side, cells in (("new", _filled(change)), ("old", change.old)):
                if cells is None:
                    continue
                values = dict(zip((name for name, _ in change.relation.columns), cells, strict=True))
                where = (position, side)
                sent[where] = {n for n, cell in values.items() if not isinstance(cell, Unchanged)}
                literal = _literal([values.get(name) for name, _ in table.columns])
                literals.setdefault(change.relation.oid, []).append((where, literal))
        rows: dict[tuple[int, str], dict[str, Any]] = {}
        for oid, entries in literals.items():
            relation = next(c.relation for c in changes if c.relation.oid == oid)
            query = sql.SQL(
                "select to_jsonb(r::{})::text from unnest(%s::text[]) with ordinality as u (r, n) order by n"
            )
            cursor = await self._connection.execute(
                query.format(sql.Identifier(relation.schema, relation.name)),
                ([literal for _, literal in entries],),
            )
            table = facts[oid]
            types = dict(table.columns) if table is not None else {}
            for (where, _), (text,) in zip(entries, await cursor.fetchall(), strict=True):
                row = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
                rows[where] = {
                    n: _as_realtime(v, types.get(n, "")) for n, v in row.items() if n in sent[where]
                }
        return rows


def _filled(change: RowChange) -> tuple[Cell, ...] | None:
    """Return the new row, with unsent values taken from the old row where that came whole."""
    if change.new is None or change.old is None or change.old_kind != "O":
        return change.new
    return tuple(
        old if isinstance(new, Unchanged) else new for new, old in zip(change.new, change.old, strict=True)
    )


def _literal(cells: Iterable[Cell]) -> str:
    """Return a row literal, each value quoted, that the type's own input functions will read."""
    parts = []
    for cell in cells:
        if cell is None or isinstance(cell, Unchanged):
            parts.append("")
        else:
            parts.append('"' + cell.replace("\\", "\\\\").replace('"', '""') + '"')
    return f"({','.join(parts)})"


def _as_realtime(value: msgspec.Raw, type_: str) -> Any:
    """Apply what Realtime (wal2json) does differently from ``to_jsonb``; numbers stay as they are written."""
    text = bytes(value)
    if text.startswith(b'"'):
        string = json.loads(text)
        if type_ in ("float4", "float8", "numeric") and string in _NOT_A_NUMBER:
            return None
        if type_ == "bytea":
            return string.removeprefix("\\x")
        if type_ in ("bpchar", "bit"):
            return string[:1]  # cast to the type without its length, which is one of length 1
        return string
    if type_ in ("_bpchar", "_bit"):
        return _cut(json.loads(text))
    return None if text == b"null" else msgspec.Raw(text)


def _cut(value: Any) -> Any:
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return value if value is None else value[:1]


def _describe(
    change: RowChange, table: TableFacts, new: dict[str, Any] | None, old: dict[str, Any] | None
) -> Data:
    payload: dict[str, Any] = {
        "schema": change.relation.schema,
        "table": change.relation.name,
        "type": change.action,
        "columns": [{"name": name, "type": type_} for name, type_ in table.columns],
        "commit_timestamp": rfc3339_ms(change.committed_at),
        "errors": None,
    }
    if not table.primary_key:
        if change.action == "DELETE":  # told whole, with replica identity full
            payload["old_record"] = old or {}
        else:
            payload.update(columns=[], commit_timestamp=None, errors=[NO_PRIMARY_KEY], record={})
            if change.action == "UPDATE":
                payload["old_record"] = {}
        return Data(payload, {}, rls=False, relation=change.relation)
    keyed = old if old is not None else new or {}
    key_only = {name: keyed[name] for name in table.primary_key if name in keyed}
    whole_old = change.old_kind == "O" and not (change.action == "DELETE" and table.rls)
    if change.action != "INSERT":
        payload["old_record"] = dict(old) if whole_old and old is not None else key_only
    if new is not None:
        payload["record"] = new
    if _size(change) > MAX_RECORD_BYTES:
        payload["errors"] = [TOO_LARGE]
        for side in ("record", "old_record"):
            if side in payload:
                payload[side] = {
                    n: v for n, v in payload[side].items() if len(msgspec.json.encode(v)) <= KEPT_VALUE_BYTES
                }
    row = new if new is not None else keyed
    return Data(
        payload, {name: row.get(name) for name in table.primary_key}, rls=table.rls, relation=change.relation
    )


def _size(change: RowChange) -> int:
    """Return about how long wal2json's text of the change is; what decides is values of a megabyte."""
    cells = [*(change.new or ()), *((change.old or ()) if change.old_kind == "O" else ())]
    texts = [cell for cell in cells if isinstance(cell, str)]
    if sum(map(len, texts)) < MAX_RECORD_BYTES // 8:  # a character takes at most six bytes in JSON
        return 0
    around = 150 + 60 * len(texts)  # the frame of the change, and the name and type of each column
    return around + sum(len(json.dumps(text, ensure_ascii=False).encode()) for text in texts)
