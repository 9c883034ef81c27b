-- What the worker calls: the catalog, the rows of a table page by page, one row, and who sees given rows.
--
-- Part of the Supabase Realtime bridge: `bridge migrate` knows it by this line.
-- Why: the worker has only the REST endpoint and the service-role key, and has to read the policies and the rows that
--   they look into.  The functions run with the caller's rights: service_role reads what its grants and BYPASSRLS
--   allow, nothing more.  They answer JSON as text, so that no client on the way turns numbers into floats.
-- Locks: none.
-- Checked: tests/sql/.
-- Safe to run twice: yes.
-- Undo: sql/undo/20261123100200_bridge_functions.sql
begin;
set local lock_timeout = '2s';
set local search_path = '';

create or replace function public.bridge_catalog() returns text
language sql stable
set search_path = ''                    -- so that names in policies come out qualified
as $function$
with
relations as (
    select c.oid, n.nspname, n.nspowner, n.nspacl, c.relname, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.relacl
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and n.nspname not in (
          'pg_catalog', 'information_schema', 'extensions', 'graphql', 'graphql_public', 'realtime', '_realtime',
          'supabase_migrations', 'supabase_functions', 'vault', 'cron', 'net', 'pgsodium', 'pgsodium_masks', 'pgbouncer', 'bridge'
      )
      and n.nspname not like 'pg\_toast%' and n.nspname not like 'pg\_temp%'
),
published as materialized (  -- once: the view looks at every table of every publication
    select
        t.schemaname,
        t.tablename,
        jsonb_agg(t.pubname order by t.pubname) as publications,
        -- Where some changes of the table are left out; rowfilter is a column since Postgres 15.
        jsonb_agg(t.pubname order by t.pubname) filter (
            where not (p.pubinsert and p.pubupdate and p.pubdelete) or to_jsonb(t) ->> 'rowfilter' is not null
        ) as partly
    from pg_catalog.pg_publication_tables as t
    join pg_catalog.pg_publication as p on p.pubname = t.pubname
    group by t.schemaname, t.tablename
),
tables as (
    select jsonb_build_object(
        'schema', r.nspname,
        'name', r.relname,
        'oid', r.oid::bigint,                -- as bridge.journal names it
        'kind', r.relkind,
        'owner', pg_catalog.pg_get_userbyid(r.relowner),
        'schema_usage', (
            select coalesce(jsonb_agg(u.role order by u.role), '[]')
            from (
                select distinct case acl.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(acl.grantee) end as role
                from pg_catalog.aclexplode(coalesce(r.nspacl, pg_catalog.acldefault('n', r.nspowner))) as acl
                where acl.privilege_type = 'USAGE'
            ) as u
        ),
        'storage', pg_catalog.pg_relation_filenode(r.oid)::text,
        'rls', r.relrowsecurity,
        'force_rls', r.relforcerowsecurity,
        'replica_identity', r.relreplident,
        'publications', coalesce((select u.publications from published as u where (u.schemaname, u.tablename) = (r.nspname, r.relname)), '[]'),
        'partly_published', coalesce((select u.partly from published as u where (u.schemaname, u.tablename) = (r.nspname, r.relname)), '[]'),
        'primary_key', (
            select coalesce(jsonb_agg(a.attname order by k.position), '[]')
            from pg_catalog.pg_constraint as pk
            cross join unnest(pk.conkey) with ordinality as k (attnum, position)
            join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attnum = k.attnum
            where pk.conrelid = r.oid and pk.contype = 'p'
        ),
        'unique', (
            select coalesce(jsonb_agg(u.columns order by u.columns), '[]')
            from (
                select (
                    select jsonb_agg(a.attname order by k.position)
                    from unnest(ix.indkey::smallint[]) with ordinality as k (attnum, position)
                    join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attnum = k.attnum
                    where k.position <= ix.indnkeyatts
                ) as columns
                from pg_catalog.pg_index as ix
                where ix.indrelid = r.oid and ix.indisunique and ix.indimmediate and ix.indisvalid
                  and ix.indpred is null and ix.indexprs is null
            ) as u
        ),
        -- Under its own name, and each partition of it.  Also by a trigger that is not enabled always: ordinary writes are
        -- recorded, and telling nothing of the table would be worse than to miss what a replica role writes.
        'journalled', exists (
            select from pg_catalog.pg_trigger as g
            where g.tgrelid = r.oid and g.tgname = '!bridge_journal' and g.tgparentid = 0 and g.tgenabled in ('O', 'A')
        ) and not exists (
            select from pg_catalog.pg_partition_tree(r.oid) as part
            join pg_catalog.pg_trigger as g on g.tgrelid = part.relid
            where g.tgname = '!bridge_journal' and g.tgenabled not in ('O', 'A')
        ),
        -- Another text once it was off, or not there, meanwhile: changes went by that nobody recorded.  Empty while it is as it
        -- was made with the table, as with a new partition: what nobody updates in pg_attribute has the table's own xmin.
        'journalled_by', coalesce((
            select format('%s:%s', g.oid, g.xmin)
            from pg_catalog.pg_trigger as g
            join pg_catalog.pg_attribute as a on a.attrelid = g.tgrelid and a.attname = 'tableoid'
            where g.tgrelid = r.oid and g.tgname = '!bridge_journal' and (g.tgenabled <> 'A' or g.xmin <> a.xmin)
        ), ''),
        'skips_replicas', exists (
            select from pg_catalog.pg_trigger as g
            where g.tgrelid = r.oid and g.tgname = '!bridge_journal' and g.tgenabled = 'O'
        ),
        'partition_of', (
            select format('%s.%s', wn.nspname, w.relname)
            from pg_catalog.pg_inherits as i
            join pg_catalog.pg_class as w on w.oid = i.inhparent and w.relkind = 'p'
            join pg_catalog.pg_namespace as wn on wn.oid = w.relnamespace
            where i.inhrelid = r.oid
        ),
        'inherits', exists (select from pg_catalog.pg_inherits as i where r.oid in (i.inhrelid, i.inhparent)),
        'columns', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'name', a.attname,
                'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                'base_type', format('%s.%s', bn.nspname, bt.typname),
                'typtype', bt.typtype,
                'enum_elements', (
                    select format('%s.%s', en.nspname, e.typname)
                    from pg_catalog.pg_type as e
                    join pg_catalog.pg_namespace as en on en.oid = e.typnamespace
                    where e.oid = bt.typelem and bt.typcategory = 'A' and e.typtype = 'e'
                ),
                'not_null', a.attnotnull,
                'collation', (
                    select format('%s.%s', cn.nspname, co.collname)
                    from pg_catalog.pg_collation as co
                    join pg_catalog.pg_namespace as cn on cn.oid = co.collnamespace
                    where co.oid = a.attcollation
                )
            ) order by a.attnum), '[]')
            from pg_catalog.pg_attribute as a
            join pg_catalog.pg_type as t on t.oid = a.atttypid
            join pg_catalog.pg_type as bt on bt.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
            join pg_catalog.pg_namespace as bn on bn.oid = bt.typnamespace
            where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
        ),
        'foreign_keys', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'columns', (
                    select jsonb_agg(a.attname order by k.position)
                    from unnest(fk.conkey) with ordinality as k (attnum, position)
                    join pg_catalog.pg_attribute as a on a.attrelid = fk.conrelid and a.attnum = k.attnum
                ),
                'references', jsonb_build_object(
                    'schema', fn.nspname,
                    'name', fc.relname,
                    'columns', (
                        select jsonb_agg(a.attname order by k.position)
                        from unnest(fk.confkey) with ordinality as k (attnum, position)
                        join pg_catalog.pg_attribute as a on a.attrelid = fk.confrelid and a.attnum = k.attnum
                    )
                ),
                'checked', fk.convalidated and not fk.condeferrable  -- no row is there before the one it names
            ) order by fk.conname), '[]')
            from pg_catalog.pg_constraint as fk
            join pg_catalog.pg_class as fc on fc.oid = fk.confrelid
            join pg_catalog.pg_namespace as fn on fn.oid = fc.relnamespace
            where fk.conrelid = r.oid and fk.contype = 'f'
        ),
        'grants', (
            select coalesce(jsonb_agg(g.entry order by g.role, g.entry), '[]')
            from (
                select
                    case acl.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(acl.grantee) end as role,
                    jsonb_build_object(
                        'role', case acl.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(acl.grantee) end,
                        'columns', null
                    ) as entry
                from pg_catalog.aclexplode(r.relacl) as acl
                where acl.privilege_type = 'SELECT'
                union all
                select c.role, jsonb_build_object('role', c.role, 'columns', jsonb_agg(c.attname order by c.attname))
                from (
                    select
                        case acl.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(acl.grantee) end as role,
                        a.attname
                    from pg_catalog.pg_attribute as a
                    cross join pg_catalog.aclexplode(a.attacl) as acl
                    where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped and acl.privilege_type = 'SELECT'
                ) as c
                group by c.role
            ) as g
        ),
        'policies', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'name', p.polname,
                'permissive', p.polpermissive,
                'roles', (
                    select jsonb_agg(case m.oid when 0 then 'public' else pg_catalog.pg_get_userbyid(m.oid) end order by m.oid)
                    from unnest(p.polroles) as m (oid)
                ),
                'command', case p.polcmd when 'r' then 'SELECT' else 'ALL' end,
                'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid)
            ) order by p.polname), '[]')
            from pg_catalog.pg_policy as p
            where p.polrelid = r.oid and p.polcmd in ('r', '*')
        )
    ) as entry
    from relations as r
),
functions as (
    select jsonb_build_object(
        'schema', n.nspname,
        'name', f.proname,
        'arguments', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'name', nullif(f.proargnames[i.position], ''),
                'type', pg_catalog.format_type(i.type, null),
                'mode', coalesce(f.proargmodes[i.position]::text, 'i'),
                'default', pg_catalog.pg_get_function_arg_default(f.oid, i.position::integer)
            ) order by i.position), '[]')
            from unnest(coalesce(f.proallargtypes, f.proargtypes::oid[])) with ordinality as i (type, position)
        ),
        'returns', pg_catalog.format_type(f.prorettype, null),
        'returns_set', f.proretset,
        'language', l.lanname,
        'volatility', f.provolatile,
        'strict', f.proisstrict,
        'security_definer', f.prosecdef,
        'owner', pg_catalog.pg_get_userbyid(f.proowner),
        'config', coalesce(to_jsonb(f.proconfig), '[]'),
        'source', coalesce(f.prosrc, ''),
        'sql_body', pg_catalog.pg_get_function_sqlbody(f.oid),
        'execute', (
            select coalesce(jsonb_agg(e.role order by e.role), '[]')
            from (
                select case acl.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(acl.grantee) end as role
                from pg_catalog.aclexplode(coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner))) as acl
                where acl.privilege_type = 'EXECUTE'
            ) as e
        )
    ) as entry, n.nspname, f.proname, f.oid
    from pg_catalog.pg_proc as f
    join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
    join pg_catalog.pg_language as l on l.oid = f.prolang
    where f.prokind = 'f' and l.lanname in ('sql', 'plpgsql')
      and n.nspname not in (
          'pg_catalog', 'information_schema', 'extensions', 'graphql', 'graphql_public', 'realtime', '_realtime',
          'supabase_migrations', 'supabase_functions', 'vault', 'cron', 'net', 'pgsodium', 'pgsodium_masks', 'pgbouncer', 'bridge'
      )
      and (n.nspname <> 'storage' or f.proname in ('foldername', 'filename', 'extension'))  -- what policies call
      and not exists (
          select from pg_catalog.pg_depend as d
          where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e'
      )
),
content as (
    select jsonb_build_object(
        'version', 1,
        'timezone', current_setting('TimeZone'),
        'server_version_num', current_setting('server_version_num')::integer,
        'tables', (
            select coalesce(jsonb_agg(t.entry order by t.entry ->> 'schema', t.entry ->> 'name'), '[]') from tables as t
        ),
        'functions', (
            select coalesce(jsonb_agg(f.entry order by f.nspname, f.proname, f.entry -> 'arguments'), '[]') from functions as f
        ),
        'roles', (
            select jsonb_agg(jsonb_build_object(
                'name', r.rolname,
                'superuser', r.rolsuper,
                'bypassrls', r.rolbypassrls,
                'member_of', (  -- those whose privileges it has without SET ROLE, through others too
                    select coalesce(jsonb_agg(m.rolname order by m.rolname), '[]')
                    from pg_catalog.pg_roles as m
                    where m.oid <> r.oid and not r.rolsuper and pg_has_role(r.oid, m.oid, 'USAGE')
                )
            ) order by r.rolname)
            from pg_catalog.pg_roles as r
            where r.rolname not like 'pg\_%'
        ),
        'types', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'schema', n.nspname,
                'name', t.typname,
                'kind', t.typtype,
                'labels', (
                    select coalesce(jsonb_agg(e.enumlabel order by e.enumsortorder), '[]')
                    from pg_catalog.pg_enum as e where e.enumtypid = t.oid
                ),
                'base_type', case when t.typtype = 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod) end
            ) order by n.nspname, t.typname), '[]')
            from pg_catalog.pg_type as t
            join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
            where t.typtype in ('e', 'd') and n.nspname not in ('pg_catalog', 'information_schema')
        )
    ) as value
)
select (c.value || jsonb_build_object('fingerprint', pg_catalog.md5(c.value::text)))::text
from content as c
$function$;
comment on function public.bridge_catalog() is
    'Tables, policies, grants, functions and roles as JSON text, for the bridge to compile the policies from.';

