"""What Postgres looks at when it is asked, found out from texts: what is not known may be anything."""

import msgspec
import pytest

from bridge.authorization.functions import Function
from bridge.authorization.grounds import grounds, tables_read
from tests.support.catalogs import catalog, function, policy, table

NOTES = "id int, room_id int, owner_id uuid, body text, data jsonb, kind public.mood"
STAFF = table("staff", "id uuid, rank int", rls=False)
ROOMS = table(
    "rooms", "id int, title text", "(EXISTS ( SELECT 1 FROM public.staff s WHERE (s.id = auth.uid())))"
)
SHARES = table("shares", "id int, note_id int", rls=False, references=[("note_id", "notes")])
NUMBERS = table("numbers", "n int", kind="v")
OTHERS = (STAFF, ROOMS, SHARES, NUMBERS)


def helper(
    body: str, *, language: str = "plpgsql", name: str = "public.helper", path: str | None = None
) -> Function:
    made = function(name, "note int", "bool", body, language=language, definer=True)
    return made if path is None else msgspec.structs.replace(made, config=(f"search_path={path}",))


def read(using: str, *functions: Function) -> frozenset[str] | None:
    notes = table("notes", NOTES, using)
    return tables_read(catalog(notes, *OTHERS, functions=functions, enums=["mood"]), notes, "authenticated")


@pytest.mark.parametrize(
    "using",
    [
        "(body ~ 'a'::text)",
        "((auth.uid())::text = lower(body))",
        "(owner_id = ( SELECT auth.uid() AS uid))",
        "((data ->> 'n'::text))::double precision > (0.5)::double precision",
        "(kind = 'ok'::public.mood)",
        "(EXISTS ( SELECT 1 FROM jsonb_array_elements(data) x(value) WHERE (x.value = to_jsonb(auth.uid()))))",
        "(body OPERATOR(extensions.%) 'x'::text)",
    ],
)
def test_the_row_and_the_claims_are_no_tables(using: str) -> None:
    """Operators, casts and built-in functions read nothing else."""
    assert read(using) == frozenset()


@pytest.mark.parametrize(
    ("body", "tables"),
    [
        (
            "begin for r in select rank from staff loop return true; end loop; return false; end",
            {"public.staff"},
        ),
        ("begin return exists (select 1 from public.rooms); end", {"public.rooms", "public.staff"}),
        (
            "begin if (select count(*) from notes n where n.id = note) > 0 then return true; end if; end",
            {"public.notes"},
        ),
        (
            "declare n int := (select max(s.rank) from staff s); begin n := n + 1; return n > 2; end",
            {"public.staff"},
        ),
        ("begin return true from staff s where s.id = auth.uid(); end", {"public.staff"}),
        ("begin note := max(s.note_id) from shares s; return note > 1; end", {"public.shares"}),
        (
            "begin note := (select 1 from shares); return true; exception when others then return false; end",
            {"public.shares"},
        ),
        (
            "begin return (with staff as (select * from shares) select true from staff); end",
            {"public.shares", "public.staff"},
        ),
        ("begin return (with x as (select * from shares) select true from x); end", {"public.shares"}),
        ("begin return (select true from pg_catalog.pg_class); end", set()),
    ],
)
def test_what_a_helper_reads(body: str, tables: set[str]) -> None:
    """Queries, expressions, assignments and variables of plpgsql; with what the policies of those tables read."""
    assert read("public.helper(id)", helper(body.replace("for r in", "for note in"))) == tables


def test_helpers_of_helpers() -> None:
    """In SQL as text, or parsed; each once, also where they call each other."""
    inner = helper("select exists (select 1 from staff) or helper(note)", language="sql", name="public.inner")
    outer = helper("begin return inner(note); end")
    assert read("public.helper(id)", inner, outer) == {"public.staff"}
    for body in (
        "RETURN (EXISTS ( SELECT 1 FROM public.staff))",
        "BEGIN ATOMIC\n SELECT (1 = 1) FROM public.staff;\nEND",
    ):
        parsed = msgspec.structs.replace(helper("", language="sql"), sql_body=body)
        assert read("public.helper(id)", parsed) == {"public.staff"}


@pytest.mark.parametrize(
    "using",
    [
        "public.unknown(id)",
        "extensions.dblink(body)",
        "(query_to_xml(body, true, true, 'x'::text) IS NOT NULL)",
        "(id OPERATOR(public.@@@) 1)",
        "((body)::public.checked IS NOT NULL)",
        "(EXISTS ( SELECT 1 FROM public.numbers))",
        "(EXISTS ( SELECT 1 FROM cron.job))",
        "(",
    ],
)
def test_what_is_not_known_may_be_anything(using: str) -> None:
    """Functions, operators and types that somebody made, views, tables that are not in the catalog."""
    assert read(using) is None


