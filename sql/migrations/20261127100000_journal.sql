-- The journal: every change of the watched tables as a row, so that whoever missed it can read it again.
--
-- Part of the Supabase Realtime bridge: `bridge migrate` knows it by this line.
-- Why: Supabase Realtime is at most once.  The journal gives changes a stable id, whole old rows, and a source to
--   fill gaps from; the bridge then subscribes to the INSERTs of this one table.
-- For tables of your own: select public.bridge_watch('public.your_table');  -- each table and look-up table
-- Needs: 20261123100100_publication.sql.
-- Locks: SHARE ROW EXCLUSIVE on the watched tables for the new triggers, for milliseconds; reads go on.  ACCESS EXCLUSIVE
--   on a journal that lacks a column, once: whoever writes a watched table waits for the end of this file.
-- Costs: one more insert for each changed row; figures, and how long rows are kept: sql/README.md.
-- Checked: tests/sql/test_journal.py, test_journal_reading.py, test_journal_pruning.py.
-- Safe to run twice: yes.
-- Undo: sql/undo/20261127100000_journal.sql
begin;
set local lock_timeout = '2s';          -- give up rather than queue behind a long write
set local search_path = '';

create schema if not exists bridge;
comment on schema bridge is 'The bridge''s own; nobody but the worker looks into it.';

create table if not exists bridge.journal (
    id bigint generated always as identity primary key,
    txid xid8 not null default pg_catalog.pg_current_xact_id(),
    relation text not null,
    action text not null,
    record text,                        -- JSON as text: what carries it needs not read it
    old_record text,
    recorded_at timestamptz not null default pg_catalog.clock_timestamp(),
    relation_oid bigint                 -- no oid, which Realtime tells as text
);
comment on table bridge.journal is
    'Changes of the watched tables.  Ids are handed out before commit, so a smaller id may appear later.  Rows go by '
    'bridge_prune_journal() or TRUNCATE, which readers notice; not by DELETE, which they do not.';
comment on column bridge.journal.relation is
    'schema.table as of the change, without quotes; of a partition, the partitioned table that is watched.';
-- A journal of before it had the column.  Not where it is there already, for the reason below.
do $oid$
begin
    if not exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'bridge.journal'::regclass and attname = 'relation_oid' and not attisdropped
    ) then
        alter table bridge.journal add column relation_oid bigint;
    end if;
end $oid$;
comment on column bridge.journal.relation_oid is
    'Which table has that name, in this database: another one may be given it, or one that is written the same without '
    'quotes ("a.b".c and a."b.c").  Null in rows of before there was this column.';
comment on column bridge.journal.action is
    'INSERT, UPDATE, DELETE, or TRUNCATE: rows are gone without a row for each of them.';

-- The largest id that was ever pruned: who has not read all up to that may have missed something.
create table if not exists bridge.journal_pruned (
    only_row boolean primary key default true check (only_row),
    id bigint not null
);
insert into bridge.journal_pruned (id) values (0) on conflict do nothing;
comment on table bridge.journal_pruned is 'The largest id that bridge_prune_journal() has deleted.';

-- No policy: nobody but who bypasses RLS.  Not where it is on already: that takes ACCESS EXCLUSIVE, and whoever writes a
-- watched table would wait with this file for the journal's readers.
do $rls$
declare
    name regclass;
begin
    for name in
        select c.oid::regclass from pg_catalog.pg_class as c
        where c.oid in ('bridge.journal'::regclass, 'bridge.journal_pruned'::regclass) and not c.relrowsecurity
    loop
        execute format('alter table %s enable row level security', name);
    end loop;
end $rls$;
revoke all on schema bridge from public, anon, authenticated, service_role;
revoke all on bridge.journal, bridge.journal_pruned from public, anon, authenticated, service_role;
grant usage on schema bridge to service_role;
grant select on bridge.journal, bridge.journal_pruned to service_role;

-- Runs with its owner's rights: who may write a row may not write the journal by hand.  pg_temp, which comes first where it is
-- not named, comes last in all that do: a type of the writer's own called text would have its checks run with these rights.
create or replace function bridge.record_change() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'                    -- what to_jsonb() prints must not depend on who writes: times,
set datestyle = 'ISO'                   -- ranges of dates,
set intervalstyle = 'postgres'          -- intervals,
set bytea_output = 'hex'
set extra_float_digits = '1'            -- and floats
as $function$
declare
    -- Not an argument of the trigger: a table may be renamed.
    relation text := tg_table_schema || '.' || tg_table_name;
    relation_oid bigint := tg_relid;
    whole text;
    whole_oid bigint;