-- Changes with every change of what bridge_catalog() answers, and costs a few milliseconds: the worker asks for it
-- every few seconds.  The row versions of the system catalogs say that something changed, not what.
create or replace function public.bridge_catalog_marker() returns text
language sql stable
set search_path = ''
as $function$
with schemas as (
    select n.oid, n.xmin, n.ctid from pg_catalog.pg_namespace as n
    where n.nspname not in ('pg_catalog', 'information_schema', 'bridge') and n.nspname not like 'pg\_t%'
),
versions (entry) as (
    select format('n%s:%s:%s', s.oid, s.xmin, s.ctid) from schemas as s
    union all select format('c%s:%s:%s', c.oid, c.xmin, c.ctid) from pg_catalog.pg_class as c join schemas as s on s.oid = c.relnamespace
    union all
    select format('a%s.%s:%s:%s', a.attrelid, a.attnum, a.xmin, a.ctid)
    from pg_catalog.pg_attribute as a
    join pg_catalog.pg_class as c on c.oid = a.attrelid
    join schemas as s on s.oid = c.relnamespace
    where a.attnum > 0
    union all select format('f%s:%s:%s', f.oid, f.xmin, f.ctid) from pg_catalog.pg_proc as f join schemas as s on s.oid = f.pronamespace
    union all select format('t%s:%s:%s', t.oid, t.xmin, t.ctid) from pg_catalog.pg_type as t join schemas as s on s.oid = t.typnamespace
    union all select format('p%s:%s:%s', p.oid, p.xmin, p.ctid) from pg_catalog.pg_policy as p
    union all select format('e%s:%s:%s', e.oid, e.xmin, e.ctid) from pg_catalog.pg_enum as e
    union all
    select format('k%s:%s:%s', k.oid, k.xmin, k.ctid)
    from pg_catalog.pg_constraint as k join schemas as s on s.oid = k.connamespace where k.contype in ('p', 'f')
    union all select format('i%s:%s', i.inhrelid, i.inhparent) from pg_catalog.pg_inherits as i
    union all select format('m%s:%s:%s:%s', m.roleid, m.member, m.xmin, m.ctid) from pg_catalog.pg_auth_members as m
    union all select format('r%s:%s:%s:%s', r.oid, r.rolsuper, r.rolbypassrls, r.rolinherit) from pg_catalog.pg_roles as r
    union all select format('u%s:%s:%s', u.oid, u.xmin, u.ctid) from pg_catalog.pg_publication as u
    union all select format('v%s:%s:%s', v.oid, v.xmin, v.ctid) from pg_catalog.pg_publication_rel as v
    union all select format('g%s:%s:%s', g.oid, g.xmin, g.ctid) from pg_catalog.pg_trigger as g where g.tgname = '!bridge_journal'
    union all select format('w%s:%s:%s', w.oid, w.xmin, w.ctid) from pg_catalog.pg_publication_namespace as w
)
select pg_catalog.md5(string_agg(v.entry, ',' order by v.entry)) from versions as v
$function$;
comment on function public.bridge_catalog_marker() is
    'A text that changes whenever what bridge_catalog() answers may have changed.';

