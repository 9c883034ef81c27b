"""Questions: one call per table, and each answer for those who were asked about."""

from collections.abc import Sequence

import pytest

from bridge.authorization.asking import Questions
from bridge.errors import AskedTimeoutError, RpcError
from bridge.events import Principal, Row
from tests.support.catalogs import ANN, BOB, CAT, user

ann, bob, cat = user(ANN), user(BOB), user(CAT)


class Project:
    """Everybody sees the rows that name them."""

    def __init__(
        self, *, fails: bool = False, slow: str = "", answers: list[frozenset[int]] | None = None
    ) -> None:
        self.calls: list[tuple[str, list[Row], list[Principal]]] = []
        self.fails, self.slow, self.answers = fails, slow, answers

    async def visible(
        self, table: str, rows: Sequence[Row], principals: Sequence[Principal]
    ) -> list[frozenset[int]]:
        self.calls.append((table, list(rows), list(principals)))
        if self.fails:
            raise RpcError("away: try again")
        if table == self.slow:
            raise AskedTimeoutError("slow: wait")
        if self.answers is not None:
            return self.answers
        return [frozenset(i for i, row in enumerate(rows) if p.user_id in row["who"]) for p in principals]


async def test_all_rows_of_a_table_are_asked_about_at_once() -> None:
    """And every principal once, though only those who were asked about count."""
    questions, project = Questions(), Project()
    first = questions.add("t", {"who": [ANN, BOB]}, [ann, bob])
    second = questions.add("t", {"who": [ANN, BOB, CAT]}, [bob, cat])
    other = questions.add("u", {"who": [ANN]}, [ann])
    assert len(questions) == 5
    await questions.ask(project)

    assert [(t, len(rows), who) for t, rows, who in project.calls] == [
        ("t", 2, [ann, bob, cat]),
        ("u", 1, [ann]),
    ]
    assert [first.sees, second.sees, other.sees] == [[ann, bob], [bob, cat], [ann]]


async def test_what_somebody_seems_to_see_is_told_apart() -> None:
    """-1 - position: the row's JSON does not tell what decides."""
    questions = Questions()
    first, second = (questions.add("t", {}, [ann, bob]) for _ in range(2))
    await questions.ask(Project(answers=[frozenset((0, -2)), frozenset((-1,))]))

    assert (first.sees, first.seems, second.sees, second.seems) == ([ann], [bob], [], [ann])


async def test_a_question_about_nobody_is_not_asked() -> None:
    """Its answer is nobody."""
    questions, project = Questions(), Project()
    answer = questions.add("t", {"who": [ANN]}, [])
    await questions.ask(project)

    assert (bool(questions), answer.sees, project.calls) == (False, [], [])


async def test_a_failure_leaves_the_answers_empty() -> None:
    """Nobody sees anything by accident."""
    questions = Questions()
    answer = questions.add("t", {"who": [ANN]}, [ann])
    with pytest.raises(RpcError):
        await questions.ask(Project(fails=True))

    assert answer.sees == []


async def test_a_table_that_takes_too_long_leaves_the_others_answers() -> None:
    """Whose question was not answered is named, and why."""
    questions = Questions()
    slow = questions.add("t", {"who": [ANN]}, [ann])
    quick = questions.add("u", {"who": [BOB]}, [bob])
    await questions.ask(Project(slow="t"))

    assert (slow.sees, quick.sees, questions.late) == ([], [bob], {ann})
    assert isinstance(questions.timeout, AskedTimeoutError)
