"""What is made of a user's id and contained in a document, said so that the user can be found by it."""

from typing import Any

import pytest

from bridge.authorization import builtins
from bridge.authorization.algebra import ArrayOf, Call, ColumnRef, Const, Expr, Uid
from bridge.authorization.containment import contained
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_test

WHOLE, OTHER = ColumnRef(0, "whole", "jsonb"), ColumnRef(0, "other", "text")
ME = "00000000-0000-0000-0000-00000000000a"
WHOLES: tuple[Any, ...] = (
    [ME], [ME, "x"], [None, "x"], [], {}, {ME: 1}, {"k": ME}, {"k": [ME]}, {"k": None}, {"k": 1}, {"k": ME, "n": 1},
    ME, "x", 1, None, [[ME]], [{"k": ME}], {"k": [ME, 1]}, {"k": [None]}, {"k": [[ME]]}, {"k": {"k": ME}}, {"k": {"k": None}},
)  # fmt: skip


def made(name: str, *items: Expr, keys: tuple[str, ...] = ()) -> Call:
    values = ArrayOf(items, "jsonb[]")
    return Call(name, (Const(list(keys), "text[]"), values) if keys else (values,), "jsonb")


PARTS = (
    made(builtins.BUILD_ARRAY, Uid()),
    made(builtins.BUILD_ARRAY, Uid("text"), OTHER),
    made(builtins.BUILD_ARRAY, Uid(), Const(1, "int")),
    made(builtins.BUILD_OBJECT, Uid(), keys=("k",)),
    made(builtins.BUILD_OBJECT, Uid(), Const(1, "int"), keys=("k", "n")),
    made(builtins.BUILD_OBJECT, made(builtins.BUILD_ARRAY, Uid("text")), keys=("k",)),
    made(builtins.BUILD_OBJECT, made(builtins.BUILD_ARRAY, Uid(), Const(1, "int")), keys=("k",)),
    made(builtins.BUILD_OBJECT, made(builtins.BUILD_OBJECT, Uid(), keys=("k",)), keys=("k",)),
    Call(builtins.TO_JSONB, (Uid("text"),), "jsonb"),
)


@pytest.mark.parametrize("part", PARTS)
def test_it_is_true_of_the_same_documents(part: Call) -> None:
    """Also for nobody, whose id is the null of JSON in an array or an object."""
    said = contained(WHOLE, part)
    assert said is not None
    mine = compile_test(said, {}, {})
    literal = compile_test(Call("jsonb @> jsonb", (WHOLE, part), "bool"), {}, {})

    env = Env(1, lambda: 0)
    for env.uid in (ME, None):
        for whole in WHOLES:
            for other in (ME, "x", None):
                env.row = {"whole": whole, "other": other}
                assert (mine(env) is True) == (literal(env) is True), (env.uid, env.row)


def test_other_parts_are_kept() -> None:
    """What does not name the user, names no text, or is asked of the user's own document."""
    assert contained(WHOLE, made(builtins.BUILD_ARRAY, OTHER)) is None
    assert contained(WHOLE, made(builtins.BUILD_ARRAY, made(builtins.BUILD_ARRAY, Uid()))) is None
    assert contained(WHOLE, made(builtins.BUILD_OBJECT, Uid(), Uid(), keys=("k", "k"))) is None
    assert contained(PARTS[0], PARTS[0]) is None
