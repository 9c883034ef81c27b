-- The journal: every change of the watched tables as a row, so that whoever missed it can read it again.
--
-- Why: Supabase Realtime is at most once.  The journal gives changes a stable id, whole old rows, and a source to
-- fill gaps from; the bridge then subscribes to the INSERTs of this one table.
-- For tables of your own: select public.bridge_watch('public.your_table');  -- each table and look-up table
-- Needs: 20261123100100_publication.sql.
-- Locks: SHARE ROW EXCLUSIVE on the watched tables for the new triggers, for milliseconds; reads go on.
-- Costs: one more insert for each changed row (docs/performance of your writes: sql/README.md has figures).
-- Safe to run twice: yes.
-- Undo: select public.bridge_unwatch(w.name) from public.bridge_watched() as w (name);
--       alter publication supabase_realtime drop table bridge.journal;
--       drop function public.bridge_watch(text), public.bridge_unwatch(text), public.bridge_watched(),
--           public.bridge_journal_since(bigint, jsonb, integer), public.bridge_journal_before(double precision),
--           public.bridge_prune_journal(double precision);
--       drop schema bridge cascade;
begin;
set local lock_timeout = '2s';
set local search_path = '';

create schema if not exists bridge;
comment on schema bridge is 'The bridge''s own; nobody but service_role looks into it.';

create table if not exists bridge.journal (
    id bigint generated always as identity primary key,
    txid xid8 not null default pg_catalog.pg_current_xact_id(),
    relation text not null,
    action text not null,
    record text,                       -- JSON as text: what carries it needs not read it
    old_record text,
    recorded_at timestamptz not null default pg_catalog.clock_timestamp()
);
comment on table bridge.journal is
    'Changes of the watched tables.  Ids are handed out before commit, so a smaller id may appear later.';

-- The largest id that was ever pruned: who has read less than that has missed something.
create table if not exists bridge.journal_pruned (
    only_row boolean primary key default true check (only_row),
    id bigint not null
);
insert into bridge.journal_pruned (id) values (0) on conflict do nothing;

alter table bridge.journal enable row level security;          -- no policy: nobody but who bypasses RLS
alter table bridge.journal_pruned enable row level security;
revoke all on schema bridge from public, anon, authenticated;
revoke all on bridge.journal, bridge.journal_pruned from public, anon, authenticated;
grant usage on schema bridge to service_role;
grant select, delete on bridge.journal to service_role;
grant select, update on bridge.journal_pruned to service_role;

-- Runs with its owner's rights: who may write a row may not write the journal by hand.
create or replace function bridge.record_change() returns trigger
language plpgsql security definer
set search_path = ''
set timezone = 'UTC'                    -- what to_jsonb() prints must not depend on who writes
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = '1'
as $function$
begin
    insert into bridge.journal (relation, action, record, old_record)
    values (
        tg_argv[0],
        tg_op,
        case when tg_op in ('INSERT', 'UPDATE') then to_jsonb(new.*)::text end,
        case when tg_op in ('UPDATE', 'DELETE') then to_jsonb(old.*)::text end
    );
    return null;
end
$function$;
comment on function bridge.record_change() is 'Appends a row''s change to the journal; made a trigger by bridge_watch().';
revoke all on function bridge.record_change() from public, anon, authenticated, service_role;

create or replace function public.bridge_watch("table" text) returns text
language plpgsql
set search_path = ''
as $function$
declare
    relation regclass := to_regclass("table");
    qualified text;
begin
    if relation is null then
        raise exception 'table % does not exist', "table"
            using errcode = '42P01', hint = 'Give schema and name, like public.messages or public."Messages".';
    end if;
    select n.nspname || '.' || c.relname into qualified
    from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.oid = relation and c.relkind in ('r', 'p');
    if qualified is null then
        raise exception '% is not a table, so it has no changes', relation using errcode = '42809', hint = 'Watch the tables it reads.';
    end if;
    if relation = 'bridge.journal'::regclass then
        raise exception 'the journal cannot watch itself' using errcode = '22023', hint = 'Name a table of yours.';
    end if;
    if not exists (select from pg_catalog.pg_index where indrelid = relation and indisprimary) then
        raise exception 'table % has no primary key, so its rows cannot be told apart', relation
            using errcode = '55000', hint = 'Add a primary key, then watch it.';
    end if;
    if exists (select from pg_catalog.pg_trigger where tgrelid = relation and tgname = 'bridge_journal') then
        return format('%s is watched already', relation);
    end if;
    execute format(
        'create trigger bridge_journal after insert or update or delete on %s '
        'for each row execute function bridge.record_change(%L)', relation, qualified
    );
    execute format(
        'create trigger bridge_journal_truncate after truncate on %s '
        'for each statement execute function bridge.record_change(%L)', relation, qualified
    );
    -- Also for what logical replication or session_replication_role = replica writes: Realtime tells that too.
    execute format('alter table %s enable always trigger bridge_journal', relation);
    execute format('alter table %s enable always trigger bridge_journal_truncate', relation);
    return format('%s is watched', relation);
end
$function$;
comment on function public.bridge_watch(text) is
    'Has every change of a table appended to bridge.journal.  For the DBA.';

create or replace function public.bridge_unwatch("table" text) returns text
language plpgsql
set search_path = ''
as $function$
declare
    relation regclass := to_regclass("table");
begin
    if relation is null then
        raise exception 'table % does not exist', "table"
            using errcode = '42P01', hint = 'Give schema and name, like public.messages or public."Messages".';
    end if;
    execute format('drop trigger if exists bridge_journal on %s', relation);
    execute format('drop trigger if exists bridge_journal_truncate on %s', relation);
    return format('%s is not watched', relation);
end
$function$;
comment on function public.bridge_unwatch(text) is 'Takes a table out of the journal.  For the DBA.';