begin
    if tg_nargs > 0 then
        -- A partition has a copy of the trigger; who watches knows the table that the copy is of.
        select n.nspname || '.' || c.relname, c.oid into whole, whole_oid
        from pg_catalog.pg_partition_ancestors(tg_relid) as a
        join pg_catalog.pg_trigger as t on t.tgrelid = a.relid and t.tgname = '!bridge_journal' and t.tgparentid = 0
        join pg_catalog.pg_class as c on c.oid = a.relid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace;
        relation := coalesce(whole, relation);  -- its own once it is detached
        relation_oid := coalesce(whole_oid, relation_oid);
    end if;
    -- The id is taken after the transaction has its own id, because what fires this has written: readers rely on it.
    insert into bridge.journal (relation, action, record, old_record, relation_oid)
    values (
        relation,
        tg_op,
        case when tg_op in ('INSERT', 'UPDATE') then to_jsonb(new.*)::text end,
        case when tg_op in ('UPDATE', 'DELETE') then to_jsonb(old.*)::text end,
        relation_oid
    );
    return null;
end
$function$;
comment on function bridge.record_change() is 'Appends a row''s change to the journal; made a trigger by bridge_watch().';

-- The triggers are called "!bridge_journal", so that they fire before all others: Postgres goes by name.  A trigger that
-- fires earlier and writes the same row again, or a foreign key that cascades, would have its later change recorded
-- first.  What stays is a trigger that, in a statement of several rows, writes another one of these rows.
create or replace function public.bridge_watch("table" text) returns text
language plpgsql
set search_path = ''
set lock_timeout = '2s'                 -- also when a DBA calls it by hand
as $function$
declare
    relation regclass := to_regclass("table");
    spelt regclass := case when "table" ~ '^[^".]+[.][^".]+$' then  -- without the quotes that SQL wants
        to_regclass(format('%I.%I', split_part("table", '.', 1), split_part("table", '.', 2))) end;
    kind "char";
    part record;
    schema_name name;
    changed boolean := false;
begin
    if relation <> spelt then
        raise exception '% may be % or %', "table", relation, spelt
            using errcode = '42P09', hint = 'Write one of them like that.';
    end if;
    relation := coalesce(relation, spelt);
    if relation is null then
        raise exception 'table % does not exist', "table"
            using errcode = '42P01', hint = 'Give schema and name, like public.messages or public."Messages".';
    end if;
    select c.relkind into kind from pg_catalog.pg_class as c
    where c.oid = relation and c.relkind in ('r', 'p') and c.relpersistence <> 't';
    if kind is null then
        raise exception '% is not a table that all sessions see, so it has no changes to tell', relation
            using errcode = '42809', hint = 'Of a view, watch the tables that it reads.';
    end if;
    if exists (select from pg_catalog.pg_class where oid = relation and relnamespace = 'bridge'::regnamespace) then
        raise exception 'the journal cannot watch itself' using errcode = '22023', hint = 'Name a table of yours.';
    end if;
    if not exists (select from pg_catalog.pg_index where indrelid = relation and indisprimary) then
        raise exception 'table % has no primary key, so its rows cannot be told apart', relation
            using errcode = '55000', hint = 'Add a primary key, then watch it.';
    end if;
    for part in
        select t.tgrelid::regclass as name, a.relid is not null as above
        from pg_catalog.pg_trigger as t
        left join pg_catalog.pg_partition_ancestors(relation) as a on a.relid = t.tgrelid
        left join pg_catalog.pg_partition_tree(relation) as p on p.relid = t.tgrelid
        where t.tgname = '!bridge_journal' and t.tgparentid = 0 and t.tgrelid <> relation
          and (a.relid is not null or p.relid is not null)
    loop
        if part.above then
            return format('%s is watched already, as a part of %s', relation, part.name);
        end if;
        raise exception '% is a partition of % and watched by itself', part.name, relation
            using errcode = '55000', hint = format('select public.bridge_unwatch(%L), then watch the whole.', part.name);
    end loop;
    if not exists (select from pg_catalog.pg_trigger where tgrelid = relation and tgname = '!bridge_journal') then
        execute format(
            'create trigger "!bridge_journal" after insert or update or delete on %s '
            'for each row execute function bridge.record_change(%s)',
            relation, case kind when 'p' then '''partitioned''' else '' end
        );
        changed := true;
    end if;
    -- Triggers of statements are not copied to partitions, and a partition can be truncated by itself.
    for part in
        select relation as name union
        select p.relid::regclass from pg_catalog.pg_partition_tree(relation) as p
        join pg_catalog.pg_class as c on c.oid = p.relid and c.relkind in ('r', 'p')
    loop
        if not exists (select from pg_catalog.pg_trigger where tgrelid = part.name and tgname = '!bridge_journal_truncate') then
            execute format(
                'create trigger "!bridge_journal_truncate" after truncate on %s '
                'for each statement execute function bridge.record_change(%s)',
                part.name, case kind when 'p' then '''partitioned''' else '' end
            );
            changed := true;
        end if;
    end loop;
    -- Also for what logical replication or session_replication_role = replica writes: Realtime tells that too.
    for part in
        select t.tgrelid::regclass as name, t.tgname as trigger
        from pg_catalog.pg_trigger as t
        where t.tgname in ('!bridge_journal', '!bridge_journal_truncate') and t.tgenabled <> 'A'
          and (t.tgrelid = relation or t.tgrelid in (select p.relid from pg_catalog.pg_partition_tree(relation) as p))
    loop
        execute format('alter table %s enable always trigger %I', part.name, part.trigger);
        changed := true;
    end loop;
    -- What the worker's own role reads, if there is one: 20261127110000_worker_role.sql.
    if exists (select from pg_catalog.pg_roles where rolname = 'bridge_worker') then
        select n.nspname into schema_name
        from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where c.oid = relation;
        if not has_schema_privilege('bridge_worker', schema_name, 'usage') then
            execute format('grant usage on schema %I to bridge_worker', schema_name);
        end if;
        execute format('grant select on %s to bridge_worker', relation);
    end if;
    return format(case when changed then '%s is watched' else '%s is watched already' end, relation);
