-- Who may call each function and touch each table of the bridge.  A new function has to be added here.
begin;
select * from no_plan();

select results_eq(
    $$ select p.oid::regprocedure::text, case when p.prosecdef then 'definer' else 'invoker' end,
           concat_ws(' ',
               case when has_function_privilege('anon', p.oid, 'execute') then 'anon' end,
               case when has_function_privilege('authenticated', p.oid, 'execute') then 'authenticated' end,
               case when has_function_privilege('service_role', p.oid, 'execute') then 'service_role' end,
               case when has_function_privilege('bridge_worker', p.oid, 'execute') then 'bridge_worker' end)
       from pg_proc as p
       where p.pronamespace in ('bridge'::regnamespace, 'bridge_private'::regnamespace)
          or p.pronamespace = 'public'::regnamespace and p.proname like 'bridge\_%'
       order by p.oid::regprocedure::text collate "C" $$,
    $$ values
        ('bridge.journal_horizon(timestamp with time zone)', 'definer', 'service_role bridge_worker'),
        ('bridge.record_change()', 'definer', ''),
        ('bridge_answer(text[],jsonb)', 'invoker', 'service_role bridge_worker'),
        ('bridge_catalog()', 'invoker', 'service_role bridge_worker'),
        ('bridge_catalog_marker()', 'invoker', 'service_role bridge_worker'),
        ('bridge_condition(regclass,text)', 'invoker', 'service_role bridge_worker'),
        ('bridge_doubt(regclass)', 'invoker', 'service_role bridge_worker'),
        ('bridge_given(regclass,jsonb)', 'invoker', 'service_role bridge_worker'),
        ('bridge_held(regclass,jsonb)', 'invoker', 'service_role bridge_worker'),
        ('bridge_journal_before(double precision)', 'invoker', 'service_role bridge_worker'),
        ('bridge_journal_holes(bigint)', 'invoker', 'service_role bridge_worker'),
        ('bridge_journal_since(bigint,jsonb,integer)', 'invoker', 'service_role bridge_worker'),
        ('bridge_key(regclass)', 'invoker', 'service_role bridge_worker'),
        ('bridge_private.owns_dialog(uuid)', 'definer', 'authenticated service_role'),
        ('bridge_private.sees_dialog(uuid)', 'definer', 'authenticated service_role'),
        ('bridge_prune_journal(double precision)', 'definer', 'service_role bridge_worker'),
        ('bridge_publish(text)', 'invoker', ''),
        ('bridge_question(regclass,text)', 'definer', 'service_role bridge_worker'),
        ('bridge_relation(text)', 'invoker', 'service_role bridge_worker'),
        ('bridge_row(text,jsonb)', 'invoker', 'service_role bridge_worker'),
        ('bridge_rows(text,jsonb,integer,text[])', 'invoker', 'service_role bridge_worker'),
        ('bridge_touch_updated_at()', 'invoker', 'service_role'),
        ('bridge_unwatch(text)', 'invoker', ''),
        ('bridge_visible(text,text,jsonb)', 'invoker', 'service_role bridge_worker'),
        ('bridge_watch(text)', 'invoker', ''),
        ('bridge_watched()', 'invoker', 'service_role bridge_worker') $$,
    'every function, whose rights it has, and who may call it'
);

select results_eq(
    $$ select c.oid::regclass::text, r.name, string_agg(v.verb, ' ' order by v.position)
       from pg_class as c,
           unnest(array['anon', 'authenticated', 'service_role', 'bridge_worker']) as r (name),
           unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) with ordinality as v (verb, position)
       where (c.relnamespace = 'bridge'::regnamespace
              or c.oid in ('public.dialogs'::regclass, 'public.dialog_participants'::regclass, 'public.messages'::regclass))
         and c.relkind in ('r', 'p') and has_table_privilege(r.name, c.oid, v.verb)
       group by 1, 2 order by c.oid::regclass::text collate "C", r.name collate "C" $$,
    $$ values
        ('bridge.journal', 'bridge_worker', 'select'),
        ('bridge.journal', 'service_role', 'select'),
        ('bridge.journal_pruned', 'bridge_worker', 'select'),
        ('bridge.journal_pruned', 'service_role', 'select'),
        ('dialog_participants', 'authenticated', 'select insert update delete'),
        ('dialog_participants', 'bridge_worker', 'select'),
        ('dialog_participants', 'service_role', 'select insert update delete truncate references trigger'),
        ('dialogs', 'authenticated', 'select insert update delete'),
        ('dialogs', 'bridge_worker', 'select'),
        ('dialogs', 'service_role', 'select insert update delete truncate references trigger'),
        ('messages', 'authenticated', 'select insert update delete'),
        ('messages', 'bridge_worker', 'select'),
        ('messages', 'service_role', 'select insert update delete truncate references trigger') $$,
    'every table, and who may do what with it'
);

select results_eq(
    $$ select n.nspname::text collate "default", r.name
       from pg_namespace as n, unnest(array['anon', 'authenticated', 'service_role', 'bridge_worker']) as r (name)
       where n.nspname in ('bridge', 'bridge_private') and has_schema_privilege(r.name, n.oid, 'usage') order by 1, 2 $$,
    $$ values ('bridge', 'bridge_worker'), ('bridge', 'service_role'), ('bridge_private', 'authenticated'), ('bridge_private', 'service_role') $$,
    'every schema, and who may look into it'
);
select results_eq(
    $$ select rolbypassrls, rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolcanlogin or rolinherit,
           exists (select from pg_auth_members as m where m.member = r.oid)
       from pg_roles as r where rolname = 'bridge_worker' $$,
    $$ values (true, false, false) $$,
    'bridge_worker reads the rows of all users, and can do nothing else that not everybody can'
);
select is_empty(
    $$ select n.nspname, r.name from pg_namespace as n, unnest(array['anon', 'authenticated', 'service_role', 'bridge_worker']) as r (name)
       where n.nspname in ('bridge', 'bridge_private') and has_schema_privilege(r.name, n.oid, 'create') $$,
    'nobody creates anything in them'
);

select * from finish();
rollback;
