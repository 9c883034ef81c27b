"""From the text of a Realtime frame to what it says.  Numbers stay exact: Decimal where a float would lose.

Source of the forms: recordings of a real Realtime server (tests/protocol/recordings).
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from bridge.errors import DecodeError
from bridge.events import Action, Change, Row
from bridge.numbers import exact_number

TOO_LARGE: Final = "Error 413: Payload Too Large"
SUBSCRIBED: Final = "Subscribed to PostgreSQL"


_NUMBERS: Final = frozenset({"numeric", "float4", "float8"})
"""Types of which NaN and the infinities arrive as null."""

_CUT: Final = frozenset({"bpchar", "bit", "_bpchar", "_bit"})
"""Types whose values are cast to the type without its length on their way, which is one of length 1."""


class RawChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change as it arrived, which may lack values.

    Attributes:
        table: Qualified name.
        action: What happened to the row.
        record: Row after the change, as far as it was sent; None for DELETE.
        old_record: Row before the change, as far as it was sent; None for INSERT.
        columns: Names of the table's columns.
        too_large: True if values were left out because of the size limit.
        numbers: Columns of which some numbers arrive as null.
        cut: Columns of which only the beginning arrives.
        commit_timestamp: See :class:`~bridge.events.Change`.
        received_s: See :class:`~bridge.events.Change`.
    """

    table: str
    action: Action
    record: Row | None
    old_record: Row | None
    columns: tuple[str, ...]
    too_large: bool
    numbers: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    commit_timestamp: str
    received_s: float

    @property
    def complete(self) -> bool:
        """True if every column of the new row was sent."""
        return not self.too_large and (self.record is None or len(self.record) >= len(self.columns))

    def untold(self, row: Row | None, read: Collection[str]) -> frozenset[str]:
        """Return the columns among ``read`` of which ``row`` may have another value than the table had."""
        if row is None or not (self.numbers or self.cut):
            return frozenset()
        nulls = {name for name in self.numbers if name in row and row[name] is None}
        cut = {name for name in self.cut if row.get(name) is not None}
        return frozenset(name for name in (*nulls, *cut) if name in read)

    def change(self, new: Row | None, old: Row | None) -> Change:
        """Return the change with these rows."""
        return Change(
            table=self.table,
            action=self.action,
            new=new,
            old=old,
            commit_timestamp=self.commit_timestamp,
            received_s=self.received_s,
        )


class System(msgspec.Struct, frozen=True):
    """A ``system`` frame of the channel."""

    ok: bool
    extension: str
    message: str

    @property
    def subscribed(self) -> bool:
        """True if it says that changes committed from now on will arrive."""
        return self.ok and self.extension == "postgres_changes" and self.message == SUBSCRIBED


class Closed(msgspec.Struct, frozen=True):
    """The server closed the channel (``phx_close``) or it failed (``phx_error``)."""


class Other(msgspec.Struct, frozen=True):
    """A frame that is the package's own business: replies, presence, broadcasts."""


Frame: TypeAlias = RawChange | System | Closed | Other


class _Envelope(msgspec.Struct):
    event: str
    topic: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class _System(msgspec.Struct):
    status: Literal["ok", "error"]
    extension: str = ""
    message: str = ""


class _Column(msgspec.Struct):
    name: str
    type: str = ""


class _Data(msgspec.Struct):
    schema: str
    table: str
    type: Action
    columns: list[_Column] = []
    commit_timestamp: str | None = None
    errors: list[str] | None = None
    record: dict[str, Any] | None = None
    old_record: dict[str, Any] | None = None


class _Changes(msgspec.Struct):
    data: _Data


_envelope = msgspec.json.Decoder(_Envelope)
_system = msgspec.json.Decoder(_System)
_changes = msgspec.json.Decoder(_Changes, float_hook=exact_number)


def decode_frame(text: str | bytes, *, received_s: float) -> Frame:
    """Decode one frame.

    Args:
        text: The frame.
        received_s: When it arrived, in seconds of the monotonic clock.

    Raises:
        DecodeError: the frame has no known form, or reports a change without its values
            (``Error 400``, ``Error 401``); the message says what to do and quotes no values.
    """
    try:
        envelope = _envelope.decode(text)
        match envelope.event:
            case "postgres_changes":
                return _raw_change(_changes.decode(envelope.payload).data, received_s)
            case "system":
                system = _system.decode(envelope.payload)
                return System(ok=system.status == "ok", extension=system.extension, message=system.message)
            case "phx_close" | "phx_error":
                return Closed()
            case _:
                return Other()
    except msgspec.MsgspecError as error:
        # It quotes what it did not expect, in ticks.
        reason = re.sub(r"[`'].*[`']", "a value", str(error), flags=re.DOTALL)
        raise DecodeError(f"an upstream frame has no known form ({reason}): it is skipped") from None
    except (RecursionError, ArithmeticError) as error:
        kind = type(error).__name__
        raise DecodeError(
            f"an upstream frame nests too deep or holds no number ({kind}): it is skipped"
        ) from None


def _raw_change(data: _Data, received_s: float) -> RawChange:
    table = f"{data.schema}.{data.table}"
    for said in data.errors or ():
        if said.startswith("Error 400"):
            raise DecodeError(f"{table} has no primary key, so Realtime sends no values: add one")
        if said.startswith("Error 401"):
            raise DecodeError(f"the key may not SELECT {table}: bridge check prints the grant")
    record = None if data.type == "DELETE" else data.record or {}
    old_record = None if data.type == "INSERT" else data.old_record or {}
    kinds = {column.type for column in data.columns}
    if "bytea" in kinds:
        names = [column.name for column in data.columns if column.type == "bytea"]
        record, old_record = _prefixed(record, names), _prefixed(old_record, names)
    return RawChange(
        table=table,
        action=data.type,
        record=record,
        old_record=old_record,
        columns=tuple([column.name for column in data.columns]),
        numbers=_of_type(data.columns, _NUMBERS) if kinds & _NUMBERS else (),
        cut=_of_type(data.columns, _CUT) if kinds & _CUT else (),
        too_large=TOO_LARGE in (data.errors or ()),
        commit_timestamp=data.commit_timestamp or "",
        received_s=received_s,
    )


def _of_type(columns: Sequence[_Column], types: Collection[str]) -> tuple[str, ...]:
    return tuple(column.name for column in columns if column.type in types)


def _prefixed(row: Row | None, names: Sequence[str]) -> Row | None:
    r"""Return ``row`` with bytes as Postgres writes and reads them: wal2json leaves out their ``\\x``."""
    if row is None:
        return None
    told = {n: value for n in names if isinstance(value := row.get(n), str) and not value.startswith("\\x")}
    return {**row, **{name: f"\\x{value}" for name, value in told.items()}}


def key_of(row: Row | None, primary_key: Sequence[str]) -> Row | None:
    """Return the primary key of ``row``; None if a part of it is missing, or the key is not known."""
    if row is None or not primary_key or any(column not in row for column in primary_key):
        return None
    return {column: row[column] for column in primary_key}