end
$function$;
comment on function public.bridge_watch(text) is
    'Has every change of a table appended to bridge.journal, and lets bridge_worker read it.  Of a partitioned table, call '
    'it again after a partition was added, for its TRUNCATE.  For the DBA.';

create or replace function public.bridge_unwatch("table" text) returns text
language plpgsql
set search_path = ''
set lock_timeout = '2s'
as $function$
declare
    relation regclass := to_regclass("table");
    spelt regclass := case when "table" ~ '^[^".]+[.][^".]+$' then  -- without the quotes that SQL wants
        to_regclass(format('%I.%I', split_part("table", '.', 1), split_part("table", '.', 2))) end;
    part regclass;
begin
    if relation <> spelt then
        raise exception '% may be % or %', "table", relation, spelt
            using errcode = '42P09', hint = 'Write one of them like that.';
    end if;
    relation := coalesce(relation, spelt);
    if relation is null then
        raise exception 'table % does not exist', "table"
            using errcode = '42P01', hint = 'Give schema and name, like public.messages or public."Messages".';
    end if;
    if exists (select from pg_catalog.pg_trigger where tgrelid = relation and tgname = '!bridge_journal' and tgparentid <> 0) then
        raise exception '% is watched as a partition', relation
            using errcode = '55000', hint = 'Give the partitioned table, or detach the partition.';
    end if;
    for part in
        select t.tgrelid::regclass from pg_catalog.pg_trigger as t
        where t.tgname = '!bridge_journal_truncate'
          and (t.tgrelid = relation or t.tgrelid in (select p.relid from pg_catalog.pg_partition_tree(relation) as p))
    loop
        execute format('drop trigger "!bridge_journal_truncate" on %s', part);
    end loop;
    execute format('drop trigger if exists "!bridge_journal" on %s', relation);
    if exists (select from pg_catalog.pg_roles where rolname = 'bridge_worker') then
        execute format('revoke select on %s from bridge_worker', relation);
    end if;
    return format('%s is not watched', relation);
end
$function$;
comment on function public.bridge_unwatch(text) is 'Takes a table out of the journal, and its rows from bridge_worker.  For the DBA.';

create or replace function public.bridge_watched() returns table (name text, quoted text)
language sql stable
set search_path = ''
as $function$
    select n.nspname || '.' || c.relname, format('%I.%I', n.nspname, c.relname)
    from pg_catalog.pg_trigger as t
    join pg_catalog.pg_class as c on c.oid = t.tgrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where t.tgname = '!bridge_journal' and t.tgparentid = 0
    order by 1
$function$;
comment on function public.bridge_watched() is
    'The tables whose changes are journalled: by the name that the journal and bridge_catalog() have, and quoted as '
    'bridge_unwatch() takes it.';

