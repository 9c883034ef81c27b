-- The role bridge_worker, with which the worker reads what it relays and can do nothing else.
--
-- Part of the Supabase Realtime bridge: `bridge migrate` knows it by this line.
-- Why: service_role reads and writes everything, and its key lies on the machine that browsers talk to.  This role has
--   SELECT on the journal and the watched tables, EXECUTE on the bridge's functions, and BYPASSRLS, because the worker
--   decides for all users; beyond that only what every role has.  Its key: bridge token --role bridge_worker
-- For tables of your own: bridge_watch() grants SELECT, bridge_unwatch() takes it back; `bridge check` names what lacks.
-- Needs: 20261127100000_journal.sql; CREATEROLE and BYPASSRLS, as postgres of a hosted project has them.  Without these it
--   says so and makes nothing: the worker goes on with service_role.
-- Locks: none on tables, unless a watched table has a new partition: bridge_watch() then takes SHARE ROW EXCLUSIVE on it,
--   for milliseconds, for the trigger that it lacks.
-- Checked: tests/sql/test_worker_role.py, tests/sql/pgtap/privileges.test.sql.
-- Safe to run twice: yes.
-- Undo: sql/undo/20261127110000_worker_role.sql
begin;
set local lock_timeout = '2s';
set local search_path = '';

do $role$ begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'bridge_worker') then
        create role bridge_worker nologin noinherit bypassrls;
    end if;
    if not pg_catalog.pg_has_role('authenticator', 'bridge_worker', 'member') then
        grant bridge_worker to authenticator;           -- so that PostgREST can take it on
    end if;
exception
    when duplicate_object or unique_violation then      -- made by somebody else in this moment
        raise exception 'somebody else makes role bridge_worker' using errcode = '40001', hint = 'Apply this file again.';
    when insufficient_privilege then
        raise warning 'there is no role bridge_worker (%): the worker needs the key of service_role', sqlerrm
            using hint = 'Who may create roles: create role bridge_worker nologin noinherit bypassrls; '
                'grant bridge_worker to authenticator;  -- then apply this file again';
end $role$;

do $grants$
declare
    watched record;
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'bridge_worker') then
        return;
    end if;
    if not has_schema_privilege('bridge_worker', 'public', 'usage') then
        grant usage on schema public to bridge_worker;
    end if;
    grant usage on schema bridge to bridge_worker;
    grant select on bridge.journal, bridge.journal_pruned to bridge_worker;
    -- Everything that service_role may call of the bridge.
    grant execute on function public.bridge_catalog(), public.bridge_catalog_marker(), public.bridge_relation(text),
        public.bridge_rows(text, jsonb, integer, text[]), public.bridge_row(text, jsonb), public.bridge_key(regclass),
        public.bridge_doubt(regclass), public.bridge_given(regclass, jsonb), public.bridge_condition(regclass, text),
        public.bridge_question(regclass, text), public.bridge_answer(text[], jsonb), public.bridge_held(regclass, jsonb),
        public.bridge_visible(text, text, jsonb), public.bridge_watched(),
        public.bridge_journal_since(bigint, jsonb, integer), public.bridge_journal_holes(bigint),
        public.bridge_journal_before(double precision), public.bridge_prune_journal(double precision),
        bridge.journal_horizon(timestamptz) to bridge_worker;
    for watched in select w.quoted from public.bridge_watched() as w loop
        perform public.bridge_watch(watched.quoted);    -- for its SELECT
    end loop;
end $grants$;

do $verify$
declare
    worker record;
    others text;
begin                                                   -- fail here, not in production
    select * into worker from pg_catalog.pg_roles where rolname = 'bridge_worker';
    if worker.rolname is null then
        return;
    end if;
    select string_agg(m.roleid::regrole::text, ', ') into others
    from pg_catalog.pg_auth_members as m where m.member = worker.oid;
    if worker.rolsuper or worker.rolcreaterole or worker.rolcreatedb or worker.rolreplication or worker.rolcanlogin
        or others is not null
        or has_table_privilege('bridge_worker', 'bridge.journal', 'insert, update, delete, truncate')
    then
        raise exception 'bridge_worker may do more than it should%', coalesce(': it is a member of ' || others, '')
            using hint = 'It was there before: drop role bridge_worker, and apply this file again.';
    end if;
    if not worker.rolbypassrls then
        raise warning 'bridge_worker is bound by row-level security, so the worker would see only some rows'
            using hint = 'alter role bridge_worker bypassrls;';
    end if;
end $verify$;
commit;
