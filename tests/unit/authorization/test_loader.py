"""Loading: catalog and rows from a database, page by page, into a fresh stage."""

from collections.abc import Sequence

import msgspec
import pytest
import structlog

from bridge.authorization import loader
from bridge.authorization.catalog import Catalog, Grant
from bridge.authorization.loader import Settings, compile_catalog, load
from bridge.authorization.roster import Roster
from bridge.clock import ManualClock
from bridge.errors import ConfigError, SourceError
from bridge.events import Row
from tests.support.catalogs import ANN, BOB, catalog, policy, table

ROOMS = table(
    "rooms",
    "id int, owner_id uuid, title text",
    policy(
        "((owner_id = auth.uid()) OR (EXISTS ( SELECT 1 FROM public.members m"
        " WHERE ((m.room_id = rooms.id) AND (m.user_id = auth.uid())))))",
        roles=["authenticated"],
    ),
)
POSTS = table("posts", "id int, room_id int, body text", references=[("room_id", "rooms")], rls=False)
MEMBERS = table("members", "room_id int, user_id uuid, note text", key=("room_id", "user_id"), rls=False)


class Rows:
    """A database in memory that answers as bridge_rows() does: in key order, after a key, some columns."""

    def __init__(self, database: Catalog, **rows: Sequence[Row]) -> None:
        self.pages: list[tuple[str, int]] = []
        self.markers: list[str] = []
        self._catalog = database
        self._rows = rows

    async def catalog(self) -> bytes:
        return msgspec.json.encode(self._catalog)

    async def catalog_marker(self) -> str:
        return self.markers.pop(0) if self.markers else "1"

    async def rows(
        self, table: str, *, after: Row | None, max_rows: int, columns: Sequence[str] | None
    ) -> list[Row]:
        key = self._catalog.by_name[table].primary_key

        def order(row: Row) -> tuple[object, ...]:
            return tuple(row[column] for column in key)

        found = sorted(self._rows.get(table.partition(".")[2], ()), key=order)
        page = [row for row in found if after is None or order(row) > order(after)][:max_rows]
        self.pages.append((table, len(page)))
        return [{c: v for c, v in row.items() if columns is None or c in columns} for row in page]


SETTINGS = Settings(
    tables=("public.rooms", "public.posts"),
    dialog_table="public.rooms",
    message_table="public.posts",
    dialog_column=None,
    roles=("authenticated", "anon"),
    remembered_rows=5,
)


def test_settings_name_tables_as_sql_has_them_or_without_quotes() -> None:
    """One named twice is watched once; what is none is left for the message that says so."""
    written = msgspec.structs.replace(
        SETTINGS,
        tables=("public.Rooms", 'public."Posts"', "public.POSTS", "public.rooms", "public.gone"),
        dialog_table="Public.rooms",
        message_table="public.Posts",
    )
    found = written.of(catalog(table("rooms"), table("Posts")))

    assert found.tables == ("public.rooms", "public.Posts", "public.POSTS", "public.gone")
    assert (found.dialog_table, found.message_table) == ("public.rooms", "public.Posts")


def roster() -> Roster:
    return Roster(linger_s=1.0, clock=ManualClock())


@pytest.fixture(autouse=True)
def logs() -> list[dict[str, object]]:
    with structlog.testing.capture_logs() as captured:
        yield captured  # type: ignore[misc]  # a fixture


async def test_a_catalog_that_changes_while_it_is_read_is_read_again() -> None:
    """Before any row is: the journal's triggers are to be as it says from then on."""
    database = Rows(catalog(ROOMS, POSTS, MEMBERS))
    database.markers = ["1", "2"]
    with pytest.raises(SourceError, match="reading again"):
        await load(database, SETTINGS, roster(), ManualClock())
    assert not database.pages


