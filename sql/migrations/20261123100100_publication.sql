-- The publication that Supabase Realtime reads, with the tables of the reference schema in it.
--
-- Part of the Supabase Realtime bridge: `bridge migrate` knows it by this line.
-- Why: a table that is not in publication supabase_realtime gives no events, without any sign.
-- For tables of your own: select public.bridge_publish('public.your_table');  -- each table and look-up table
--   They are not published unasked: where one has no row-level security, everybody with the key would get its changes.
-- Needs: wal_level = logical (every Supabase project has it).
-- Locks: SHARE UPDATE EXCLUSIVE on the tables, for milliseconds; reads and writes go on.
-- Safe to run twice: yes.
-- Undo: sql/undo/20261123100100_publication.sql
begin;
set local lock_timeout = '2s';
set local search_path = '';

create or replace function public.bridge_publish("table" text) returns text
language plpgsql
set search_path = ''
set lock_timeout = '2s'                 -- also when a DBA calls it by hand
as $function$
declare
    relation regclass := to_regclass("table");
    spelt regclass := case when "table" ~ '^[^".]+[.][^".]+$' then  -- without the quotes that SQL wants
        to_regclass(format('%I.%I', split_part("table", '.', 1), split_part("table", '.', 2))) end;
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
    if exists (select from pg_catalog.pg_class where oid = relation and relkind = 'p') then
        raise exception 'table % is partitioned: its changes carry the names of the partitions', relation
            using errcode = '0A000', hint = 'Publish and watch the partitions by their names.';
    end if;
    -- Postgres refuses every UPDATE and DELETE on a published table whose rows it cannot name.
    if not exists (select from pg_catalog.pg_index where indrelid = relation and indisprimary) then
        raise exception 'table % has no primary key: once it is published, updates and deletes on it fail', relation
            using errcode = '55000', hint = 'Add a primary key, then publish it.';
    end if;
    if exists (select from pg_catalog.pg_class where oid = relation and relreplident = 'n') then
        raise exception 'table % has replica identity nothing: once it is published, updates and deletes on it fail', relation
            using errcode = '55000', hint = format('alter table %s replica identity default;', relation);
    end if;
    if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
    end if;
    if exists (
        select from pg_catalog.pg_publication_tables as t
        join pg_catalog.pg_namespace as n on n.nspname = t.schemaname
        join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = t.tablename
        where t.pubname = 'supabase_realtime' and c.oid = relation
    ) then
        return format('%s is in the publication already', relation);
    end if;
    execute format('alter publication supabase_realtime add table %s', relation);
    return format('%s added', relation);
end
$function$;
comment on function public.bridge_publish(text) is
    'Adds a table to publication supabase_realtime, so that its changes reach the bridge. For the DBA.';
revoke all on function public.bridge_publish(text) from public, anon, authenticated, service_role;

do $migration$
declare
    name text;
    advice text;
    any_table boolean := false;
begin
    foreach name in array array['public.dialogs', 'public.dialog_participants', 'public.messages'] loop
        -- One of that name that the reference schema did not make is the project's own.
        continue when coalesce(pg_catalog.obj_description(to_regclass(name), 'pg_class'), '')
            not like 'Reference schema of the Supabase Realtime bridge.%';
        any_table := true;
        begin
            raise notice '%', public.bridge_publish(name);
        exception
            when lock_not_available then raise;  -- of the same class as what follows, which would catch it
            when object_not_in_prerequisite_state then
                get stacked diagnostics advice = pg_exception_hint;
                raise warning '% is left out of the publication: %', name, sqlerrm using hint = advice;
        end;
    end loop;
    if not any_table then
        raise notice 'nothing is published: there is no reference schema'
            using hint = 'Tables of your own need no publication once they are watched: select public.bridge_watch(''public.your_table'');';
    end if;
end
$migration$;
commit;
