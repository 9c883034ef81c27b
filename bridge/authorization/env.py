"""What expressions are evaluated over, and what they are compiled to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from bridge.authorization.algebra import Source
from bridge.authorization.lookup import LookupRow, LookupTable
from bridge.events import Row

Tables: TypeAlias = Mapping[str, LookupTable]


class Env:
    """What an expression is evaluated over: the asked row, the subqueries' rows, the user, the time.

    Attributes:
        row: The row whose visibility is asked (scope 0).
        rows: The subqueries' current rows, by scope; scope 0 is unused.
        uid: The user's id; None for anon.
        claims_json: The user's claims.
        now_us: Returns the time, in microseconds since 1970-01-01 UTC.
        doubt: Set by a finder whose users have to be asked one by one.
    """

    __slots__ = ("claims_json", "doubt", "now_us", "row", "rows", "uid")

    def __init__(self, scope_count: int, now_us: Callable[[], int]) -> None:
        self.row: Row = {}
        self.rows: list[LookupRow] = [()] * scope_count
        self.uid: str | None = None
        self.claims_json = "{}"
        self.now_us = now_us
        self.doubt = False


Value: TypeAlias = Callable[[Env], Any]
Test: TypeAlias = Callable[[Env], bool | None]
Layout: TypeAlias = Mapping[int, str]
"""The table of each scope but 0; empty for an array's elements."""


def layout_of(sources: Sequence[Source], outer: Layout) -> dict[int, str]:
    """Return ``outer`` with the scopes that ``sources`` bring."""
    return {**outer, **{source.scope: source.table for source in sources}}
