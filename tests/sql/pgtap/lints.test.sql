-- What Supabase's advisors would say about what the bridge makes, and that each of these questions finds a planted defect.
-- Names and numbers are those of the advisors: https://supabase.com/docs/guides/database/database-advisors
begin;
select * from no_plan();

create function pg_temp.lints() returns table (lint text, object text)
language sql set search_path = ''       -- names in policies come out qualified
as $$
with spaces as (
    select n.oid, n.nspname from pg_catalog.pg_namespace as n where n.nspname in ('public', 'bridge', 'bridge_private')
),
tables as (
    select c.*, s.nspname from pg_catalog.pg_class as c join spaces as s on s.oid = c.relnamespace where c.relkind in ('r', 'p')
),
functions as (
    select p.*, s.nspname from pg_catalog.pg_proc as p join spaces as s on s.oid = p.pronamespace
),
policies as (
    select p.*, t.nspname, t.relname, t.relrowsecurity, t.oid::regclass::text || '.' || p.polname as name,
        concat_ws(' ', pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) as expressions
    from pg_catalog.pg_policy as p join tables as t on t.oid = p.polrelid
)
select '0001_unindexed_foreign_keys', k.conrelid::regclass::text || '.' || k.conname
from pg_catalog.pg_constraint as k join tables as t on t.oid = k.conrelid
where k.contype = 'f' and not exists (
    select from pg_catalog.pg_index as i
    where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null
      and (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
)
union all
-- An auth.<function>() that is not all of a subselect is called for each row.
select '0003_auth_rls_initplan', p.name from policies as p
where regexp_replace(p.expressions, '\( SELECT auth\.\w+\(\) AS \w+\)', '', 'g') ~ '(auth\.(uid|jwt|role|email)|current_setting)\('
union all
select '0004_no_primary_key', t.oid::regclass::text from tables as t
where not exists (select from pg_catalog.pg_index as i where i.indrelid = t.oid and i.indisprimary)
union all
select distinct '0006_multiple_permissive_policies', p.polrelid::regclass::text || ' ' || r.rolname || ' ' || c.command
from policies as p
cross join lateral (select c.command from unnest(array['r', 'a', 'w', 'd']) as c (command) where p.polcmd in ('*', c.command::"char")) as c
join pg_catalog.pg_roles as r on r.rolname in ('anon', 'authenticated') and (p.polroles = '{0}' or r.oid = any (p.polroles))
where p.polpermissive
group by p.polrelid, r.rolname, c.command having count(*) > 1
union all
select distinct '0007_policy_exists_rls_disabled', p.polrelid::regclass::text from policies as p where not p.relrowsecurity
union all
select '0008_rls_enabled_no_policy', t.oid::regclass::text from tables as t
where t.relrowsecurity and not exists (select from pg_catalog.pg_policy as p where p.polrelid = t.oid)
union all
select '0009_duplicate_index', string_agg(i.indexrelid::regclass::text, ' ' order by i.indexrelid)
from pg_catalog.pg_index as i join tables as t on t.oid = i.indrelid
group by i.indrelid, i.indkey::text, i.indclass::text, i.indoption::text, i.indexprs::text, i.indpred::text having count(*) > 1
union all
select '0011_function_search_path_mutable', f.oid::regprocedure::text from functions as f
where not exists (select from unnest(f.proconfig) as c where c like 'search_path=%')
union all
select '0013_rls_disabled_in_public', t.oid::regclass::text from tables as t where not t.relrowsecurity
union all
select '0015_rls_references_user_metadata', p.name from policies as p where p.expressions ~ 'user_metadata'
union all
select '0024_permissive_rls_policy', p.name from policies as p
where p.polpermissive and p.polcmd <> 'r' and (
    pg_catalog.pg_get_expr(p.polqual, p.polrelid) = 'true' or pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) = 'true')
