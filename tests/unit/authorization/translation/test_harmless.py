"""What is not translated, and certain not to fail."""

import pytest

from bridge.authorization.translation.context import parse_expression
from bridge.authorization.translation.harmless import cannot_fail, fails_in_planning
from bridge.authorization.translation.names import InScope, Names
from tests.support.catalogs import catalog, column, table

NOTES = table(
    "notes",
    (
        *(
            column("body", "text"),
            column("score", "float8"),
            column("data", "jsonb"),
            column("at", "timestamptz"),
        ),
        *(
            column("pair", "public.pair", typtype="c"),
            column("pairs", "_record"),
            column("kind", "public.kind"),
        ),
    ),
)
ROOMS = table(
    "rooms", "id uuid", "exists (select 1 from public.rooms r)", "exists (select 1 from public.seen v)"
)
CATALOG = catalog(NOTES, ROOMS, table("seen", "id uuid", kind="v", rls=False))
NAMES = Names(levels=((InScope.of_table(NOTES, "notes", 0),),), acting="authenticated")


@pytest.mark.parametrize(
    "text",
    [
        "body ~ '^a.*@b\\.c$'::text",
        "body !~~* '%x_'::text",
        "score > (0.5)::double precision",
        "score between 1 and 2",
        "kind < 'guest'::public.kind",
        "lower(body) collate \"C\" < 'b'::text",
        "(data ->> 'n'::text) >= 'b'::text",
        "not (body > 'b'::text and score is null) is true",
        "coalesce(body, 'x'::text) in ('a'::text, 'b'::text)",
        "case body when 'a'::text then score > 1 else at < now() end",
        "case when at < current_timestamp then true end",
        "body = any (array['a'::text, (score)::text])",
        "auth.uid() is distinct from auth.uid()",
        "pair is null or body > 'b'::text",
    ],
)
def test_a_form_that_cannot_fail(text: str) -> None:
    """Comparisons of columns and constants, patterns of plain characters."""
    assert cannot_fail(parse_expression(text), NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "body ~ body",
        "body ~ '('::text",
        "body ~ 'a{999999}'::text",
        "body ~~ '%\\'::text",
        "(body)::double precision > 1",
        "(body)::text[] is null",
        "10 / score > 1",
        "- score > 1",
        "pair = pair",
        "pairs = pairs",
        "missing = 1",
        "date_trunc('x'::text, at) < now()",
        "public.lower(body) = 'a'::text",
        "exists (select 1 from public.rooms)",
        "body > (select 'a'::text)",
        "body operator(public.=) body",
    ],
)
def test_whatever_else_there_is_may_fail(text: str) -> None:
    """A pattern, a cast, a division, a row, a function that is not known, a subquery."""
    assert not cannot_fail(parse_expression(text), NAMES)


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("body = current_setting('app.tenant'::text)", True),
        ("(current_setting('app.tenant'::text, true))::uuid = (body)::uuid", True),
        ("not (score > 1 or body = public.tenant())", True),
        ("body = auth.uid()::text", False),
        ("body = public.tenant(body)", False),
        ("body = (select public.tenant())", False),
        ("public.tenant()", False),  # no comparison, of which something would be estimated
        ("exists (select 1 from public.seen v)", True),  # a view
        ("exists (select 1 from vault.secrets s)", True),
        ("exists (select 1 from pg_roles r)", True),
        ("exists (with seen as (select 1) select 1 from seen)", False),
        ("exists (select 1 from public.rooms r)", True),  # whose policy reads a view
        ("exists (select 1 from public.notes n, unnest(n.pairs) p)", False),
        ("score = (1 / 0)", False),  # a constant, which failed when the policy was made
    ],
)
def test_what_needs_no_row_may_fail_before_any_is_looked_at(text: str, fails: bool) -> None:  # noqa: FBT001
    """The other side of a comparison, while Postgres estimates what that selects; what a view reads."""
    assert fails_in_planning(parse_expression(text), NAMES, CATALOG) is fails