create or replace function public.bridge_relation("table" text) returns regclass
language plpgsql stable
set search_path = ''
as $function$
declare
    relation regclass := case when "table" like '_%._%' then
        to_regclass(format('%I.%I', split_part("table", '.', 1), substr("table", strpos("table", '.') + 1)))
    end;
begin
    if relation is null then
        raise exception 'table % does not exist', "table"
            using errcode = '42P01', hint = 'Give schema and name, like public.messages.';
    end if;
    return relation;
end
$function$;
comment on function public.bridge_relation(text) is
    'The table with a name as bridge_catalog() has it: schema and name without quotes, whatever their case.';

create or replace function public.bridge_rows(
    "table" text, after jsonb default null, max_rows integer default 10000, columns text[] default null
) returns text
language plpgsql stable
set search_path = ''
as $function$
declare
    relation regclass := public.bridge_relation("table");
    key_columns text;
    key_values text;
    missing text;
    answer text;
begin
    if max_rows is null or max_rows < 1 then
        raise exception 'max_rows is %', max_rows using errcode = '22023', hint = 'Ask for at least one row.';
    end if;
    select
        string_agg(format('r.%I', a.attname), ', ' order by k.position),
        string_agg(format('(($1 ->> %L)::%s)', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' order by k.position)
    into key_columns, key_values
    from pg_catalog.pg_constraint as pk
    cross join unnest(pk.conkey) with ordinality as k (attnum, position)
    join pg_catalog.pg_attribute as a on a.attrelid = relation and a.attnum = k.attnum
    where pk.conrelid = relation and pk.contype = 'p';
    if key_columns is null then
        raise exception 'table % has no primary key, so its rows have no order to page by', relation
            using errcode = '22023', hint = 'Add a primary key.';
    end if;
    select string_agg(w.name, ', ') into missing
    from unnest(columns) as w (name)
    where not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = relation and a.attname = w.name and a.attnum > 0 and not a.attisdropped
    );
    if missing is not null then
        raise exception 'table % has no column %', relation, missing
            using errcode = '42703', hint = 'Compare with the columns in bridge_catalog().';
    end if;
    -- row_to_json() takes two thirds of the time of json_build_object(), and a large table is loaded at each start.
    execute format(
        'select ''['' || coalesce(string_agg(%s(p.*)::text, '',''), '''') || '']'' from (select %s from %s as r %s order by %s limit $2) as p',
        case when columns is null then 'to_jsonb' else 'row_to_json' end,
        coalesce((select string_agg(format('r.%I', w.name), ', ') from unnest(columns) as w (name)), 'r.*'),
        relation,
        case when after is null then '' else format('where (%s) > (%s)', key_columns, key_values) end,
        key_columns
    ) into answer using after, max_rows;
    return answer;
end
$function$;
comment on function public.bridge_rows(text, jsonb, integer, text[]) is
    'Rows of a table in primary-key order after the key "after", as the text of a JSON array.';

-- The condition that a row r of a table has the primary key in $1, a JSON object.
create or replace function public.bridge_key(relation regclass) returns text
language plpgsql stable
set search_path = ''
as $function$
declare
    condition text;
begin
    select string_agg(
        format('r.%I = (($1 ->> %L)::%s)', a.attname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)), ' and '
    ) into condition
    from pg_catalog.pg_constraint as c
    cross join unnest(c.conkey) as k (attnum)
    join pg_catalog.pg_attribute as a on a.attrelid = relation and a.attnum = k.attnum
    where c.conrelid = relation and c.contype = 'p';
    if condition is null then
        raise exception 'table % has no primary key', relation using errcode = '22023', hint = 'Add a primary key.';
    end if;
    return condition;
end
$function$;
comment on function public.bridge_key(regclass) is 'The condition that a row r has the primary key in $1, a JSON object.';

create or replace function public.bridge_row("table" text, pk jsonb) returns text
language plpgsql stable
set search_path = ''
as $function$
declare
    relation regclass := public.bridge_relation("table");
    answer text;
begin
    execute format('select to_jsonb(r.*)::text from %s as r where %s', relation, public.bridge_key(relation)) into answer using pk;
    return answer;
end
$function$;
comment on function public.bridge_row(text, jsonb) is
    'One row by primary key, as the text of a JSON object; null when there is none.';

-- The condition under which a role sees a row of a table, as SQL over a row that is named as the table is.
create or replace function public.bridge_condition(relation regclass, role_name text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    permissive text;
    restrictive text;
    is_bound boolean;
begin
    if not has_any_column_privilege(role_name, relation, 'SELECT')
        or not has_schema_privilege(role_name, (select c.relnamespace from pg_catalog.pg_class as c where c.oid = relation), 'USAGE')
    then
        return 'false';
    end if;
    select
        c.relrowsecurity
        and not r.rolsuper and not r.rolbypassrls
        and (c.relforcerowsecurity or not pg_has_role(role_name, c.relowner, 'USAGE'))
    into is_bound
    from pg_catalog.pg_class as c, pg_catalog.pg_roles as r
    where c.oid = relation and r.rolname = role_name;
    if not is_bound then
        return 'true';
    end if;
    select
        string_agg(format('(%s)', pg_catalog.pg_get_expr(p.polqual, p.polrelid)), ' or ' order by p.polname desc) filter (where p.polpermissive),
        string_agg(format('(%s)', pg_catalog.pg_get_expr(p.polqual, p.polrelid)), ' and ' order by p.polname) filter (where not p.polpermissive)
    into permissive, restrictive
    from pg_catalog.pg_policy as p
    where p.polrelid = relation and p.polcmd in ('r', '*') and p.polqual is not null
      and exists (
          select from unnest(p.polroles) as m (oid)
          where case when m.oid = 0 then true else pg_has_role(role_name, m.oid, 'USAGE') end
      );
    return case
        when permissive is null then 'false'
        when restrictive is null then format('(%s)', permissive)
        else format('(%s) and %s', permissive, restrictive)
    end;
end
$function$;
comment on function public.bridge_condition(regclass, text) is
    'What the SELECT policies of a table ask of a row for a role, for bridge_visible().';

-- JSON has no NaN, no place for an array's first position, one null, and no text of a json value: where the policies
-- read a column whose JSON may be that of several values, the row's own values are needed.
create or replace function public.bridge_doubt(relation regclass) returns text
language sql stable
set search_path = ''
as $function$
    select coalesce(string_agg(
        case
            when t.oid = 'pg_catalog.json'::regtype then 'true'
            when t.oid = 'pg_catalog.jsonb'::regtype then format('coalesce($1 -> %L, ''null'') = ''null''', a.attname)
            when t.oid in ('pg_catalog.float4'::regtype, 'pg_catalog.float8'::regtype) then format('$1 -> %L = ''0''', a.attname)
            else format('$1 -> %L not in (''null'', ''[]'')', a.attname)
        end, ' or '
    ), 'false')
    from pg_catalog.pg_attribute as a
    cross join lateral (
        with recursive base as (
            select b.* from pg_catalog.pg_type as b where b.oid = a.atttypid
            union all
            select b.* from base as d join pg_catalog.pg_type as b on d.typtype = 'd' and b.oid = d.typbasetype
        )
        select base.* from base where base.typtype <> 'd'
    ) as t
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
      and (
          t.oid in ('pg_catalog.json'::regtype, 'pg_catalog.jsonb'::regtype, 'pg_catalog.float4'::regtype, 'pg_catalog.float8'::regtype)
          or t.typcategory = 'A' or t.typtype = 'c'
          or exists (select from pg_catalog.pg_cast as c where c.castsource = t.oid and c.casttarget = 'pg_catalog.json'::regtype)
      )
      and exists (
          select from pg_catalog.pg_policy as p
          where p.polrelid = relation and p.polcmd in ('r', '*')
            and (
                p.polqual::text like '%:varattno 0 %'  -- the whole row
                or exists (
                    select from pg_catalog.pg_depend as d
                    where d.classid = 'pg_catalog.pg_policy'::regclass and d.objid = p.oid
                      and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = relation and d.refobjsubid = a.attnum
                )
            )
      )
