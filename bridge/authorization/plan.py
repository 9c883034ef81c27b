"""One compiled plan: what one role sees of one table, in both directions."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import structlog

from bridge.authorization import columns
from bridge.authorization.algebra import Opaque
from bridge.authorization.audience import FinderCompiler
from bridge.authorization.cohorts import Cohort, Cohorts
from bridge.authorization.composition import Sight
from bridge.authorization.concern import Concern, concern
from bridge.authorization.env import Env, Tables
from bridge.authorization.evaluation import compile_test, compile_value
from bridge.authorization.expressions import mentions_time, opaque
from bridge.authorization.finders import Users
from bridge.authorization.lookup import LookupRow
from bridge.authorization.reach import lookup_columns, reaches, row_columns
from bridge.authorization.sightings import Sightings
from bridge.authorization.undecided import UndecidedError
from bridge.events import Principal, Row, View

log: structlog.stdlib.BoundLogger = structlog.get_logger()


Who: TypeAlias = Literal["here", "anybody", "past"]
"""Those on the roster; others as well; these also while memory may be ahead of the change."""


class Plan:
    """Answers who sees a row, for one table and one role.

    A row has to hold at least :attr:`row_columns`.  Between calls a plan keeps the cohorts, which are users
    who are here by what depends on them alone, and who was found to see rows.

    Args:
        sight: The condition and the columns.
        tables: Look-up tables by name.
        now_us: Returns the time, in microseconds since 1970-01-01 UTC.
    """

    def __init__(self, sight: Sight, tables: Tables, now_us: Callable[[], int]) -> None:
        self.sight = sight
        self.table = sight.table
        self.role = sight.role
        self.columns = sight.columns
        self.arrives = View(action="INSERT", columns=sight.columns)
        """What they experience of a new row."""
        self.condition = sight.condition
        self.reaches = reaches(sight.condition)
        self.opaque: tuple[Opaque, ...] = opaque(sight.condition)
        # What Postgres is asked about has to be whole: it is not known what it reads.
        self.row_columns = sight.all_columns if self.opaque else row_columns(sight.condition)
        self.unsure = columns.unsure(sight.condition)
        """Columns whose null may be NULL or the JSON null, between which the condition tells."""
        looked_into = [tables[name] for name in lookup_columns(sight.condition)]
        lasts = not any(map(mentions_time, (sight.condition, *sight.claims)))
        self.sightings = Sightings(self.row_columns, looked_into) if lasts else None
        """Who was found to see rows; None where that follows from the time, too, or Postgres is asked."""
        self.cohorts = Cohorts(sight.role)
        self._env = Env(sight.scopes, now_us)
        self._said: set[str] = set()
        # Cohorts are computed while a row is being asked about, so they have a place of their own.
        self._user_env = Env(sight.scopes, now_us)
        self._test = compile_test(sight.condition, tables, {})
        finders = FinderCompiler(tables, self.cohorts, self._for_user)
        self._finder = finders.compile(sight.condition, {})
        self.concerns = self._concerns(tables, finders)
        """Of look-up tables whose rows do not name the one user whom they can concern."""
        self._lasting = self._concerns(tables, FinderCompiler(tables, None, self._for_user))
        self._claims = [self._for_user(compile_value(part, tables, {})) for part in sight.claims]
        # Most policies compute nothing of a claim that could fail: they do not pay for the others.
        self._check = lru_cache(maxsize=65_536)(self._failure) if sight.claims else None
        self._failing = self.cohorts.add(Cohort(self._checked, ())) if sight.claims else None

    def _for_user(self, compute: Callable[[Env], Any]) -> Callable[[Principal], Any]:
        env = self._user_env

        def of(principal: Principal) -> Any:
            env.uid, env.claims_json = principal.user_id, principal.claims_json
            return compute(env)

        return of

    def _failure(self, principal: Principal) -> str | None:
        """Return what of the claims of ``principal`` may fail the query, whatever the row is."""
        for compute in self._claims:
            try:
                compute(principal)
            except UndecidedError as error:
                return error.reason
        return None

    def _checked(self, principal: Principal) -> tuple[()]:
        reason = self._failure(principal)
        if reason is not None:
            raise UndecidedError(reason)
        return ()

    @property
    def walks_everybody(self) -> bool:
        """True if a change may need a look at every connected user, because no index leads to them."""
        return self._finder.walks

    def environment(self) -> Env:
        """Return what parts of :attr:`condition` can be evaluated over."""
        return Env(len(self._env.rows), self._env.now_us)

    def visible(self, row: Row, principal: Principal) -> bool:
        """True if ``principal`` sees ``row`` now.

        Raises:
            UndecidedError: only Postgres can tell.
        """
        if self.unsure:
            answers = {self._is_seen(reading, principal) for reading in columns.readings(row, self.unsure)}
            if len(answers) > 1:
                raise UndecidedError("a column of JSON is NULL, or the JSON null")
            seen = answers.pop()
        else:
            seen = self._is_seen(row, principal)
        if seen and self._check is not None and (reason := self._check(principal)) is not None:
            raise UndecidedError(reason)
        return seen

    def _is_seen(self, row: Row, principal: Principal) -> bool:
        env = self._env
        env.row, env.uid, env.claims_json = row, principal.user_id, principal.claims_json
        try:
            return self._test(env) is True
        except UndecidedError as error:
            if error.untrue:
                return False  # an error shows nothing, either
            raise
        except Exception as error:
            raise self._choked(error) from error

    def users(self, row: Row) -> tuple[Users, bool]:
        """Return the ids of all users who are here and may see ``row`` now (None: everybody).

        The second value is False where each of them has to be asked with :meth:`visible`.
        """
        if self.cohorts:
            self.cohorts.refresh()
        if not self.unsure:
            return self._found(row)
        found = [self._found(reading) for reading in columns.readings(row, self.unsure)]
        if all(other == found[0] for other in found):
            return found[0]
        some = [users for users, _ in found if users is not None]
        return (frozenset().union(*some) if len(some) == len(found) else None), False

    def _found(self, row: Row) -> tuple[Users, bool]:
        env = self._env
        env.row, env.uid, env.claims_json, env.doubt = row, None, "{}", False
        try:
            users = self._finder.find(env)
        except UndecidedError:
            return None, False
        except Exception as error:  # noqa: BLE001 - whoever it is about is asked one by one
            self._choked(error)
            return None, False
        return users, self._finder.exact and not env.doubt and not self._may_fail(users)

    def _concerns(self, tables: Tables, finders: FinderCompiler) -> Mapping[str, Concern]:
        return {
            reach.lookup: concern(self.condition, reach.lookup, tables, finders, claims=self.sight.claims)
            for reach in self.reaches
            if reach.user_column is None
        }

    def concerned_by(self, lookup: str, row: LookupRow, *, who: Who) -> Users:
        """Return the users whose answers may depend on ``row`` of a look-up table; None for everybody.

        Args:
            lookup: The table's name; one of :attr:`concerns`.
            row: Its row.
            who: Of which users, and as of when the other look-up rows are.
        """
        known = (self.concerns if who == "here" else self._lasting)[lookup]
        if who == "past" and not known.by_row:
            return None
        if self.cohorts:
            self.cohorts.refresh()
        try:
            users = known.users(self._env, row)
        except UndecidedError:
            return None
        except Exception as error:  # noqa: BLE001 - it may be anybody
            self._choked(error)
            return None
        if users is None or self._failing is None:
            return users
        return {*users, *self._failing.undecided} if who == "here" else None

    def _choked(self, error: Exception) -> UndecidedError:
        """Say, once for each plan, that a value was met which we do not handle: Postgres decides then."""
        reason = type(error).__name__
        if reason not in self._said:
            self._said.add(reason)
            log.error("plan_failed", table=self.table, role=self.role, error=reason)
        return UndecidedError(f"the evaluation failed with {reason}")

    def _may_fail(self, users: Users) -> bool:
        """True if the query fails for one of ``users``, who are here, whatever the row is."""
        if self._failing is None or not self._failing.undecided:
            return False
        return users is None or not self._failing.undecided.isdisjoint(users)
