"""The translation: constructs that ``pg_get_expr`` prints and functions hold, and each refusal."""

import itertools
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from bridge.authorization.algebra import (
    FALSE,
    TRUE,
    And,
    AnyOf,
    Call,
    Case,
    Claims,
    Coalesce,
    ColumnRef,
    Const,
    Exists,
    Expr,
    Fails,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Now,
    Or,
    Source,
    Uid,
)
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.expressions import compare, failure
from bridge.authorization.functions import Argument, Function
from bridge.authorization.normalization import Normalizer
from bridge.authorization.translation import Context, Translator
from bridge.authorization.translation.context import RowFilter, parse_expression
from bridge.authorization.translation.names import InScope, Names
from bridge.errors import CompileError
from tests.support.catalogs import AUTH_FUNCTIONS, catalog, column, columns, function, table

NOTES = table(
    "notes",
    (
        *columns("id uuid, room_id uuid, owner_id uuid, body text, kind varchar, level int, big bigint"),
        *columns("shared bool, mood public.mood, due timestamptz, extra jsonb, score numeric, ratio float8"),
        column("place", "public.place", typtype="c"),
    ),
)
MEMBERS = table("members", "room_id uuid, user_id uuid, role text", key=("room_id", "user_id"))
ROOMS = table("rooms", "id uuid, open bool")
VIEW = table("summary", "id uuid", kind="v")

ROOM, OWNER = ColumnRef(0, "room_id", "uuid"), ColumnRef(0, "owner_id", "uuid")
BODY, LEVEL, SHARED = (
    ColumnRef(0, "body", "text"),
    ColumnRef(0, "level", "int"),
    ColumnRef(0, "shared", "bool"),
)
NULL_TEXT = Const(None, "text")
EXTRA = ColumnRef(0, "extra", "jsonb")


def schema(functions: Sequence[Function] = (), auth: Sequence[Function] = AUTH_FUNCTIONS) -> Catalog:
    return catalog(NOTES, MEMBERS, ROOMS, VIEW, functions=functions, enums=["mood"], auth=auth)


def translator(of: Catalog, row_filter: RowFilter) -> Translator:
    return Translator(
        Context(
            of,
            role="authenticated",
            row_filter=row_filter,
            new_scope=itertools.count(1).__next__,
            trackable=lambda _table: None,
        )
    )


def strictly(made: Translator, text: str, acting: str = "authenticated") -> Expr:
    """Translate a condition over ``notes`` without leaving anything to Postgres."""
    names = Names(levels=((InScope.of_table(NOTES, "notes", 0),),), acting=acting)
    return made.condition(parse_expression(text), names)


def translate(
    text: str, functions: Sequence[Function] = (), auth: Sequence[Function] = AUTH_FUNCTIONS
) -> Expr:
    """Translate a policy expression of ``notes`` for the role authenticated."""
    return strictly(translator(schema(functions, auth), lambda _table, _scope, _used, _acting: TRUE), text)