-- What a reader has not seen, as of one snapshot.  The protocol, which loses nothing and reads nothing twice:
--   A reader has all ids up to "after" but for the "holes" before it: ids that were not there when it looked.  Each hole
--   is a pair [first, last].  Most are filled a moment later, those of transactions that were rolled back never are.
--   It notes the "xmax" of the first answer in which a hole was empty.  A hole that is still empty in a later answer whose
--   "xmin" has reached that number stays empty for ever, and is closed.
--   "pruned" is the largest id that was deleted.  Who, after taking the rows and before closing holes, is not past it, or
--   has a hole at or before it, may have missed something and has to begin anew.
--   "epoch" is another one where ids may be handed out again or rows have gone without pruning: a promoted standby, a
--   restored backup, a TRUNCATE of the journal.  What was read of another epoch means nothing.
--   "more" is true where the page was cut, by "max_rows" or because it would be larger than 16 MB.
create or replace function public.bridge_journal_since(after bigint, holes jsonb default '[]', max_rows integer default 10000)
returns text
language plpgsql stable
set search_path = ''
set timezone = 'UTC'
as $function$
declare
    snapshot pg_snapshot := pg_current_snapshot();
    next_xid bigint := pg_snapshot_xmax(snapshot)::text::bigint;
    page json;
    last_id bigint;
    found bigint;
    kept bigint;
    kept_after bigint;
begin
    if after is null or holes is null or max_rows is null or max_rows < 1 then
        raise exception 'after is %, holes is %, max_rows is %', after, holes, max_rows
            using errcode = '22023', hint = 'Give the last id that was read, 0 for none, and ask for at least one row.';
    end if;
    select
        coalesce(
            json_agg(
                json_build_array(
                    r.id, r.relation, r.action, r.record, r.old_record,
                    to_char(r.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), r.txid::text,
                    false, 0, r.relation_oid    -- two that only a stream can tell: a worker knows each by its place
                )
                order by r.id
            ) filter (where r.bytes_before < 16777216),
            '[]'
        ),
        count(*),
        count(*) filter (where r.bytes_before < 16777216),
        count(*) filter (where r.bytes_before < 16777216 and r.id > after),
        max(r.id) filter (where r.bytes_before < 16777216)
    into page, found, kept, kept_after, last_id
    from (
        select j.*, coalesce(
            sum(coalesce(octet_length(j.record), 0) + coalesce(octet_length(j.old_record), 0))
                over (order by j.id rows between unbounded preceding and 1 preceding), 0
        ) as bytes_before
        from (
            (select j.* from bridge.journal as j where j.id > after order by j.id limit max_rows)
            union all
            (
                select j.* from jsonb_array_elements(holes) as h (hole)
                cross join lateral (
                    -- With an order and a limit of its own each hole is looked up in the index.  Without, the planner
                    -- walks the whole journal for the order of all, and compares each row with each hole.
                    select j.* from bridge.journal as j
                    where j.id between (h.hole ->> 0)::bigint and least((h.hole ->> 1)::bigint, after)
                    order by j.id limit max_rows
                ) as j
                order by j.id limit max_rows
            )
            order by id limit max_rows
        ) as j
    ) as r;
    if holes <> '[]' or kept_after < greatest(last_id, after) - after then
        -- Something is missing.  A snapshot's xmax is one past the last transaction that has ended, not the last that has
        -- begun: whose id is missing may be beyond it, and a reader would close the hole under a transaction that runs.
        -- Each transaction holds a lock on its id from before it takes a row's id until after it has ended.  The
        -- lock has 32 bits of the id, which are less than 2^31 away from the snapshot's.
        select greatest(next_xid, max(
            next_xid + 1 - 2147483648
            + (l.transactionid::text::bigint - next_xid % 4294967296 + 4294967296 + 2147483648) % 4294967296
        )) into next_xid
        from pg_catalog.pg_locks as l
        where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted;
    end if;
    return json_build_object(
        'epoch', format(
            '%s-%s-%s',
            (select c.system_identifier from pg_catalog.pg_control_system() as c),
            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
            pg_relation_filenode('bridge.journal')
        ),
        'xmin', pg_snapshot_xmin(snapshot)::text,
        'xmax', next_xid::text,
        'pruned', (select p.id from bridge.journal_pruned as p),
        'more', kept = max_rows or kept < found,
        'rows', page
    )::text;
