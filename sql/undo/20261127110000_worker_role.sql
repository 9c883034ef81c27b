-- Takes back migrations/20261127110000_worker_role.sql.
--
-- Give the worker the key of service_role first: it cannot go on with that of bridge_worker.
-- Where other databases of the server let bridge_worker do something, the role stays, without any privilege in this one.
-- Locks: none.
-- Safe to run twice: yes.
begin;
set local lock_timeout = '2s';          -- give up rather than queue behind a long read
set local search_path = '';

do $undo$ begin
    if exists (select from pg_catalog.pg_roles where rolname = 'bridge_worker') then
        if not pg_catalog.pg_has_role(current_user, 'bridge_worker', 'usage') then
            execute format('grant bridge_worker to %I', current_user);  -- else nobody but a superuser may take away its privileges
        end if;
        drop owned by bridge_worker;    -- it owns nothing: this is what it was granted, by whomever
        begin
            drop role bridge_worker;
        exception when dependent_objects_still_exist then
            raise warning 'role bridge_worker stays: another database of this server lets it do something'
                using hint = 'Undo this file there, too.';
        end;
    end if;
end $undo$;

do $record$ begin                       -- so that `bridge migrate` and the Supabase CLI know
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        delete from supabase_migrations.schema_migrations where version = '20261127110000';
    end if;
end $record$;
commit;