$function$;
comment on function public.bridge_doubt(regclass) is
    'The condition that the JSON in $1 may be that of several rows between which the policies of a table tell.';

create or replace function public.bridge_given(relation regclass, rows jsonb, out given text[], out guessed boolean[])
language plpgsql stable
set search_path = ''
set timezone = 'UTC'                    -- as the journal writes rows
set datestyle = 'ISO'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = '1'
as $function$
declare
    doubt text := public.bridge_doubt(relation);
    one jsonb;
    doubtful boolean;
    found text;
begin
    given := '{}';
    guessed := '{}';
    for one in select r.value from jsonb_array_elements(rows) with ordinality as r (value, position) order by r.position loop
        found := null;
        doubtful := false;
        begin
            execute 'select ' || doubt into doubtful using one;
            if doubtful then
                -- The row itself, if it still reads as the given one does, which bridge_held() tells alike.
                execute format(
                    'select n.row::text from (select bridge_now as row, to_jsonb(bridge_now) as json from %s as bridge_now '
                    'where exists (select from (select bridge_now.*) as r where %s)) as n '
                    'where case when exists (select from jsonb_each($1) as e where e.value is distinct from n.json -> e.key) '
                    'then to_jsonb(jsonb_populate_record(n.row, $1)) = n.json else true end',
                    relation, public.bridge_key(relation)
                ) into found using one;
                doubtful := found is null;
                if doubtful then
                    -- Another version of it is there by now: what reads the same likely is the same.
                    execute format(
                        'select jsonb_populate_record(n.row, (select jsonb_object_agg(e.key, e.value) '
                        'from jsonb_each($1) as e where e.value is distinct from n.json -> e.key))::text '
                        'from (select bridge_now as row, to_jsonb(bridge_now) as json from %s as bridge_now '
                        'where exists (select from (select bridge_now.*) as r where %s)) as n',
                        relation, public.bridge_key(relation)
                    ) into found using one;
                end if;
            end if;
            if found is null then
                execute format('select jsonb_populate_record(null::%s, $1)::text', relation) into found using one;
            end if;
        exception when others then
            found := null;  -- it is no row of this table
        end;
        given := array_append(given, found);
        guessed := array_append(guessed, doubtful);
    end loop;