create or replace function public.bridge_watched() returns setof text
language sql stable
set search_path = ''
as $function$
    select t.tgrelid::regclass::text
    from pg_catalog.pg_trigger as t
    where t.tgname = 'bridge_journal' and not t.tgisinternal and t.tgparentid = 0
    order by 1
$function$;
comment on function public.bridge_watched() is 'The tables whose changes are journalled, as bridge_unwatch() takes them.';

-- What a reader has not seen, as of one snapshot.  A reader knows the ids up to "after" but for the "holes": ids that
-- it has not seen because they were not committed when it looked, or never will be.  Each hole is a pair [first, last].
-- "xmin" and "xmax" are the snapshot's: a hole that was still empty when all transactions below the "xmax" of its
-- discovery have ended ("xmin" has reached it) stays empty for ever.  "epoch" changes where ids may be handed out
-- again: a promoted standby, a restored backup.
create or replace function public.bridge_journal_since(after bigint, holes jsonb default '[]', max_rows integer default 10000)
returns text
language plpgsql stable
set search_path = ''
set timezone = 'UTC'
as $function$
declare
    snapshot pg_snapshot := pg_current_snapshot();
    answer text;
begin
    if after is null or max_rows is null or max_rows < 1 then
        raise exception 'after is %, max_rows is %', after, max_rows
            using errcode = '22023', hint = 'Give the last id that was read, 0 for none, and ask for at least one row.';
    end if;
    select json_build_object(
        'epoch', format('%s-%s', (select c.system_identifier from pg_catalog.pg_control_system() as c),
            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)),
        'xmin', pg_snapshot_xmin(snapshot)::text,
        'xmax', pg_snapshot_xmax(snapshot)::text,
        'pruned', (select p.id from bridge.journal_pruned as p),
        'rows', coalesce(
            json_agg(
                json_build_array(
                    r.id, r.relation, r.action, r.record, r.old_record,
                    to_char(r.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
                )
                order by r.id
            ),
            '[]'
        )
    )::text
    into answer
    from (
        select j.* from bridge.journal as j where j.id > after
        union all
        select j.* from jsonb_array_elements(holes) as h (hole)
        cross join lateral (
            select j.* from bridge.journal as j
            where j.id between (h.hole ->> 0)::bigint and (h.hole ->> 1)::bigint
        ) as j
        order by id
        limit max_rows
    ) as r;
    return answer;
end
$function$;
comment on function public.bridge_journal_since(bigint, jsonb, integer) is
    'Journal rows after an id and in the holes before it, with the snapshot they are of, as JSON text.';

create or replace function public.bridge_journal_before(age_s double precision) returns bigint
language sql stable
set search_path = ''
as $function$
    -- Ids and times rise together but for transactions that ran side by side: from the first young row on, in id order.
    select coalesce(
        (
            select j.id - 1 from bridge.journal as j
            where j.recorded_at >= clock_timestamp() - make_interval(secs => age_s)
            order by j.id limit 1
        ),
        (select j.id from bridge.journal as j order by j.id desc limit 1),
        (select p.id from bridge.journal_pruned as p)
    )
$function$;
comment on function public.bridge_journal_before(double precision) is
    'The id after which all rows of the last age_s seconds stand.';

create or replace function public.bridge_prune_journal(keep_s double precision default 86400) returns bigint
language plpgsql
set search_path = ''
as $function$
declare
    last_old bigint;
    removed bigint;
begin
    if keep_s is null or keep_s < 0 then
        raise exception 'keep_s is %', keep_s using errcode = '22023', hint = 'Give a number of seconds, 86400 for a day.';
    end if;
    perform from bridge.journal_pruned for update;  -- one at a time
    last_old := public.bridge_journal_before(keep_s);
    delete from bridge.journal where id <= last_old;
    get diagnostics removed = row_count;
    update bridge.journal_pruned set id = last_old where id < last_old and removed > 0;
    return removed;
end
$function$;
comment on function public.bridge_prune_journal(double precision) is
    'Deletes journal rows older than keep_s seconds and returns how many; call it every few minutes.';

revoke all on function public.bridge_watch(text), public.bridge_unwatch(text), public.bridge_watched(),
    public.bridge_journal_since(bigint, jsonb, integer), public.bridge_journal_before(double precision),
    public.bridge_prune_journal(double precision) from public, anon, authenticated, service_role;
grant execute on function public.bridge_watched(), public.bridge_journal_since(bigint, jsonb, integer),
    public.bridge_journal_before(double precision), public.bridge_prune_journal(double precision) to service_role;

do $migration$
declare
    name text;
    advice text;
begin
    raise notice '%', public.bridge_publish('bridge.journal');
    foreach name in array array['public.dialogs', 'public.dialog_participants', 'public.messages'] loop
        continue when not exists (select from pg_catalog.pg_class where oid = to_regclass(name) and relkind in ('r', 'p'));
        begin
            raise notice '%', public.bridge_watch(name);
        exception when object_not_in_prerequisite_state then
            get stacked diagnostics advice = pg_exception_hint;
            raise warning '% is not watched: %', name, sqlerrm using hint = advice;
        end;
    end loop;
end
$migration$;

do $verify$ begin                       -- fail here, not in production
    if has_schema_privilege('authenticated', 'bridge', 'usage')
        or has_table_privilege('authenticated', 'bridge.journal', 'select')
        or has_function_privilege('authenticated', 'public.bridge_journal_since(bigint, jsonb, integer)', 'execute')
        or has_function_privilege('anon', 'public.bridge_prune_journal(double precision)', 'execute')
    then
        raise exception 'the journal can be read by others than service_role'
            using hint = 'Revoke what default privileges granted.';
    end if;
end $verify$;
commit;
