-- Takes back migrations/20261123100000_reference_schema.sql.
--
-- Deletes the dialogs, participants and messages with their rows, where they are those of the reference schema; tables
--   of a project's own that have these names stay as they are.
-- Locks: ACCESS EXCLUSIVE on the three tables, until they are gone.
-- Safe to run twice: yes.
begin;
set local lock_timeout = '2s';          -- give up rather than queue behind a long read
set local search_path = '';

do $undo$
declare
    ours text;
begin
    select string_agg(c.oid::regclass::text, ', ') into ours
    from pg_catalog.pg_class as c
    where c.oid in (to_regclass('public.dialogs'), to_regclass('public.messages'), to_regclass('public.dialog_participants'))
      and pg_catalog.obj_description(c.oid, 'pg_class') like 'Reference schema of the Supabase Realtime bridge.%';
    if ours is not null then
        execute 'drop table ' || ours;  -- fails, and nothing is undone, where something of yours refers to them
    end if;
end
$undo$;
drop function if exists bridge_private.owns_dialog(uuid), bridge_private.sees_dialog(uuid);
drop schema if exists bridge_private;
drop function if exists public.bridge_touch_updated_at();

do $record$ begin                       -- so that `bridge migrate` and the Supabase CLI know
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        delete from supabase_migrations.schema_migrations where version = '20261123100000';
    end if;
end $record$;
commit;
