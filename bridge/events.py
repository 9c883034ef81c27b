"""The values that flow between the stages, one type per arrow.

``capture`` emits :data:`Event`; ``authorization`` turns a :class:`Change` into
:class:`Delivery` values, each a view of the change and the principals who get it; ``fanout``
encodes each view once.  All are immutable: a stage that needs another value makes a new one.  None can be
part of a cycle, so that the garbage collector need not look at them (``gc=False``); the history has many.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

Row: TypeAlias = dict[str, Any]
"""A row as JSON has it, by column name: str, int, float, bool, None, list, dict.

``uuid``, timestamps and the like are text, in the form in which Postgres's ``to_jsonb`` prints them.
"""

Action: TypeAlias = Literal["INSERT", "UPDATE", "DELETE"]
UpstreamState: TypeAlias = Literal["live", "catching_up", "down"]


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One committed row change, decoded but not yet authorized.

    Attributes:
        table: Schema-qualified name, for example ``public.notes``.
        action: What happened to the row in the database, not what a user experiences.
        new: The whole row after the change; None for DELETE.
        old: The row before the change.  May hold only the primary key (always so for a DELETE
            on a table with RLS); None when upstream sent nothing, as for INSERT.
        commit_timestamp: Commit time in the source database, UTC, RFC 3339 with milliseconds and
            ``Z``, exactly as upstream wrote it.
        received_s: When the frame arrived, in seconds of the injected monotonic clock.
        id: Its number in the stream: its row of the journal, or counted since the last Live.
        position: The changes of the stream that have been passed with it, as text.
        stream: Names the stream: ids of another one may be the same.
        txid: The transaction that made it; empty where upstream does not say.
        last: True if it is known to be the last of its transaction.
        oid: Which table had the name, where upstream says so: another one may have been given it since.
    """

    table: str
    action: Action
    new: Row | None
    old: Row | None
    commit_timestamp: str
    received_s: float
    id: int = 0
    position: str = "0"
    stream: str = ""
    txid: str = ""
    last: bool = False
    oid: int | None = None


GapReason: TypeAlias = Literal[
    "journal_pruned",
    "journal_restarted",
    "queue_overflow",
    "row_unreadable",
    "table_truncated",
    "tables_changed",
    "token_refused",
    "upstream_disconnected",
    "upstream_restarted",
    "upstream_silent",
]


ResyncReason: TypeAlias = (
    GapReason
    | Literal[
        "catalog_changed",
        "claims_changed",
        "database_unreachable",
        "not_recovered",
        "policies_changed",
        "upstream_started",
        "visibility_changed",
    ]
)
"""Why a client has to read its rows again; docs/missing.md says of each what is so and what to do."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Changes may be missing from here until the next :class:`Live`.

    Attributes:
        reason: Why, as a stable word for logs, metrics and ``resync``.
        table: The only table that it concerns: it was truncated, or one change of it cannot be read.  Nothing
            else is missing, and no ``Live`` follows.  Empty where that is not known.
        id: The place of that in the stream, as :attr:`Change.id`.
    """

    reason: GapReason
    table: str = ""
    id: int = 0


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Upstream confirmed the subscription: every change committed from now on will be emitted.

    The first event of a source, and the first one after each :class:`Gap`.
    """


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing comes for now, but nothing is lost: what is committed meanwhile follows :class:`Resumed`."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """Changes come again, from where they had stopped."""


Event: TypeAlias = Change | Gap | Live | Paused | Resumed


VOLATILE_CLAIMS = frozenset({"exp", "iat", "jti", "nbf"})
"""Claims that every token of one session has others of."""


class Principal(msgspec.Struct, frozen=True, kw_only=True, gc=False, cache_hash=True):
    """Whom a verified token speaks for, as Postgres would see them.

    Equal principals see the same rows, so connections of one user share one.

    Attributes:
        role: Database role, from the claim ``role``: ``authenticated`` or ``anon``.
        user_id: Claim ``sub``, what ``auth.uid()`` answers; None for anon.
        claims_json: The claims as canonical JSON text (sorted keys), what ``auth.jwt()`` answers; without
            those :data:`VOLATILE_CLAIMS` that no policy and no function of the database names.
    """

    role: str
    user_id: str | None
    claims_json: str = "{}"


class Seen(msgspec.Struct, frozen=True):
    """What Postgres says of some rows.

    Attributes:
        rows: For each principal that was asked about, the positions of the rows that its policies show.
        current: Positions of the rows that their table held exactly so all the while.
    """

    rows: Sequence[frozenset[int]]
    current: frozenset[int]


class View(msgspec.Struct, frozen=True, kw_only=True, gc=False, cache_hash=True):
    """What some principals experience of a change.

    Attributes:
        action: INSERT for a row that comes into sight, DELETE for one that leaves it.
        columns: Columns these principals may SELECT; None means all of them.
        hides_old: True if it is not certain that they saw the row before an UPDATE: of that they get the key.
    """

    action: Action
    columns: frozenset[str] | None = None
    hides_old: bool = False

    def tells(self, column: str) -> bool:
        """True if these principals may SELECT a column."""
        return self.columns is None or column in self.columns


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One view of a change and who gets it.  Principals of one change never overlap between deliveries."""

    view: View
    principals: Sequence[Principal]


class RowEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change of a watched row that somebody may have to hear of.

    Either a committed :class:`Change` or an announcement: a row that came into the sight of some
    users, or left it, because a look-up row changed (a membership was deleted).

    Attributes:
        table: Schema-qualified name of the watched table.
        new: Whole row after the change; None where the row is gone or withdrawn.
        old: What is known of the row before the change, at least the primary key; None for INSERT.
        key: The primary key alone, by column name: ``old`` of a DELETE on the wire.
        dialog_id: Which dialog the row belongs to (after the change), as text; None if to none.
        old_dialog_id: The same before the change, when it is known and differs; else None.
        dialog_column: The column that tells it; None if there is none.
        commit_timestamp: See :class:`Change`.
        received_s: See :class:`Change`.
        only: User ids an announcement is meant for (None among them: anon); None for a committed change.
        announced: The action an announcement reports (INSERT or DELETE); None for a committed change.
        id: Names the event; the same in every worker that reads the same journal.
    """

    table: str
    new: Row | None
    old: Row | None
    key: Mapping[str, Any]
    dialog_id: str | None
    old_dialog_id: str | None = None
    dialog_column: str | None = None
    commit_timestamp: str
    received_s: float
    only: frozenset[str | None] | None = None
    announced: Action | None = None
    id: str = ""

    @property
    def action(self) -> Action:
        """What it is to who sees the row before and after it."""
        if self.announced is not None:
            return self.announced
        if self.old is None:
            return "INSERT"
        return "UPDATE" if self.new is not None else "DELETE"