end
$function$;
comment on function public.bridge_given(regclass, jsonb) is
    'Rows given as JSON, as the texts of rows of a table, null for what is none; and which of them are guessed.';

-- A stored policy was resolved when it was created: its user needs no USAGE of the schemas that it names, only the
-- privileges on the tables and functions in them.  Text that is parsed as the user would need it.  So the question is
-- parsed here, with the rights of the owner of this function, and kept as what Postgres keeps parsed: the body of a
-- function.  That runs with the rights of who calls it, inner policies included.
create or replace function public.bridge_question(relation regclass, role_name text) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    condition text := public.bridge_condition(relation, role_name);
    question text := format('pg_temp.%I', 'bridge_question_' || role_name);
    signature text := question || '(pg_catalog.text[])';
begin
    if condition = 'false' then
        return null;
    end if;
    execute format(
        -- The condition stands where nothing but the row can be meant by a name.  In a CASE, a subquery in it is not
        -- made a join, as in a policy: what fails in it before it comes to a row has to fail.
        'create or replace function %s returns pg_catalog.jsonb language sql stable begin atomic '
        'select coalesce(pg_catalog.jsonb_agg(bridge_given.bridge_position - 1), ''[]'') '
        'from unnest($1) with ordinality as bridge_given (bridge_row, bridge_position) '
        'where exists (select from unnest(case when bridge_given.bridge_row is not null then '
        'array[bridge_given.bridge_row::%s] end) as %I where case when true then (%s) end); end',
        signature, relation, (select c.relname from pg_catalog.pg_class as c where c.oid = relation), condition
    );
    if not has_function_privilege(role_name, signature::regprocedure, 'execute') then
        execute format('grant execute on function %s to %I', signature, role_name);
    end if;
    return question;