end
$function$;
comment on function public.bridge_journal_since(bigint, jsonb, integer) is
    'Journal rows after an id and in the holes before it, with the snapshot they are of, as JSON text.';

-- The ids after one that no row has, of all that a reader starts with: most of them never will, and a reader that knows
-- which ones, after a look at them by the protocol above, need not carry them along.
create or replace function public.bridge_journal_holes(after bigint) returns text
language sql stable
set search_path = ''
as $function$
    select json_build_object(
        'last', coalesce(max(j.id), after),
        'holes', coalesce(json_agg(json_build_array(j.before + 1, j.id - 1) order by j.id) filter (where j.before + 1 < j.id), '[]')
    )::text
    from (select k.id, lag(k.id, 1, after) over (order by k.id) as before from bridge.journal as k where k.id > after) as j
$function$;
comment on function public.bridge_journal_holes(bigint) is
    'The last id of the journal, and the ids between a given one and that which no row has, as JSON text.';

-- The largest id at which all that was recorded since then is still to come, also from transactions that still run.
-- Ids and times rise together: both are taken within one insert, by a clock that does not wait for the commit.  So the
-- boundary is found by halving.  A transaction that runs has recorded nothing before it began, hence nothing before the
-- last id that was recorded before that.
create or replace function bridge.journal_horizon(since timestamptz) returns bigint
language plpgsql security definer       -- for xact_start of others, which takes pg_read_all_stats
set search_path = pg_catalog, pg_temp
as $function$
declare
    low bigint;                         -- nothing up to here is younger than "since"
    high bigint;                        -- the row here is
    middle bigint;
    probe record;
begin
    perform pg_stat_clear_snapshot();   -- the transactions of now, not of an earlier look
    since := least(
        since,
        -- An hour where we may not see since when, or cannot: a prepared one.
        (
            select min(coalesce(a.xact_start, clock_timestamp() - interval '1 hour')) from pg_catalog.pg_stat_activity as a
            where a.backend_xid is not null and a.datname = current_database()
        ),
        (
            select min(p.prepared - interval '1 hour') from pg_catalog.pg_prepared_xacts as p
            where p.database = current_database()
        )
    );
    select p.id into low from bridge.journal_pruned as p;
    select j.id, j.recorded_at into probe from bridge.journal as j order by j.id desc limit 1;
    if probe.id is null or probe.recorded_at < since then
        return greatest(probe.id, low);
    end if;
    high := probe.id;
    while low + 1 < high loop
        middle := low + (high - low) / 2;
        select j.id, j.recorded_at into probe from bridge.journal as j where j.id >= middle order by j.id limit 1;
        if probe.recorded_at < since then
            low := probe.id;
        else
            high := middle;             -- up to the row that was found there is none
        end if;
    end loop;
    return low;
end
$function$;
comment on function bridge.journal_horizon(timestamptz) is
    'The id after which everything stands that was recorded since then, or may yet be committed.';

create or replace function public.bridge_journal_before(age_s double precision) returns bigint
language plpgsql
set search_path = ''
as $function$
begin
    if age_s is null or not age_s between 0 and 1e9 then
        raise exception 'age_s is %', age_s using errcode = '22023', hint = 'Give a number of seconds, 300 for five minutes.';
    end if;
    -- What was committed in that time may have been recorded before: two minutes are allowed for.  What is not committed
    -- yet is after the id however long it takes.
    return bridge.journal_horizon(clock_timestamp() - make_interval(secs => age_s + 120));
end
$function$;
comment on function public.bridge_journal_before(double precision) is
    'An id after which all rows stand that were committed in the last age_s seconds, or are not committed yet.';

-- Deletes a prefix of ids, so that one number says what is gone; what may yet be committed holds it back.
create or replace function public.bridge_prune_journal(keep_s double precision default 86400) returns bigint
language plpgsql security definer       -- nobody may delete rows but by age
set search_path = pg_catalog, pg_temp
as $function$
declare
    last_old bigint;
    first_id bigint;
    last_gone bigint;
    removed bigint;
