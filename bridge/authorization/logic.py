"""Three-valued logic of conditions, some of which only Postgres can answer.

AND and OR look for a part that decides without it, in the order in which Postgres does: it never comes to
what stands after an error.
"""

from collections.abc import Sequence

from bridge.authorization.env import Env, Test
from bridge.authorization.undecided import UndecidedError


def as_value(test: Test) -> Test:
    """Return ``test`` as a value, of which NULL and false are not the same."""

    def value(env: Env) -> bool | None:
        try:
            return test(env)
        except UndecidedError as error:
            raise error.as_value() from None

    return value


def negated(test: Test) -> Test:
    """NOT."""

    def test_negated(env: Env) -> bool | None:
        try:
            answer = test(env)
        except UndecidedError as error:
            raise error.as_value() from None
        return None if answer is None else not answer

    return test_negated


def undecided(reason: str, *, raises: bool) -> Test:
    """Return a test that only Postgres can answer; where it ``raises``, that may fail."""

    def test(_env: Env) -> bool | None:
        raise UndecidedError(reason, raises=raises)

    return test


def all_true(tests: Sequence[Test]) -> Test:
    """AND."""

    def test(env: Env) -> bool | None:
        answer: bool | None = True
        open_: list[UndecidedError] = []
        for part in tests:
            try:
                result = part(env)
            except UndecidedError as error:
                open_.append(error)
                continue
            if result is False:
                if open_ and any(error.raises for error in open_):
                    raise UndecidedError.of_all(open_, untrue=True)
                return False
            if result is None:
                answer = None
        if open_:
            raise UndecidedError.of_all(open_, untrue=answer is None)
        return answer

    return test


def any_true(tests: Sequence[Test]) -> Test:
    """OR."""

    def test(env: Env) -> bool | None:
        answer: bool | None = False
        open_: list[UndecidedError] = []
        for part in tests:
            try:
                result = part(env)
            except UndecidedError as error:
                if error.raises and not error.untrue:
                    raise  # Postgres may fail here, whatever comes after
                open_.append(error)
                continue
            if result is True:
                if open_ and any(error.raises for error in open_):
                    raise UndecidedError(open_[0].reason)
                return True
            if result is None:
                answer = None
        if open_:
            raise UndecidedError.of_any(open_)
        return answer

    return test
