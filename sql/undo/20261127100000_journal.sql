-- Takes back migrations/20261127100000_journal.sql.
--
-- Takes the triggers off all watched tables, your own as well; the recorded changes are lost.
-- Stop the worker first, or let it capture the tables themselves (BRIDGE_CAPTURE=tables).
-- Locks: ACCESS EXCLUSIVE on the watched tables, for milliseconds: dropping a trigger takes no less.
-- Safe to run twice: yes.
begin;
set local lock_timeout = '2s';          -- give up rather than queue behind a long read
set local search_path = '';

do $undo$ begin
    if to_regclass('cron.job') is not null then
        perform cron.unschedule(j.jobname::text) from cron.job as j where j.jobname = 'bridge_prune_journal';
    end if;
    if to_regprocedure('public.bridge_watched()') is not null then
        perform public.bridge_unwatch(w.quoted) from public.bridge_watched() as w;
    end if;
end $undo$;
drop function if exists public.bridge_watch(text), public.bridge_unwatch(text), public.bridge_watched(),
    public.bridge_journal_since(bigint, jsonb, integer), public.bridge_journal_holes(bigint),
    public.bridge_journal_before(double precision), public.bridge_prune_journal(double precision);
drop publication if exists bridge_journal;
drop schema if exists bridge cascade;

do $record$ begin                       -- so that `bridge migrate` and the Supabase CLI know
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        delete from supabase_migrations.schema_migrations where version = '20261127100000';
    end if;
end $record$;
commit;
