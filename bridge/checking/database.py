"""What only the database itself tells: its clock, its limits, the triggers of the journal."""

import datetime as dt
from collections.abc import Iterator

import msgspec
import psycopg

from bridge.checking.report import Check, bad, ok, unchecked
from bridge.database import connect, first_line
from bridge.errors import SourceError
from bridge.identifiers import literal, quoted

GIBIBYTE = 2**30

SLOT_PUBLICATION = "bridge_journal"
"""What a slot of ours reads: the inserts into the journal."""

_FACTS = """
select jsonb_build_object(
    'now_s', extract(epoch from clock_timestamp()),
    'wal_level', current_setting('wal_level'),
    'max_slots', current_setting('max_replication_slots')::integer,
    'slots', (select count(*) from pg_catalog.pg_replication_slots),
    'idle_slots', (
        select coalesce(jsonb_agg(s.slot_name order by s.slot_name), '[]')
        from pg_catalog.pg_replication_slots as s where not s.active and not s.temporary
    ),
    'retained_bytes', case when pg_is_in_recovery() then 0 else (
        select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)), 0)
        from pg_catalog.pg_replication_slots as s where not s.active
    ) end,
    'kept_mb', (
        select s.setting::integer from pg_catalog.pg_settings as s where s.name = 'max_slot_wal_keep_size'
    ),
    'published', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'name', t.pubname,
            'inserts', p.pubinsert,
            -- rowfilter and attnames are columns since Postgres 15
            'partly', to_jsonb(t) ->> 'rowfilter' is not null or coalesce(
                jsonb_array_length(to_jsonb(t) -> 'attnames') < (
                    select count(*) from pg_catalog.pg_attribute as a
                    where a.attrelid = to_regclass('bridge.journal') and a.attnum > 0 and not a.attisdropped
                ), false
            )
        ) order by t.pubname), '[]')
        from pg_catalog.pg_publication_tables as t
        join pg_catalog.pg_publication as p on p.pubname = t.pubname
        where (t.schemaname, t.tablename) = ('bridge', 'journal')
    ),
    'watched', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'table', format('%I.%I', n.nspname, c.relname),
            'off', exists (
                select from pg_catalog.pg_trigger as g
                where g.tgname = '!bridge_journal' and g.tgenabled not in ('O', 'A') and (
                    g.tgrelid = c.oid
                    or g.tgrelid in (select p.relid from pg_catalog.pg_partition_tree(c.oid) as p)
                )
            ),
            'skips_replicas', exists (
                select from pg_catalog.pg_trigger as g
                where g.tgname in ('!bridge_journal', '!bridge_journal_truncate') and g.tgenabled = 'O' and (
                    g.tgrelid = c.oid
                    or g.tgrelid in (select p.relid from pg_catalog.pg_partition_tree(c.oid) as p)
                )
            ),
            'untold', exists (
                select from (
                    select c.oid as relid union
                    select p.relid from pg_catalog.pg_partition_tree(c.oid) as p
                    join pg_catalog.pg_class as k on k.oid = p.relid and k.relkind in ('r', 'p')
                ) as part
                where not exists (
                    select from pg_catalog.pg_trigger as g
                    where g.tgrelid = part.relid and g.tgname = '!bridge_journal_truncate'
                      and g.tgenabled in ('O', 'A')
                )
            )
        ) order by n.nspname, c.relname), '[]')
        from pg_catalog.pg_trigger as t
        join pg_catalog.pg_class as c on c.oid = t.tgrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where t.tgname = '!bridge_journal' and t.tgparentid = 0
    )
)::text, has_function_privilege(to_regprocedure('public.bridge_catalog_marker()'), 'execute')
"""


class Watched(msgspec.Struct, frozen=True):
    """A table with the journal's trigger.

    Attributes:
        table: Its name, as SQL has it.
        off: One of them is disabled.
        skips_replicas: One is enabled, but not ``always``.
        untold: A TRUNCATE goes untold.
    """

    table: str
    off: bool
    skips_replicas: bool
    untold: bool


class Published(msgspec.Struct, frozen=True):
    """A publication with the journal: whether it has inserts, and leaves out rows or columns."""

    name: str
    inserts: bool
    partly: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of itself; sizes as their names say, -1 for no limit.

    Attributes:
        marker: Of its catalog; None where the bridge's functions are missing, empty where we may not ask.
    """

    now_s: float
    wal_level: str
    max_slots: int
    slots: int
    idle_slots: list[str]
    retained_bytes: float
    kept_mb: int | None
    marker: str | None = None
    published: list[Published] = []
    watched: list[Watched]


async def read_facts(url: str) -> Facts:
    """Ask the database of ``SUPABASE_DB_URL``; changes nothing.

    Raises:
        SourceError: it cannot be reached, or refuses.
    """
    connection = await connect(url, autocommit=True)
    try:
        row = await (await connection.execute(_FACTS)).fetchone()
        facts = msgspec.json.decode(row[0] if row else "", type=Facts)
        may_ask = row[1] if row else None  # None where there is no such function
        if may_ask:
            row = await (await connection.execute("select public.bridge_catalog_marker()")).fetchone()
            facts = msgspec.structs.replace(facts, marker=row[0] if row else None)
        elif may_ask is not None:
            facts = msgspec.structs.replace(facts, marker="")
    except psycopg.Error as error:
        says = f"the database refused ({error.sqlstate}: {first_line(error)})"
        raise SourceError(f"{says}: connect as the role postgres of the project") from None
    else:
        return facts
    finally:
        await connection.close()


def when(facts: Facts) -> dt.datetime:
    """Return the time of the database's clock."""
    return dt.datetime.fromtimestamp(facts.now_s, dt.UTC)


