-- Takes back migrations/20261123100100_publication.sql.
--
-- Tables that were published with bridge_publish() stay published, as does the publication itself.
-- Locks: SHARE UPDATE EXCLUSIVE on the tables of the reference schema, for milliseconds.
-- Safe to run twice: yes.
begin;
set local lock_timeout = '2s';          -- give up rather than queue behind a long read
set local search_path = '';

do $undo$
declare
    name text;
begin
    for name in
        select format('%I.%I', t.schemaname, t.tablename)
        from pg_catalog.pg_publication_tables as t
        where t.pubname = 'supabase_realtime' and t.schemaname = 'public'
          and t.tablename in ('dialogs', 'dialog_participants', 'messages')
    loop
        if pg_catalog.obj_description(to_regclass(name), 'pg_class') like 'Reference schema of the Supabase Realtime bridge.%' then
            execute format('alter publication supabase_realtime drop table %s', name);
        end if;
    end loop;
end
$undo$;
drop function if exists public.bridge_publish(text);

do $record$ begin                       -- so that `bridge migrate` and the Supabase CLI know
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        delete from supabase_migrations.schema_migrations where version = '20261123100100';
    end if;
end $record$;
commit;