exception when others then
    -- A system column, which the row of a change does not have; or the owner of this function may not do it.
    raise warning 'the policies of % cannot be asked: % (%)', relation, sqlerrm, sqlstate;
    return null;
end
$function$;
comment on function public.bridge_question(regclass, text) is
    'Makes a function that answers which rows the SELECT policies of a table show, for bridge_visible(); null if none.';

-- Asks under a user's role and claims, as in a request of its own: what helpers set or write is undone with the rest.
-- Whoever may call this may have nothing else asked, and as nobody else: the session may become other roles as well.
create or replace function public.bridge_answer(given text[], principal jsonb) returns jsonb
language plpgsql volatile
set search_path = ''
as $function$
declare
    role_name text := principal ->> 'role';
    found jsonb;
    is_asked boolean := false;
    is_answered boolean := false;
begin
    if role_name is null or role_name not in ('anon', 'authenticated') then
        raise exception 'role % is not one of anon and authenticated', role_name
            using errcode = '22023', hint = 'Only roles of clients can be asked for.';
    end if;
    perform
        set_config('request.jwt.claims', principal ->> 'claims', true),
        set_config('search_path', 'public, extensions', true),
        set_config('row_security', 'on', true),
        set_config('role', role_name, true);
    is_asked := true;
    execute format('select pg_temp.%I($1)', 'bridge_question_' || role_name) into found using given;
    is_answered := true;
    raise exception 'answered';