def check_database(facts: Facts, marker: str | None) -> Check:
    """Judge whether it is the database that the project's API answers from, by the marker that it gave."""
    if marker is not None and facts.marker not in (marker, ""):
        says = "SUPABASE_DB_URL leads to another database than SUPABASE_URL: their catalogs differ"
        fix = "export SUPABASE_DB_URL=...   # the dashboard of this project: Connect, Direct connection"
        return bad("database", says, fix, "shell")
    return ok("database", "SUPABASE_DB_URL answers")


def check_wal(facts: Facts, *, over_wal: bool) -> Iterator[Check]:
    """Judge the limits of replication, which Realtime needs as well.

    Args:
        facts: What the database says.
        over_wal: Changes travel by a slot of ours.
    """
    if facts.wal_level != "logical":
        fix = "alter system set wal_level = 'logical';   -- then restart Postgres"
        yield bad("wal_level", f"wal_level is {facts.wal_level}, so nothing can be decoded", fix, "sql")
    else:
        yield ok("wal_level", "logical")
    drop = "\n".join(
        f"select pg_drop_replication_slot('{name}');   -- if nobody needs it" for name in facts.idle_slots
    )
    used = f"{facts.slots} of {facts.max_slots} replication slots are in use"
    if facts.slots >= facts.max_slots:
        fix = (
            drop
            or f"alter system set max_replication_slots = {facts.max_slots + 10};   -- then restart Postgres"
        )
        yield bad("slots", f"{used}: the next reader gets none", fix, "sql", status="warning")
    elif facts.retained_bytes > GIBIBYTE:
        kept = f"{facts.retained_bytes / GIBIBYTE:.1f} GiB of WAL"
        says = f"slots that nobody reads keep {kept}: {', '.join(facts.idle_slots)}"
        yield bad("slots", says, drop, "sql", status="warning")
    else:
        yield ok("slots", used)
    yield _check_kept(facts, over_wal=over_wal)


def _check_kept(facts: Facts, *, over_wal: bool) -> Check:
    kept = facts.kept_mb
    fix = "alter system set max_slot_wal_keep_size = '4GB';\nselect pg_reload_conf();"
    if kept is None:
        return unchecked("wal_kept", "this Postgres has no max_slot_wal_keep_size")
    if kept < 0 and (over_wal or facts.idle_slots):
        says = "max_slot_wal_keep_size has no limit: a reader that is slow, or gone, fills the disk"
        return bad("wal_kept", says, fix, "sql", status="warning")
    if 0 <= kept < 512 and over_wal:  # noqa: PLR2004 - megabytes: half a minute of heavy writing
        says = f"max_slot_wal_keep_size is {kept} MB: a worker that is slow for a moment loses its slot"
        return bad("wal_kept", says, fix, "sql", status="warning")
    return ok("wal_kept", "without limit" if kept < 0 else f"max_slot_wal_keep_size is {kept} MB")


def check_triggers(facts: Facts) -> Iterator[Check]:
    """Judge the triggers that write the journal."""
    for watched in facts.watched:
        fix = f"select public.bridge_watch({literal(watched.table)});"
        if watched.off:
            says = "the journal's trigger is disabled, so changes go untold"
            yield bad("triggers", says, fix, "sql", subject=watched.table)
        elif watched.skips_replicas:
            says = (
                "the journal's trigger is not enabled always (`enable trigger user` does that), so what is "
                "written under session_replication_role = replica goes untold"
            )
            yield bad("triggers", says, fix, "sql", subject=watched.table)
        elif watched.untold:
            yield bad(
                "triggers", "a TRUNCATE would go untold", fix, "sql", subject=watched.table, status="warning"
            )
    if facts.watched and not any(w.off or w.skips_replicas or w.untold for w in facts.watched):
        yield ok("triggers", f"{len(facts.watched)} tables are journalled")


def check_published(facts: Facts, *, publication: str) -> Iterator[Check]:
    """Judge whether the publication that changes travel by has all of the journal; others say if none."""
    published = next((one for one in facts.published if one.name == publication), None)
    if published is None or (published.inserts and not published.partly):
        return
    name = quoted(publication)
    actions = "insert" if publication == SLOT_PUBLICATION else "insert, update, delete, truncate"
    if not published.inserts:
        says = f"publication {publication} has no inserts, so what is journalled does not travel"
        yield bad(
            "captured",
            says,
            f"alter publication {name} set (publish = '{actions}');",
            "sql",
            subject="bridge.journal",
        )
    if published.partly:
        says = f"publication {publication} leaves out rows or columns of it"
        fix = (
            f"alter publication {name} drop table bridge.journal;\n"
            f"alter publication {name} add table bridge.journal;"
        )
        yield bad("captured", says, fix, "sql", subject="bridge.journal")