begin
    if keep_s is null or not keep_s between 0 and 1e9 then
        raise exception 'keep_s is %', keep_s using errcode = '22023', hint = 'Give a number of seconds, 86400 for a day.';
    end if;
    -- Before this transaction has an id of its own, which would hold the horizon back.
    last_old := bridge.journal_horizon(clock_timestamp() - make_interval(secs => keep_s));
    perform from bridge.journal_pruned for update skip locked;
    if not found then
        return 0;                       -- another one is at it
    end if;
    -- Realtime reads deleted rows too, 1,500 a second or so, and delays changes meanwhile: a tenth of what is due, so
    -- that a backlog shrinks and never grows without bound.
    select min(j.id) into first_id from bridge.journal as j;
    last_old := least(last_old, first_id + greatest(20000, (last_old - first_id) / 10));
    with gone as (delete from bridge.journal where id <= last_old returning id)
    select count(*), max(id) into removed, last_gone from gone;
    update bridge.journal_pruned set id = last_gone where id < last_gone;
    return removed;
end
$function$;
comment on function public.bridge_prune_journal(double precision) is
    'Deletes rows older than keep_s seconds, at most 20,000 or a tenth of them, and returns how many; call it every minute.';

-- Supabase's default privileges give EXECUTE to anon and authenticated: take it back by name.
revoke all on function bridge.record_change(), bridge.journal_horizon(timestamptz)
    from public, anon, authenticated, service_role;
revoke all on function public.bridge_watch(text), public.bridge_unwatch(text), public.bridge_watched(),
    public.bridge_journal_since(bigint, jsonb, integer), public.bridge_journal_holes(bigint),
    public.bridge_journal_before(double precision), public.bridge_prune_journal(double precision) from public, anon, authenticated, service_role;
grant execute on function bridge.journal_horizon(timestamptz), public.bridge_watched(),
    public.bridge_journal_since(bigint, jsonb, integer), public.bridge_journal_holes(bigint),
    public.bridge_journal_before(double precision), public.bridge_prune_journal(double precision) to service_role;

do $migration$
declare
    name text;
    advice text;
begin
    raise notice '%', public.bridge_publish('bridge.journal');
    -- For logical replication without Realtime (BRIDGE_UPSTREAM=wal): the journal's inserts and nothing else.
    if not exists (select from pg_catalog.pg_publication where pubname = 'bridge_journal') then
        create publication bridge_journal for table bridge.journal with (publish = 'insert');
    end if;
    foreach name in array array['public.dialogs', 'public.dialog_participants', 'public.messages'] loop
        continue when coalesce(pg_catalog.obj_description(to_regclass(name), 'pg_class'), '')
            not like 'Reference schema of the Supabase Realtime bridge.%';
        begin
            raise notice '%', public.bridge_watch(name);
        exception
            when lock_not_available then raise;  -- of the same class as what follows, which would catch it
            when object_not_in_prerequisite_state then
                get stacked diagnostics advice = pg_exception_hint;
                raise warning '% is not watched: %', name, sqlerrm using hint = advice;
        end;
    end loop;
    if not exists (select from public.bridge_watched()) then
        raise notice 'no table is watched yet'
            using hint = 'select public.bridge_watch(''public.your_table''); for each table to relay, and each that their policies read.';
    end if;
end
$migration$;

do $schedule$
begin
    -- Not by their types: the name of a job is text or name, as pg_cron is newer or older.
    if not exists (
        select from pg_catalog.pg_proc as f join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
        where n.nspname = 'cron' and f.proname = 'schedule' and f.pronargs = 3
    ) then
        raise notice 'there is no pg_cron: the worker prunes the journal'
            using hint = 'To have the database do it, create extension pg_cron and apply this file again.';
    elsif exists (select from cron.job as j where j.jobname = 'bridge_prune_journal') then
        raise notice 'the journal is pruned by pg_cron already';    -- with the schedule and age that somebody may have set
    else
        perform cron.schedule('bridge_prune_journal', '* * * * *', 'select public.bridge_prune_journal()');
        raise notice 'the journal is pruned by pg_cron, every minute';
    end if;
exception when insufficient_privilege then
    raise warning 'pg_cron may not be used (%): the worker prunes the journal', sqlerrm
        using hint = 'Apply this file again as a role that may call cron.schedule().';
end
$schedule$;

do $verify$ begin                       -- fail here, not in production
    if has_schema_privilege('authenticated', 'bridge', 'usage')
        or has_table_privilege('authenticated', 'bridge.journal', 'select')
        or has_table_privilege('service_role', 'bridge.journal', 'delete')
        or has_function_privilege('authenticated', 'public.bridge_journal_since(bigint, jsonb, integer)', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_watch(text)', 'execute')
        or has_function_privilege('anon', 'public.bridge_prune_journal(double precision)', 'execute')
    then
        raise exception 'the journal can be read or written by others than service_role'
            using hint = 'Revoke what default privileges granted.';
    end if;
end $verify$;
commit;