exception when others or assert_failure then
    if not is_asked then
        raise;
    end if;
    return case when is_answered then found end;  -- variables keep their values
end
$function$;
comment on function public.bridge_answer(text[], jsonb) is
    'What the function of bridge_question() for a principal''s role answers to it, for bridge_visible(); null if it fails.';

-- Which of the given rows the table holds exactly so, each with what names that version of it.  A value may be written in
-- another way than Postgres would: what is the same once it is read as the column's type is the same.  Columns that are not given do not count.
create or replace function public.bridge_held(relation regclass, given jsonb) returns jsonb
language plpgsql volatile
set search_path = ''
as $function$
declare
    condition text;
    held jsonb;
    position integer;
begin
    select string_agg(
        format(
            'bridge_now.%I = ((bridge_given.bridge_row ->> %L)::%s)',
            a.attname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
        ), ' and '
    ) into condition
    from pg_catalog.pg_constraint as c
    cross join unnest(c.conkey) as k (attnum)
    join pg_catalog.pg_attribute as a on a.attrelid = relation and a.attnum = k.attnum
    where c.conrelid = relation and c.contype = 'p';
    if condition is null then
        return '{}';
    end if;
    execute format(
        'select coalesce(jsonb_object_agg(bridge_given.bridge_position - 1, '
        'format(''%%s %%s %%s'', bridge_now.tableoid, bridge_now.ctid, bridge_now.xmin)), ''{}'') '
        'from pg_catalog.jsonb_array_elements($1) with ordinality as bridge_given (bridge_row, bridge_position) '
        'join %s as bridge_now on %s '
        'where case when exists (select from jsonb_each(bridge_given.bridge_row) as e '
        'where e.value is distinct from to_jsonb(bridge_now) -> e.key) '
        'then to_jsonb(jsonb_populate_record(bridge_now, bridge_given.bridge_row)) = to_jsonb(bridge_now) else true end',
        relation, condition
    ) into held using given;
    return held;
exception when others then
    -- One of them holds what its column cannot hold any more; the others have their own answer.
    held := '{}';
    if jsonb_array_length(given) > 1 then
        for position in 0 .. jsonb_array_length(given) - 1 loop
            select held || coalesce(jsonb_object_agg(position, h.value), '{}') into held
            from jsonb_each(public.bridge_held(relation, jsonb_build_array(given -> position))) as h;
        end loop;
    end if;
    return held;
end
$function$;
comment on function public.bridge_held(regclass, jsonb) is
    'By position, from 0, which rows (a JSON array) the table holds exactly so, for bridge_visible().';

-- Runs the policies themselves, for what the worker cannot decide in memory.  The rows are those of changes, as JSON:
-- a row may have changed again since, or be gone.  Each policy's USING expression is evaluated over the given row, under
-- the user's role and claims, with everything that it reads as it is now.  A policy that reads more than the row decides
-- about the row as it is now, so it is said which rows were in the table, exactly so, all the while.  Where the JSON does
-- not tell the values that the policies read, and the table has another row by now, the likeliest are taken: that is an
-- answer of its own.
create or replace function public.bridge_visible("table" text, rows text, principals jsonb) returns text
language plpgsql volatile
set search_path = ''
as $function$
declare
    relation regclass := public.bridge_relation("table");
    given text[];
    guessed boolean[];
    principal jsonb;
    role_name text;
    questions jsonb := '{}';
    found jsonb;
    answers jsonb := '[]';
    position integer;
    held jsonb := public.bridge_held(relation, rows::jsonb);