union all
select '0028_anon_security_definer_function_executable', f.oid::regprocedure::text from functions as f
where f.prosecdef and pg_catalog.has_function_privilege('anon', f.oid, 'execute')
union all
select '0029_authenticated_security_definer_function_executable', f.oid::regprocedure::text from functions as f
where f.prosecdef and pg_catalog.has_function_privilege('authenticated', f.oid, 'execute')
union all
-- Two that the advisors do not have: a policy whose role was forgotten, and changing a table without a limit to the wait.
select 'policy_for_everybody', p.name from policies as p where p.polroles = '{0}'
union all
select 'lock_without_timeout', f.oid::regprocedure::text from functions as f
where f.prosrc ~* '''\s*(alter|create trigger|drop trigger|truncate|lock)' and not exists (select from unnest(f.proconfig) as c where c like 'lock_timeout=%')
$$;

select results_eq(
    'select lint, object from pg_temp.lints() order by lint collate "C", object collate "C"',
    $$ values
        -- Only who bypasses row-level security reads the journal.
        ('0008_rls_enabled_no_policy', 'bridge.journal'),
        ('0008_rls_enabled_no_policy', 'bridge.journal_pruned'),
        -- Policies call them; they answer about the caller only, and the schema is not exposed over the API.
        ('0029_authenticated_security_definer_function_executable', 'bridge_private.owns_dialog(uuid)'),
        ('0029_authenticated_security_definer_function_executable', 'bridge_private.sees_dialog(uuid)') $$,
    'nothing is found but what is meant so'
);

create temporary table sound as select lint, object from pg_temp.lints();
drop index public.dialogs_owner_id_idx;
create table public.planted (dialog_id uuid references public.dialogs, owner_id uuid);
create table public.bare (id int primary key, dialog_id uuid references public.dialogs);
create index on public.bare (id, dialog_id);    -- leads with another column
create table public.indexed (id int primary key, dialog_id uuid references public.dialogs);
create index indexed_1 on public.indexed (dialog_id, id);
create index indexed_2 on public.indexed (dialog_id, id);
alter table public.indexed enable row level security;
create policy per_row on public.indexed for select to authenticated using (dialog_id = auth.uid());
create policy once on public.indexed for select to authenticated using (dialog_id = (select auth.uid()));
create policy once_and_per_row on public.indexed for update to authenticated using (dialog_id = (select auth.uid())) with check (dialog_id = auth.uid());
create policy everybody on public.indexed for insert with check (true);
create policy metadata on public.indexed for delete to authenticated using ((select auth.jwt()) -> 'user_metadata' ->> 'admin' = 'yes');
create policy without_rls on public.bare for select to authenticated using (false);
create function public.open() returns int language sql security definer as 'select 1';
create function public.waits() returns void language plpgsql set search_path = '' as $$ begin execute 'alter table public.bare add column x int'; end $$;
revoke execute on function public.waits() from public;

select results_eq(
    'select lint, object from pg_temp.lints() except select lint, object from sound order by 1, 2',
    $$ values
        ('0001_unindexed_foreign_keys', 'public.bare.bare_dialog_id_fkey'),
        ('0001_unindexed_foreign_keys', 'public.planted.planted_dialog_id_fkey'),
        ('0003_auth_rls_initplan', 'public.indexed.once_and_per_row'),
        ('0003_auth_rls_initplan', 'public.indexed.per_row'),
        ('0004_no_primary_key', 'public.planted'),
        ('0006_multiple_permissive_policies', 'public.indexed authenticated r'),
        ('0007_policy_exists_rls_disabled', 'public.bare'),
        ('0009_duplicate_index', 'public.indexed_1 public.indexed_2'),
        ('0011_function_search_path_mutable', 'public.open()'),
        ('0013_rls_disabled_in_public', 'public.bare'),
        ('0013_rls_disabled_in_public', 'public.planted'),
        ('0015_rls_references_user_metadata', 'public.indexed.metadata'),
        ('0024_permissive_rls_policy', 'public.indexed.everybody'),
        ('0028_anon_security_definer_function_executable', 'public.open()'),
        ('0029_authenticated_security_definer_function_executable', 'public.open()'),
        ('lock_without_timeout', 'public.waits()'),
        ('policy_for_everybody', 'public.indexed.everybody') $$,
    'each planted defect is found, and nothing else'
);

select * from finish();
rollback;
