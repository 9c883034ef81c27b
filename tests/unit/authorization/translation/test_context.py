"""Parsing, and the bounds of a translation."""

import pytest

from bridge.authorization.algebra import TRUE
from bridge.authorization.translation.context import (
    MAX_NODES,
    Context,
    open_node,
    parse_expression,
    parse_statements,
    strings,
)
from bridge.errors import CompileError
from tests.support.catalogs import catalog


def context() -> Context:
    return Context(
        catalog(),
        role="anon",
        row_filter=lambda *_: TRUE,
        new_scope=lambda: 1,
        trackable=lambda _table: None,
    )


def test_a_text_is_parsed_to_nodes() -> None:
    """Each of one kind."""
    kind, fields = open_node(parse_expression("a.b"))

    assert (kind, strings(fields["fields"])) == ("ColumnRef", ["a", "b"])
    assert [open_node(s)[0] for s in parse_statements("select 1; delete from t")] == [
        "SelectStmt",
        "DeleteStmt",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "select",
        "a b c",
        "(",
        "'",
        "1; select 2",
        "1 from t where",
        "true from t",
        "true where false",
        "distinct a",
        "1 limit 0",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    """As Postgres's grammar does, or because nothing is selected."""
    with pytest.raises(CompileError):
        parse_expression(text)


@pytest.mark.parametrize("text", ["(" + "not (" * 100 + "a" + ")" * 101, "a" + " || 'x'" * 200])
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    """The parser's answer could not be read."""
    with pytest.raises(CompileError, match="too deeply"):
        parse_expression(text)


def test_a_translation_has_to_end() -> None:
    """Putting functions in place may double the text with each level."""
    bounded = context()
    for _ in range(MAX_NODES):
        bounded.count()
    with pytest.raises(CompileError, match="too large"):
        bounded.count()


def test_a_function_is_not_put_in_place_of_itself() -> None:
    """Nor below itself; one after the other is fine, and a refusal says where it was."""
    inside = context()
    with inside.inlining("a"), inside.inlining("b"):
        pass
    twice = pytest.raises(CompileError, match=r"function a\(\): function b\(\): function a\(\) calls itself")
    with twice, inside.inlining("a"), inside.inlining("b"), inside.inlining("a"):
        pass
    with inside.inlining("a"):
        pass