begin
    -- All that happens in here is undone: the questions, and the settings of the session.
    begin
        -- The request is the worker's: to the policies there is none, under old PostgREST's names of its parts neither.
        perform set_config('request.' || p.part, '', true)
        from unnest(array[
            'headers', 'cookies', 'method', 'path', 'header.apikey', 'header.authorization',
            'jwt.claim.sub', 'jwt.claim.role', 'jwt.claim.email', 'jwt.claim.phone', 'jwt.claim.aud', 'jwt.claim.iss',
            'jwt.claim.ref', 'jwt.claim.iat', 'jwt.claim.exp', 'jwt.claim.aal', 'jwt.claim.amr', 'jwt.claim.session_id',
            'jwt.claim.is_anonymous', 'jwt.claim.app_metadata', 'jwt.claim.user_metadata'
        ]) as p (part)
        where current_setting('request.' || p.part, true) <> '';
        select g.given, g.guessed into given, guessed from public.bridge_given(relation, rows::jsonb) as g;
        for principal in select p.value from jsonb_array_elements(principals) as p loop
            role_name := principal ->> 'role';
            if role_name is null or role_name not in ('anon', 'authenticated') then
                raise exception 'role % is not one of anon and authenticated', role_name
                    using errcode = '22023', hint = 'Only roles of clients can be asked for.';
            end if;
            if not questions ? role_name then
                questions := questions || jsonb_build_object(role_name, public.bridge_question(relation, role_name));
            end if;
            found := '[]';
            if questions ->> role_name is not null then
                found := public.bridge_answer(given, principal);
                if found is null then
                    -- One row may be what fails: each has an answer of its own then, and a failure is a no.
                    found := '[]';
                    for position in 1 .. cardinality(given) loop
                        if public.bridge_answer(given[position:position], principal) <> '[]' then
                            found := found || to_jsonb(position - 1);
                        end if;
                    end loop;
                end if;
            end if;
            select answers || jsonb_build_array(coalesce(jsonb_agg(
                case when guessed[f.value::integer + 1] then to_jsonb(-1 - f.value::integer) else f.value end order by f.value
            ), '[]')) into answers
            from jsonb_array_elements(found) as f;
        end loop;
        raise exception 'answered' using errcode = 'BR000';
    exception when sqlstate 'BR000' then
        null;  -- variables keep their values
    end;
    -- A volatile helper looks at the table once more, so that no one snapshot would do.
    select jsonb_build_object('rows', answers, 'current', coalesce(jsonb_agg(h.key::integer), '[]')) into found
    from jsonb_each(public.bridge_held(relation, rows::jsonb)) as h
    where h.value = held -> h.key;
    return found::text;
end
$function$;
comment on function public.bridge_visible(text, text, jsonb) is
    'Positions, from 0, of the rows (a JSON array as text): "rows", for each principal ({role, claims}) those that its '
    'policies show, as -1 - position if they likely do but its JSON does not tell what they read, and "current", those '
    'that the table held exactly so meanwhile.';

-- Supabase's default privileges give EXECUTE to anon and authenticated: take it back by name.
revoke all on function public.bridge_catalog() from public, anon, authenticated;
revoke all on function public.bridge_catalog_marker() from public, anon, authenticated;
revoke all on function public.bridge_relation(text) from public, anon, authenticated;
revoke all on function public.bridge_rows(text, jsonb, integer, text[]) from public, anon, authenticated;
revoke all on function public.bridge_row(text, jsonb) from public, anon, authenticated;
revoke all on function public.bridge_key(regclass) from public, anon, authenticated;
revoke all on function public.bridge_doubt(regclass) from public, anon, authenticated;
revoke all on function public.bridge_given(regclass, jsonb) from public, anon, authenticated;
revoke all on function public.bridge_condition(regclass, text) from public, anon, authenticated;
revoke all on function public.bridge_question(regclass, text) from public, anon, authenticated;
revoke all on function public.bridge_answer(text[], jsonb) from public, anon, authenticated;
revoke all on function public.bridge_held(regclass, jsonb) from public, anon, authenticated;
revoke all on function public.bridge_visible(text, text, jsonb) from public, anon, authenticated;
grant execute on function public.bridge_catalog() to service_role;
grant execute on function public.bridge_catalog_marker() to service_role;
grant execute on function public.bridge_relation(text) to service_role;
grant execute on function public.bridge_rows(text, jsonb, integer, text[]) to service_role;
grant execute on function public.bridge_row(text, jsonb) to service_role;
grant execute on function public.bridge_key(regclass) to service_role;
grant execute on function public.bridge_doubt(regclass) to service_role;
grant execute on function public.bridge_given(regclass, jsonb) to service_role;
grant execute on function public.bridge_condition(regclass, text) to service_role;
grant execute on function public.bridge_question(regclass, text) to service_role;
grant execute on function public.bridge_answer(text[], jsonb) to service_role;
grant execute on function public.bridge_held(regclass, jsonb) to service_role;
grant execute on function public.bridge_visible(text, text, jsonb) to service_role;

do $verify$ begin                       -- fail here, not in production
    if has_function_privilege('anon', 'public.bridge_catalog()', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_rows(text, jsonb, integer, text[])', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_relation(text)', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_row(text, jsonb)', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_visible(text, text, jsonb)', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_answer(text[], jsonb)', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_held(regclass, jsonb)', 'execute')
        or has_function_privilege('authenticated', 'public.bridge_question(regclass, text)', 'execute')
    then
        raise exception 'a bridge function can be called by others than service_role'
            using hint = 'Revoke what default privileges granted.';
    end if;
end $verify$;
commit;