def positive(text: str, functions: Sequence[Function] = ()) -> Expr:
    """The same, of which only "is it true" matters."""
    keys = {t.qualified: t.unique_keys for t in schema().tables}
    return Normalizer(keys.__getitem__).positive(translate(text, functions))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", TRUE),
        ("false", FALSE),
        ("NULL::boolean", Const(None, "bool")),
        ("shared", SHARED),
        ("(auth.uid() = owner_id)", compare("=", Uid(), OWNER)),
        ("(owner_id = ( SELECT auth.uid() AS uid))", compare("=", OWNER, Uid())),
        ("(notes.owner_id = auth.uid())", compare("=", OWNER, Uid())),
        ("(public.notes.owner_id = auth.uid())", compare("=", OWNER, Uid())),
        (
            "(auth.role() = 'authenticated'::text)",
            compare(
                "=",
                Call("jsonb ->> text", (Claims(), Const("role", "text")), "text"),
                Const("authenticated", "text"),
            ),
        ),
        ("(body = 'x'::text)", compare("=", BODY, Const("x", "text"))),
        ("(body = NULL::text)", compare("=", BODY, NULL_TEXT)),
        ("(body <> ''::text)", compare("<>", BODY, Const("", "text"))),
        ("(due > now())", compare(">", ColumnRef(0, "due", "timestamptz"), Now())),
        ("(body = 'a')", compare("=", BODY, Const("a", "text"))),
        ("(body ~~ 'a%'::text)", Call("text ~~ text", (BODY, Const("a%", "text")), "bool")),
        ("COALESCE(shared, false)", Coalesce((SHARED, FALSE), "bool")),
        ("CASE WHEN shared THEN true END", Case(((SHARED, TRUE),), Const(None, "bool"), "bool")),
        (
            "((extra -> 'a'::text) IS NULL)",
            IsNull(Call("jsonb -> text", (EXTRA, Const("a", "text")), "jsonb")),
        ),
        ("((body)::uuid = owner_id)", compare("=", Call("text::uuid", (BODY,), "uuid"), OWNER)),
        ("(score > 1.5)", compare(">", ColumnRef(0, "score", "numeric"), Const(Decimal("1.5"), "numeric"))),
        ("((kind)::text = 'x'::text)", compare("=", ColumnRef(0, "kind", "text"), Const("x", "text"))),
        (
            "(mood = 'sad'::public.mood)",
            compare("=", ColumnRef(0, "mood", "enum:public.mood"), Const("sad", "enum:public.mood")),
        ),
        ("((mood)::text = 'sad'::text)", compare("=", ColumnRef(0, "mood", "text"), Const("sad", "text"))),
        ("((auth.uid())::text = body)", compare("=", Uid("text"), BODY)),
        ("(level >= 3)", compare(">=", LEVEL, Const(3, "int"))),
        ("(level > 0)", compare(">", LEVEL, Const(0, "int"))),
        ("(level < '-1'::integer)", compare("<", LEVEL, Const(-1, "int"))),
        (
            "(big <= '9007199254740993'::bigint)",
            compare("<=", ColumnRef(0, "big", "int"), Const(9007199254740993, "int")),
        ),
        ("((level)::bigint = big)", compare("=", LEVEL, ColumnRef(0, "big", "int"))),
        ("(shared = true)", compare("=", SHARED, TRUE)),
        (
            "(owner_id = '00000000-0000-0000-0000-00000000000A'::uuid)",
            compare("=", OWNER, Const("00000000-0000-0000-0000-00000000000a", "uuid")),
        ),
        ("(due IS NULL)", IsNull(ColumnRef(0, "due", "timestamptz"))),
        ("(due IS NOT NULL)", Not(IsNull(ColumnRef(0, "due", "timestamptz")))),
        ("(auth.uid() IS NOT NULL)", Not(IsNull(Uid()))),
        ("(shared IS TRUE)", IsTrue(SHARED)),
        ("(shared IS NOT TRUE)", Not(IsTrue(SHARED))),
        ("(shared IS FALSE)", IsTrue(Not(SHARED))),
        ("(shared IS NOT FALSE)", Not(IsTrue(Not(SHARED)))),
        ("(shared IS UNKNOWN)", IsNull(SHARED)),
        ("(shared IS NOT UNKNOWN)", Not(IsNull(SHARED))),
        ("(NOT shared)", Not(SHARED)),
        ("(shared AND (level = 1))", And((SHARED, compare("=", LEVEL, Const(1, "int"))))),
        ("(shared OR (level = 1))", Or((SHARED, compare("=", LEVEL, Const(1, "int"))))),
        ("(shared AND true)", SHARED),
        ("(shared OR true)", TRUE),
        (
            "(body = ANY (ARRAY['a'::text, 'b'::text]))",
            Or((compare("=", BODY, Const("a", "text")), compare("=", BODY, Const("b", "text")))),
        ),
        (
            "(body <> ALL (ARRAY['a'::text, NULL::text]))",
            Not(AnyOf(BODY, Const(["a", None], "text[]"))),
        ),
        (
            "((kind)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            Or(
                (
                    compare("=", ColumnRef(0, "kind", "text"), Const("a", "text")),
                    compare("=", ColumnRef(0, "kind", "text"), Const("b", "text")),
                )
            ),
        ),
        (
            "(level IN (1, 2))",
            Or((compare("=", LEVEL, Const(1, "int")), compare("=", LEVEL, Const(2, "int")))),
        ),
        ("(level NOT IN (1))", Not(compare("=", LEVEL, Const(1, "int")))),
        ("(level = ANY (ARRAY[]::integer[]))", FALSE),
        ("( SELECT (shared = true))", compare("=", SHARED, TRUE)),
        ("((shared OR NULL::boolean) IS NULL)", IsNull(Or((SHARED, Const(None, "bool"))))),
    ],
)
def test_a_construct_is_translated(text: str, expected: Expr) -> None:
    """What Postgres prints is read as what it means."""
    assert translate(text) == expected