async def test_every_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until one is not full; then look-up rows are there, and watched rows are remembered."""
    monkeypatch.setattr(loader, "PAGE_ROWS", 2)
    members = [{"room_id": n, "user_id": user, "note": "x"} for n in (1, 2) for user in (ANN, BOB)]
    rooms = [{"id": n, "owner_id": ANN, "title": "t"} for n in (1, 2, 3)]
    database = Rows(catalog(ROOMS, POSTS, MEMBERS), members=members, rooms=rooms)
    stage = await load(database, SETTINGS, roster(), ManualClock())

    assert set(stage.memory.lookups["public.members"].rows) == {
        (n, user) for n in (1, 2) for user in (ANN, BOB)
    }
    assert stage.memory.remembered["public.rooms"].get((3,)) == rooms[2]
    assert database.pages == [
        ("public.members", 2),
        ("public.members", 2),
        ("public.members", 0),
        ("public.rooms", 2),
        ("public.rooms", 1),
        ("public.posts", 0),
    ]


async def test_no_more_rows_are_read_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit bounds memory and the time of loading."""
    monkeypatch.setattr(loader, "PAGE_ROWS", 2)
    posts = [{"id": n, "room_id": 1, "body": "x"} for n in range(20)]
    database = Rows(catalog(ROOMS, POSTS, MEMBERS), posts=posts)
    stage = await load(
        database, msgspec.structs.replace(SETTINGS, remembered_rows=3), roster(), ManualClock()
    )

    assert len(stage.memory.remembered["public.posts"]) == 3
    assert [count for name, count in database.pages if name == "public.posts"] == [2, 1]


async def test_only_needed_columns_are_read() -> None:
    """Texts that no policy reads stay in the database."""
    database = Rows(catalog(ROOMS, POSTS, MEMBERS), posts=[{"id": 1, "room_id": 1, "body": "x"}])
    stage = await load(database, SETTINGS, roster(), ManualClock())

    assert stage.memory.remembered["public.posts"].get((1,)) == {"id": 1, "room_id": 1}


async def test_what_hides_rows_is_said(logs: list[dict[str, object]]) -> None:
    """Policies that Postgres has to be asked about, missing grants and tables without RLS: one line each.

    Not when the catalog is only compiled, which is done before each load.
    """
    rooms = table("rooms", "id int, title text", policy("(title ~ 'a'::text)", roles=["anon"]))
    posts = table("posts", "id int, room_id int", references=[("room_id", "rooms")], rls=False, grants=[])
    planset, columns = await compile_catalog(Rows(catalog(rooms, posts)), SETTINGS, ManualClock())
    assert logs == []
    await load(Rows(catalog(rooms, posts)), SETTINGS, roster(), ManualClock())

    assert columns == {"public.rooms": "id", "public.posts": "room_id"}
    assert planset.plans["public.rooms", "anon"].opaque
    assert [(line["event"], line["table"], line.get("role")) for line in logs] == [
        ("policy_asked", "public.rooms", "anon"),
        ("table_hidden", "public.posts", "authenticated"),
        ("table_hidden", "public.posts", "anon"),
        ("rls_disabled", "public.posts", None),
    ]


@pytest.mark.parametrize(("readers", "level"), [((), "warning"), (("authenticated",), "info")])
async def test_a_table_that_nobody_can_read_is_a_warning(
    logs: list[dict[str, object]], readers: tuple[str, ...], level: str
) -> None:
    """That anon reads nothing is usual."""
    grants = [Grant(role) for role in readers]
    posts = table("posts", "id int, room_id int", references=[("room_id", "rooms")], rls=False, grants=grants)
    await load(Rows(catalog(ROOMS, MEMBERS, posts)), SETTINGS, roster(), ManualClock())

    hidden = [line for line in logs if line["event"] == "table_hidden" and line["table"] == "public.posts"]
    assert {line["log_level"] for line in hidden} == {level}
    assert "anon" in {line["role"] for line in hidden}


async def test_a_missing_table_stops_the_start() -> None:
    """As the settings name it."""
    with pytest.raises(ConfigError, match=r"table public\.posts does not exist"):
        await load(Rows(catalog(ROOMS, MEMBERS)), SETTINGS, roster(), ManualClock())
