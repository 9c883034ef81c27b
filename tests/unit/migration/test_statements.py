"""Files are divided as the Supabase CLI divides them, and compared however they were divided."""

import postgast
import pytest

from bridge.migration.statements import body, canonical, split
from tests.support.stack import MIGRATIONS


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("select 1; select 2;", ["select 1", "select 2"]),
        ("select 1", ["select 1"]),
        ("  \n;;", []),
        ("-- why; how\nselect 1;\n-- end;", ["-- why; how\nselect 1", "-- end"]),
        ("/* a; /* b; */ c; */ select 1; x", ["/* a; /* b; */ c; */ select 1", "x"]),
        ("/* never closed; select 1;", ["/* never closed; select 1"]),
        ("select 'it''s; so', \"a;b\"; x", ["select 'it''s; so', \"a;b\"", "x"]),
        ("do $$ begin; end; $$; x", ["do $$ begin; end; $$", "x"]),
        ("do $a$ $$; $b$ ; $a$; x", ["do $a$ $$; $b$ ; $a$", "x"]),
        ("select $1; x", ["select $1", "x"]),
        ("create rule r as on insert to t do (select 1; select 2); x", ["create rule r as on insert to t do (select 1; select 2)", "x"]),
    ],
)  # fmt: skip
def test_a_semicolon_ends_a_statement_only_where_it_does(text, statements):
    """Comments stay with what follows them."""
    assert split(text) == statements


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_our_files_are_divided_as_postgres_reads_them(path):
    """As many statements as its own parser finds, the header with the first, in one transaction."""
    text = path.read_text()
    statements = split(text)
    assert len(statements) == len(postgast.parse(text).stmts)
    assert statements[0].startswith("--")
    assert statements[0].endswith("\nbegin")
    assert statements[-1].endswith("commit")
    assert body(statements) == statements[1:-1]


def test_what_was_divided_otherwise_is_the_same():
    """One text, or several; blanks around the semicolons do not count, others do."""
    text = "select 1 ;\n\nselect ';  ';\n"
    assert canonical(split(text)) == canonical([text]) == canonical(["select 1;", "select ';  '"])
    assert canonical(["select  1"]) != canonical(["select 1"])