IN_ROOM = compare("=", ColumnRef(1, "room_id", "uuid"), ROOM)
IS_ME = compare("=", ColumnRef(1, "user_id", "uuid"), Uid())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                "(EXISTS ( SELECT 1 FROM public.members m"
                " WHERE ((m.room_id = notes.room_id) AND (m.user_id = auth.uid()))))"
            ),
            Exists((Source("public.members", 1),), And((IN_ROOM, IS_ME))),
        ),
        ("(EXISTS ( SELECT FROM public.members))", Exists((Source("public.members", 1),), TRUE)),
        (
            "(room_id IN ( SELECT members.room_id FROM public.members WHERE (members.user_id = auth.uid())))",
            Exists(
                (Source("public.members", 1),),
                And((IS_ME, compare("=", ROOM, ColumnRef(1, "room_id", "uuid")))),
            ),
        ),
        (
            (
                "(NOT (room_id IN ( SELECT members.room_id FROM public.members"
                " WHERE (members.user_id = auth.uid()))))"
            ),
            Not(InRows(ROOM, ColumnRef(1, "room_id", "uuid"), (Source("public.members", 1),), IS_ME)),
        ),
        (
            "(NOT (EXISTS ( SELECT 1 FROM public.members m WHERE (m.room_id = notes.room_id))))",
            Not(Exists((Source("public.members", 1),), IN_ROOM)),
        ),
        (
            "(EXISTS ( SELECT m.room_id FROM public.members m, public.rooms r WHERE (r.id = m.room_id)))",
            Exists(
                (Source("public.members", 1), Source("public.rooms", 2)),
                compare("=", ColumnRef(2, "id", "uuid"), ColumnRef(1, "room_id", "uuid")),
            ),
        ),
        (
            (
                "(EXISTS ( SELECT 1 FROM public.rooms r"
                " WHERE (EXISTS ( SELECT 1 FROM public.members m WHERE (m.room_id = r.id)))))"
            ),
            Exists(
                (Source("public.rooms", 1),),
                Exists(
                    (Source("public.members", 2),),
                    compare("=", ColumnRef(2, "room_id", "uuid"), ColumnRef(1, "id", "uuid")),
                ),
            ),
        ),
        ("(EXISTS ( SELECT 1 WHERE shared))", SHARED),
        (
            "(auth.uid() IN ( SELECT members.user_id FROM public.members))",
            Exists((Source("public.members", 1),), IS_ME),
        ),
    ],
)
def test_a_subquery_is_translated(text: str, expected: Expr) -> None:
    """A subquery keeps its tables, each in a scope of its own, and what has to hold between them."""
    assert positive(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(((", "grammar does not accept"),
        ("body", "a condition of type text is not boolean"),
        ("(body IS TRUE)", "a condition of type text is not boolean"),
        ("(expires > now())", "column expires is not known"),
        ("(body OPERATOR(public.=) 'a'::text)", "operator public.="),
        ("(level = (- level))", "operator - before"),
        ("(@ level = 1)", "operator @ before"),
        ("(body < 'a'::text)", "the order of text values depends on the database"),
        ("(body = level)", "a value of type int where text is expected"),
        ("(level > ANY (ARRAY[1, 2]))", "AEXPR_OP_ANY with >"),
        ("(level > ALL (ARRAY[1, 2]))", "AEXPR_OP_ALL with >"),
        (
            "(due = 'tomorrow'::timestamp with time zone)",
            "a constant is no value of its type timestamptz",
        ),
        ("(level = 'x'::integer)", "a constant is no value of its type int"),
        ("(shared = 'maybe'::boolean)", "a constant is no value of its type bool"),
        ("(owner_id = 'x'::uuid)", "a constant is no value of its type uuid"),
        ("(mood = 'sad'::other.mood)", "a constant of type other.mood"),
        ("(ROW(level, level) = ROW(1, 2))", "RowExpr is not supported"),
        ("(notes.* IS NOT NULL)", "a whole-row reference"),
        ("(public.unknown(body) = body)", "function public.unknown() is not supported"),
        ("(EXISTS ( SELECT count(*) AS count FROM public.members))", "agg_star"),
        ("(level < ANY ( SELECT 1 FROM public.members))", "ANY_SUBLINK with this operator"),
        ("(EXISTS ( SELECT 1 FROM members))", "members is not known"),
        (
            "(EXISTS ( SELECT 1 FROM (public.members m FULL JOIN public.rooms r ON ((r.id = m.room_id)))))",
            "FULL JOIN",
        ),
        ("(room_id IN ( SELECT m.room_id FROM public.members m LIMIT 2))", "a subquery with LIMIT"),
        ("(EXISTS ( SELECT 1 FROM public.members m GROUP BY m.role))", "a subquery with GROUP BY"),
        (
            "(EXISTS ( SELECT 1 FROM public.members EXCEPT SELECT 1 FROM public.rooms))",
            "EXCEPT of subqueries",
        ),
        ("(EXISTS ( SELECT 1 FROM public.summary))", "public.summary is not a plain table"),
        ("(EXISTS ( SELECT 1 FROM public.unknown))", "public.unknown is not known"),
        ("(EXISTS ( SELECT 1 FROM public.rooms r(a, b)))", "column aliases in FROM"),
        (
            "(EXISTS ( SELECT 1 FROM public.members a, public.members b WHERE (role = 'x'::text)))",
            "column role is ambiguous",
        ),
        ("((room_id, level) IN ( SELECT members.room_id, 1 FROM public.members))", "RowExpr"),
    ],
)
def test_what_could_differ_is_refused(text: str, message: str) -> None:
    """A construct that is not known to mean the same here is refused, with its name."""
    with pytest.raises(CompileError) as caught:
        translate(text)
    assert message in str(caught.value)


IS_MEMBER = "(public.is_member(room_id))"
MEMBER_SQL = (
    "select exists (select 1 from public.members m where m.room_id = room and m.user_id = auth.uid())"
)
MEMBER_EXPR = Exists((Source("public.members", 1),), And((IN_ROOM, IS_ME)))


@pytest.mark.parametrize(
    "source",
    [MEMBER_SQL, MEMBER_SQL.replace("= room", "= is_member.room"), MEMBER_SQL.replace("= room", "= $1")],
)
def test_a_plain_function_is_put_in_place(source: str) -> None:
    """A call of a SQL function of one SELECT means its body, with its arguments by name or by number."""
    helper = function("public.is_member", "room uuid", "boolean", source)

    assert positive(IS_MEMBER, [helper]) == MEMBER_EXPR


def test_a_column_hides_a_parameter_of_its_name() -> None:
    """Inside a body a table's column comes before a parameter of the same name, as in Postgres."""
    helper = function(
        "public.is_member",
        "room_id uuid",
        "boolean",
        "select exists (select 1 from public.members where room_id = room_id)",
    )
    own = ColumnRef(1, "room_id", "uuid")

    assert positive(IS_MEMBER, [helper]) == Exists((Source("public.members", 1),), compare("=", own, own))


def test_a_function_without_named_arguments_knows_numbers_only() -> None:
    """An unnamed argument is reached as $1."""
    helper = function("public.is_member", "room uuid", "boolean", "select $1 = auth.uid()")
    unnamed = msgspec.structs.replace(helper, arguments=(Argument(None, "uuid"),))

    assert translate(IS_MEMBER, [unnamed]) == compare("=", ROOM, Uid())


@pytest.mark.parametrize(
    ("helper", "message"),
    [
        (
            function("public.is_member", "room uuid", "boolean", "select true", returns_set=True),
            "returns a set where one value",
        ),
        (function("public.is_member", "", "boolean", "select true"), "is not supported in memory"),
        (
            function("public.is_member", "room uuid", "boolean", "select true; select false"),
            "not a single SELECT",
        ),
        (
            function("public.is_member", "room uuid", "boolean", "delete from public.members"),
            "not a single SELECT",
        ),
        (function("public.is_member", "room uuid", "boolean", "selec"), "grammar does not accept the text"),
        (
            function("public.is_member", "room uuid", "boolean", "select public.is_member(room)"),
            "calls itself",
        ),
        (
            function("public.is_member", "room uuid", "boolean", "select 'x'::text"),
            "a constant is no value of its type bool",
        ),
    ],
)
def test_a_function_of_another_form_is_refused(helper: Function, message: str) -> None:
    """What is not a single SELECT of an expression cannot be put in place."""
    with pytest.raises(CompileError) as caught:
        translate(IS_MEMBER, [helper])
    assert message in str(caught.value)


def test_a_function_that_the_role_may_not_execute_makes_the_query_fail() -> None:
    """Postgres answers 42501 to every SELECT then, so nobody sees anything."""
    helper = function("public.is_member", "room uuid", "boolean", "select true", execute=["service_role"])
    failing = translate(IS_MEMBER, [helper])

    assert isinstance(failing, Fails)
    assert "42501" in failing.reason


def test_auth_uid_that_is_missing_is_refused() -> None:
    """Without auth.uid() nothing is guessed about who asks."""
    with pytest.raises(CompileError):
        translate("(auth.uid() = owner_id)", auth=())


def test_auth_uid_of_the_project_itself_is_what_its_body_says() -> None:
    """A project that replaced auth.uid() is not answered as Supabase's own would."""
    own = function("auth.uid", "", "uuid", "select null::uuid")

    assert translate("(auth.uid() = owner_id)", auth=[own]) == compare("=", Const(None, "uuid"), OWNER)


def test_the_row_filter_learns_which_columns_a_subquery_reads() -> None:
    """The privileges that count are those on the columns that the subquery itself names."""
    asked: list[tuple[str, int, frozenset[str], str]] = []

    def row_filter(read: Table, scope: int, used: frozenset[str], acting: str) -> Expr:
        asked.append((read.qualified, scope, used, acting))
        return SHARED

    text = (
        "(room_id IN ( SELECT m.room_id FROM public.members m WHERE "
        "(EXISTS ( SELECT 1 FROM public.rooms r WHERE ((r.id = m.room_id) AND (m.role = 'x'::text))))))"
    )
    condition = strictly(translator(schema(), row_filter), text, "helper")

    assert asked == [
        ("public.rooms", 2, frozenset({"id"}), "helper"),
        ("public.members", 1, frozenset({"room_id", "role"}), "helper"),
    ]
    assert isinstance(condition, InRows)


def test_a_definer_function_reads_with_its_owners_rights() -> None:
    """Inside SECURITY DEFINER the owner's privileges and policies count, outside the caller's."""
    asked: list[str] = []

    def row_filter(_table: Table, _scope: int, _used: frozenset[str], acting: str) -> Expr:
        asked.append(acting)
        return TRUE

    helpers = [
        function("public.is_member", "room uuid", "boolean", MEMBER_SQL, definer=True, owner="boss"),
        function("public.is_open", "room uuid", "boolean", MEMBER_SQL),
    ]
    made = translator(schema(helpers), row_filter)
    strictly(made, "(public.is_member(room_id) AND public.is_open(room_id))")

    assert asked == ["boss", "authenticated"]


@pytest.mark.parametrize(
    "text",
    [
        "((body)::character(2) = 'ab'::bpchar)",
        "((body)::numeric(3,1) = 1.5)",
        "((ARRAY[body])::character varying(2)[] = '{ab}'::text[])",
    ],
)
def test_a_cast_to_another_type_with_a_length_is_refused(text: str) -> None:
    """Postgres pads or rounds the value."""
    with pytest.raises(CompileError, match="length"):
        translate(text)


def test_null_of_a_row_is_refused() -> None:
    """A row of NULLs is not told apart from NULL by its JSON."""
    with pytest.raises(CompileError, match=r"NULL of a value of type row public\.place"):
        translate("(place IS NULL)")


def test_a_subquery_that_fails_is_a_failure() -> None:
    """What Postgres refuses to read makes the whole condition fail, however it is negated."""
    made = translator(schema(), lambda _table, _scope, _used, _acting: Fails("x"))
    condition = strictly(made, "(NOT (EXISTS ( SELECT 1 FROM public.members)))")

    assert failure([condition]) == Fails("x")