@pytest.mark.parametrize(
    "body",
    [
        "begin execute 'select 1' into note; return true; end",
        "begin for note in execute 'select 1' loop return true; end loop; end",
        "begin return query execute 'select true'; end",
        "begin update notes set body = ''; return true; end",
        "begin perform similarity(note::text, 'x') > 0.5; return true; end",
        "begin return exists (select 1 from nowhere); end",
        "begin perform 1 from shares for update; return true; end",
        "begin perform set_config('role', 'anon', true); return exists (select 1 from rooms); end",
        "nonsense",
    ],
)
def test_a_helper_that_may_do_anything(body: str) -> None:
    """Queries put together at run time, writes, functions of extensions."""
    assert read("public.helper(id)", helper(body)) is None


def test_names_are_looked_for_where_the_helper_looks() -> None:
    """Without a search path a name without schema is a built-in function, and no table."""
    assert read("public.helper(id)", helper("begin return similar(note); end", path='""')) == frozenset()
    assert (
        read("public.helper(id)", helper("begin return exists (select 1 from staff); end", path='""')) is None
    )


def test_policies_of_other_roles_do_not_count() -> None:
    """Nor those of other commands."""
    notes = table(
        "notes",
        NOTES,
        policy("public.unknown(id)", roles=["anon"]),
        policy("public.unknown(id)", command="INSERT"),
        policy("(owner_id = auth.uid())"),
    )
    known = catalog(notes, *OTHERS)
    assert tables_read(known, notes, "authenticated") == frozenset()
    assert tables_read(known, notes, "anon") is None


def test_policies_of_a_table_that_is_read_count_for_whoever_reads_it() -> None:
    """A helper that runs as its owner reads it as somebody else, whoever that is."""
    notes = table("notes", NOTES, "(EXISTS ( SELECT 1 FROM public.marks))", "public.helper(id)")
    asks_back = policy("(EXISTS ( SELECT 1 FROM public.notes))", roles=["anon"])
    marks = table("marks", "id int", asks_back, policy("(EXISTS ( SELECT 1 FROM public.staff))"))
    for definer, tables in ((False, {"public.marks", "public.staff"}), (True, {"public.notes"})):
        made = function("public.helper", "note int", "bool", "select true from public.marks", definer=definer)
        known = catalog(notes, marks, *OTHERS, functions=[made])
        assert tables_read(known, notes, "authenticated") == {"public.marks", "public.staff"} | tables


def test_a_function_that_is_set_to_run_as_somebody_else_reads_as_they_do() -> None:
    """Whoever that is."""
    marks = table("marks", "id int", policy("(EXISTS ( SELECT 1 FROM public.staff))", roles=["anon"]))
    notes = table("notes", NOTES, "public.helper(id)")
    made = function("public.helper", "note int", "bool", "select true from public.marks")
    for setting, tables in (
        ("work_mem=4MB", set()),
        ("role=anon", {"public.staff"}),
        ("session_authorization=anon", {"public.staff"}),
    ):
        known = catalog(notes, marks, *OTHERS, functions=[msgspec.structs.replace(made, config=(setting,))])
        assert tables_read(known, notes, "authenticated") == {"public.marks"} | tables


def test_policies_of_a_table_look_for_names_where_who_reads_it_does() -> None:
    """A helper of theirs without a search path finds another table when a helper with one reads the first."""
    notes = table("notes", NOTES, "(EXISTS ( SELECT 1 FROM public.marks))", "app.seen()")
    marks = table("marks", "id int", "public.of_staff()")
    staff = msgspec.structs.replace(STAFF, schema="app")
    of_staff = function("public.of_staff", "", "bool", "select exists (select 1 from staff)")
    seen = function("app.seen", "", "bool", "select exists (select 1 from public.marks)")
    seen = msgspec.structs.replace(seen, config=("search_path=app",))
    known = catalog(notes, marks, staff, *OTHERS, functions=[of_staff, seen])
    assert tables_read(known, notes, "authenticated") == {"public.marks", "public.staff", "app.staff"}


def test_a_built_in_function_comes_before_one_of_its_name() -> None:
    """Where it has no schema."""
    made = function("public.query_to_xml", "a text, b bool, c bool, d text", "xml", "select null::xml")
    call = "query_to_xml('select 1', true, true, '') is not null"
    assert read("public.helper(id)", made, helper(f"begin return {call}; end")) is None
    assert read("public.helper(id)", made, helper(f"begin return public.{call}; end")) == frozenset()


@pytest.mark.parametrize(
    ("using", "row_only", "hidden_by"),
    [
        ("(body ~ 'a'::text)", True, set()),
        ("(EXISTS ( SELECT 1 FROM public.staff))", False, set()),
        ("(EXISTS ( SELECT 1 FROM public.shares))", False, {"DELETE"}),
        ("(EXISTS ( SELECT 1 FROM public.notes n))", False, {"UPDATE", "DELETE"}),
        ("public.unknown(id)", False, {"UPDATE", "DELETE"}),
    ],
)
def test_what_the_row_before_can_still_be_asked(using: str, row_only: bool, hidden_by: set[str]) -> None:  # noqa: FBT001
    """Not after a change of what is looked at; rows that refer to the row may go with it."""
    found = grounds(catalog(table("notes", NOTES, using), *OTHERS), "public.notes", "authenticated")
    assert (found.row_only, found.hidden_by) == (row_only, hidden_by)
