"""Which rows of the journal have been passed: what a reader has, and what a cursor means.

Ids are handed out before commit, so rows do not appear in the order of their ids.  A position is
therefore the largest id, and the *holes* before it: ids that were not there when somebody looked.
Most holes are filled a moment later; those of transactions that were rolled back never are, and are
closed once every transaction that could have written them has ended.
"""

import itertools
import re
from bisect import bisect_left, bisect_right
from typing import Self

MAX_HOLES_IN_TEXT = 100
"""With more a cursor names an earlier position: what lies between comes twice.  Few have any, for seconds."""

OF_ONE_PROCESS = "t"
"""First letter of the versions of cursors that mean something to one process only: without a journal."""

_MAX_ID = 2**63 - 1
_TEXT = re.compile(rf"(\d{{1,19}})((?:\.\d{{1,19}}(?:-\d{{1,19}})?){{0,{MAX_HOLES_IN_TEXT}}})", re.ASCII)


class Position:
    """A set of ids: all up to ``after`` but for the holes.

    Args:
        after: The largest id.
        holes: Pairs of first and last id, in order, below ``after``.
    """

    __slots__ = ("_firsts", "_lasts", "_xmax", "after")

    def __init__(self, after: int, holes: list[tuple[int, int]] | None = None) -> None:
        self.after = after
        self._firsts = [first for first, _ in holes or ()]
        self._lasts = [last for _, last in holes or ()]
        self._xmax: list[int | None] = [None] * len(self._firsts)
        """For each hole the end of the snapshot in which it was first seen to be empty."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the position that :meth:`text` wrote; None if it did not."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        after = upper = int(found[1])
        holes: list[tuple[int, int]] = []
        for part in found[2].split(".")[1:]:
            gap, _, length = part.partition("-")
            last = upper - int(gap)
            upper = last - int(length or 0)
            holes.append((upper, last))
        holes.reverse()
        edges = [-1, *(edge for first, last in holes for edge in (first - 1, last)), after]
        if after > _MAX_ID or any(low >= high for low, high in itertools.pairwise(edges)):
            return None
        return cls(after, holes)

    def text(self) -> str:
        """Return the position as a short text: an earlier one where there are too many holes.

        The largest id, then each hole from the last to the first: how far below what was written before it
        ends, and how many ids more it has.
        """
        if not self._firsts:
            return str(self.after)
        if len(self._firsts) > MAX_HOLES_IN_TEXT:
            return str(self._firsts[0] - 1)
        parts = [str(self.after)]
        upper = self.after
        for first, last in zip(reversed(self._firsts), reversed(self._lasts), strict=True):
            parts.append(str(upper - last) if first == last else f"{upper - last}-{last - first}")
            upper = first
        return ".".join(parts)

    @property
    def holes(self) -> list[tuple[int, int]]:
        """The holes, in order."""
        return list(zip(self._firsts, self._lasts, strict=True))

    @property
    def floor(self) -> int:
        """The largest id up to which nothing is missing."""
        return self._firsts[0] - 1 if self._firsts else self.after

    def __contains__(self, id_: int) -> bool:
        if id_ > self.after:
            return False
        place = bisect_right(self._firsts, id_) - 1
        return place < 0 or self._lasts[place] < id_

    def missing(self, up_to: int) -> int:
        """Return how many of the ids up to ``up_to`` have not been passed."""
        in_holes = sum(
            min(last, up_to) - first + 1
            for first, last in zip(self._firsts, self._lasts, strict=True)
            if first <= up_to
        )
        return in_holes + max(0, up_to - self.after)

    def covers(self, other: "Position") -> bool:
        """True if everything that ``other`` has passed has been passed here too."""
        if self.after < other.after:
            return False
        if not self._firsts:
            return True
        for first, last in self.holes:
            last = min(last, other.after)  # noqa: PLW2901 - beyond, the other has passed nothing
            if first <= last and other.missing(last) - other.missing(first - 1) < last - first + 1:
                return False
        return True

    def add(self, id_: int) -> bool:
        """Pass ``id_``; False if it was passed before."""
        if id_ > self.after:
            if id_ > self.after + 1:
                self._insert(len(self._firsts), self.after + 1, id_ - 1, None)
            self.after = id_
            return True
        place = bisect_right(self._firsts, id_) - 1
        if place < 0 or self._lasts[place] < id_:
            return False
        first, last, xmax = self._firsts[place], self._lasts[place], self._xmax[place]
        del self._firsts[place], self._lasts[place], self._xmax[place]
        if id_ < last:
            self._insert(place, id_ + 1, last, xmax)
        if first < id_:
            self._insert(place, first, id_ - 1, xmax)
        return True

    def close(self, first: int, last: int) -> None:
        """Take the ids from ``first`` to ``last`` as passed: they will never be there."""
        place = bisect_left(self._lasts, first)
        while place < len(self._firsts) and self._firsts[place] <= last:
            low, high, xmax = self._firsts[place], self._lasts[place], self._xmax[place]
            del self._firsts[place], self._lasts[place], self._xmax[place]
            if last < high:
                self._insert(place, last + 1, high, xmax)
            if low < first:
                self._insert(place, low, first - 1, xmax)
                place += 1

    def looked(self, *, up_to: int, xmin: int, xmax: int) -> None:
        """Note that what a read found was passed, so that each hole below ``up_to`` is empty in its snapshot.

        A hole is closed by a second look, whose ``xmin`` has reached the ``xmax`` of the first.  Whoever took
        an id had a transaction below that ``xmax``, or had ended before the first answer was complete, and is
        seen by the snapshot of the second.

        Args:
            up_to: An id that has been passed, as far as the read has looked.
            xmin: Every transaction before it has ended.
            xmax: Larger than every transaction that may have an id without a row in this answer.
        """
        kept = []
        below = bisect_left(self._firsts, up_to)
        for place in range(below):
            known = self._xmax[place]
            if known is None:
                self._xmax[place] = xmax
            elif xmin >= known:
                continue
            kept.append(place)
        if len(kept) < below:
            kept += range(below, len(self._firsts))
            self._firsts = [self._firsts[place] for place in kept]
            self._lasts = [self._lasts[place] for place in kept]
            self._xmax = [self._xmax[place] for place in kept]

    def _insert(self, place: int, first: int, last: int, xmax: int | None) -> None:
        self._firsts.insert(place, first)
        self._lasts.insert(place, last)
        self._xmax.insert(place, xmax)
