"""Questions: one call per table, and each answer for those who were asked about."""

from collections.abc import Sequence

import pytest

from bridge.authorization.asking import Questions
from bridge.errors import AskedTimeoutError, RpcError
from bridge.events import Principal, Row, Seen
from tests.support.catalogs import ANN, BOB, CAT, user

ann, bob, cat = user(ANN), user(BOB), user(CAT)


class Project:
    """Everybody sees the rows that name them."""

    def __init__(
        self, *, fails: bool = False, slow: str = "", answers: list[frozenset[int]] | None = None
    ) -> None:
        self.calls: list[tuple[str, list[Row], list[Principal]]] = []
        self.fails, self.slow, self.answers = fails, slow, answers

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        self.calls.append((table, list(rows), list(principals)))
        if self.fails:
            raise RpcError("away: try again")
        if table == self.slow:
            raise AskedTimeoutError("slow: wait")
        seen = [frozenset(i for i, row in enumerate(rows) if p.user_id in row["who"]) for p in principals]
        current = frozenset(i for i, row in enumerate(rows) if "gone" not in row)
        return Seen(seen if self.answers is None else self.answers, current)


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
    first, second = (questions.add("t", {"who": []}, [ann, bob]) for _ in range(2))
    await questions.ask(Project(answers=[frozenset((0, -2)), frozenset((-1,))]))

    assert (first.sees, first.seems, second.sees, second.seems) == ([ann], [bob], [], [ann])


async def test_a_question_about_nobody_is_not_asked() -> None:
    """Its answer is nobody."""
    questions, project = Questions(), Project()
    answer = questions.add("t", {"who": [ANN]}, [])
    await questions.ask(project)

    assert (bool(questions), list(answer.sees), project.calls) == (False, [], [])


async def test_a_failure_leaves_the_answers_empty() -> None:
    """Nobody sees anything by accident."""
    questions = Questions()
    answer = questions.add("t", {"who": [ANN]}, [ann])
    with pytest.raises(RpcError):
        await questions.ask(Project(fails=True))

    assert list(answer.sees) == []


async def test_a_table_that_takes_too_long_leaves_the_others_answers() -> None:
    """It is said which was not answered, and why."""
    questions = Questions()
    slow = questions.add("t", {"who": [ANN]}, [ann])
    quick = questions.add("u", {"who": [BOB]}, [bob])
    await questions.ask(Project(slow="t"))

    assert (list(slow.sees), list(quick.sees), slow.is_late, quick.is_late) == ([], [bob], True, False)
    assert isinstance(questions.timeout, AskedTimeoutError)


async def test_the_questions_of_several_changes_are_asked_together() -> None:
    """Each answer knows whether the table still held its row."""
    first, second, project = Questions(), Questions(), Project()
    old = first.add("t", {"who": [ANN], "gone": True}, [ann])
    new = second.add("t", {"who": [BOB]}, [ann, bob])
    together = Questions()
    together.asked = [*first.asked, *second.asked]
    await together.ask(project)

    assert len(project.calls) == 1
    assert [(a.sees, a.is_current) for a in (old, new)] == [([ann], False), ([bob], True)]
