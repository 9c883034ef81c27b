-- Takes back migrations/20261123100200_bridge_functions.sql.
--
-- Stop the worker first: it cannot do without these functions.
-- Locks: none.
-- Safe to run twice: yes.
begin;
set local lock_timeout = '2s';          -- give up rather than queue behind a long read
set local search_path = '';

drop function if exists public.bridge_catalog(), public.bridge_catalog_marker(), public.bridge_rows(text, jsonb, integer, text[]),
    public.bridge_row(text, jsonb), public.bridge_visible(text, text, jsonb), public.bridge_held(regclass, jsonb),
    public.bridge_answer(text[], jsonb), public.bridge_question(regclass, text),
    public.bridge_given(regclass, jsonb), public.bridge_doubt(regclass), public.bridge_key(regclass),
    public.bridge_condition(regclass, text), public.bridge_relation(text);

do $record$ begin                       -- so that `bridge migrate` and the Supabase CLI know
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        delete from supabase_migrations.schema_migrations where version = '20261123100200';
    end if;
end $record$;
commit;
