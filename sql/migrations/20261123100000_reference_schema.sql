-- The reference schema of a chat: dialogs, who takes part in them, and messages; with row-level security.
--
-- Part of the Supabase Realtime bridge: `bridge migrate` knows it by this line.
-- Why: what the bridge relays, for projects that start from nothing.
-- Skipped as a whole where schema public has a table that was not made by this file: a project with tables of its
--   own keeps them as they are (sql/README.md says what the bridge needs of them), and gets no others.  Who has
--   tables and wants these too sets bridge.reference_schema to on; never where one of the three names is taken.
-- Needs: schema auth with auth.uid(); roles anon, authenticated, service_role (every Supabase project has them).
-- Locks: ACCESS EXCLUSIVE on the three tables for milliseconds, only while they are created or re-applied.  Indexes
--   come with their table: one that somebody dropped is named, not built again, which would keep writers waiting.
-- Checked: tests/sql/ (as owner, participant, stranger and anon) and tests/oracle (the compiled plans agree).
-- Safe to run twice: yes.
-- Undo: sql/undo/20261123100000_reference_schema.sql
begin;
set local lock_timeout = '2s';          -- give up rather than queue behind a long read
set local search_path = '';             -- every name below is schema-qualified

do $migration$
declare
    mine constant text := 'Reference schema of the Supabase Realtime bridge.';
    theirs text;
    missing text;
begin
    select string_agg(c.oid::regclass::text, ', ' order by c.relname) into theirs
    from pg_catalog.pg_class as c
    where c.oid in (to_regclass('public.dialogs'), to_regclass('public.messages'), to_regclass('public.dialog_participants'))
      and coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '') not like mine || '%';
    if theirs is not null then
        raise notice 'the reference schema is skipped, nothing was changed: % is of your own', theirs
            using hint = 'What the bridge needs of tables of your own is said in sql/README.md.';
        return;
    end if;
    -- None of the three is there, or they are ours.  In a project with other tables, who asked for a chat?
    if to_regclass('public.dialogs') is null
        and coalesce(current_setting('bridge.reference_schema', true), '') <> 'on'
    then
        select string_agg(c.oid::regclass::text, ', ' order by c.relname) into theirs
        from (
            select o.oid, o.relname from pg_catalog.pg_class as o
            where o.relnamespace = 'public'::regnamespace and o.relkind in ('r', 'p') and not o.relispartition
              and not exists (select from pg_catalog.pg_depend as d where d.objid = o.oid and d.deptype = 'e')
            order by o.relname limit 3
        ) as c;
        if theirs is not null then
            raise notice 'the reference schema is skipped, nothing was changed: the project has tables of its own (%, ...)', theirs
                using hint = 'To have it beside them, set bridge.reference_schema to on: sql/README.md.';
            return;
        end if;
    end if;

    -- One index for each column that a policy or a foreign key looks up; the primary keys serve the others.
    if to_regclass('public.dialogs') is null then
        create table public.dialogs (
            id uuid primary key default gen_random_uuid(),
            owner_id uuid not null,
            title text,
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now()
        );
        create index dialogs_owner_id_idx on public.dialogs (owner_id);
    end if;
    if to_regclass('public.dialog_participants') is null then
        create table public.dialog_participants (
            dialog_id uuid not null references public.dialogs (id) on delete cascade,
            user_id uuid not null,
            role text not null default 'member',
            joined_at timestamptz not null default now(),
            primary key (dialog_id, user_id)
        );
        create index dialog_participants_user_id_idx on public.dialog_participants (user_id);
    end if;
    if to_regclass('public.messages') is null then
        create table public.messages (
            id uuid primary key default gen_random_uuid(),
            dialog_id uuid not null references public.dialogs (id) on delete cascade,
            sender_id uuid not null,
            body text not null,
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now()
        );
        create index messages_dialog_id_created_at_idx on public.messages (dialog_id, created_at);
        create index messages_sender_id_idx on public.messages (sender_id);
    end if;
    execute format('comment on table public.dialogs is %L', mine || ' A conversation and who owns it.');
    execute format('comment on table public.dialog_participants is %L', mine || ' Who takes part in a dialog.');
    execute format('comment on table public.messages is %L', mine || ' What was said in a dialog.');
    for missing in
        select format('create index concurrently %s on public.%s', i.name, i.columns)
        from (values
            ('dialogs_owner_id_idx', 'dialogs (owner_id)'),
            ('dialog_participants_user_id_idx', 'dialog_participants (user_id)'),
            ('messages_dialog_id_created_at_idx', 'messages (dialog_id, created_at)'),
            ('messages_sender_id_idx', 'messages (sender_id)')
        ) as i (name, columns)
        where to_regclass('public.' || i.name) is null
    loop
        raise warning 'an index of the reference schema is missing' using hint = missing || ';';
    end loop;

    create or replace function public.bridge_touch_updated_at() returns trigger
    language plpgsql
    set search_path = ''
    as $function$
    begin
        new.updated_at := now();
        return new;
    end
    $function$;
    revoke all on function public.bridge_touch_updated_at() from public, anon, authenticated;
    create or replace trigger dialogs_touch_updated_at
        before update on public.dialogs
        for each row execute function public.bridge_touch_updated_at();
    create or replace trigger messages_touch_updated_at
        before update on public.messages
        for each row execute function public.bridge_touch_updated_at();

    -- Policies of dialogs read dialog_participants and the other way round, which Postgres refuses as a circle
    -- (42P17) unless one of them looks with the owner's rights.  The schema is not exposed over the API.
    create schema if not exists bridge_private;
    revoke all on schema bridge_private from public, anon;
    grant usage on schema bridge_private to authenticated, service_role;
    create or replace function bridge_private.owns_dialog(dialog uuid) returns boolean
    language sql stable security definer
    set search_path = ''
    as $function$
        select exists (
            select from public.dialogs as d
            where d.id = owns_dialog.dialog and d.owner_id = (select auth.uid())
        )
    $function$;
    create or replace function bridge_private.sees_dialog(dialog uuid) returns boolean
    language sql stable security definer
    set search_path = ''
    as $function$
        select exists (
            select from public.dialog_participants as p
            where p.dialog_id = sees_dialog.dialog and p.user_id = (select auth.uid())
        ) or exists (
            select from public.dialogs as d
            where d.id = sees_dialog.dialog and d.owner_id = (select auth.uid())
        )
    $function$;
    revoke all on function bridge_private.owns_dialog(uuid), bridge_private.sees_dialog(uuid) from public, anon;
    grant execute on function bridge_private.owns_dialog(uuid), bridge_private.sees_dialog(uuid)
        to authenticated, service_role;

    alter table public.dialogs enable row level security;
    alter table public.dialog_participants enable row level security;
    alter table public.messages enable row level security;

    -- Supabase grants everything to anon by default; nobody chats without signing in.
    revoke all on public.dialogs, public.dialog_participants, public.messages from public, anon;
    revoke all on public.dialogs, public.dialog_participants, public.messages from authenticated;
    grant select, insert, update, delete on public.dialogs, public.dialog_participants, public.messages to authenticated;
    grant all on public.dialogs, public.dialog_participants, public.messages to service_role;

    -- dialogs: the owner and the participants read; the owner writes.
    drop policy if exists dialogs_select on public.dialogs;
    create policy dialogs_select on public.dialogs for select to authenticated
        using (
            owner_id = (select auth.uid())
            or exists (
                select from public.dialog_participants as p
                where p.dialog_id = dialogs.id and p.user_id = (select auth.uid())
            )
        );
    drop policy if exists dialogs_insert on public.dialogs;
    create policy dialogs_insert on public.dialogs for insert to authenticated
        with check (owner_id = (select auth.uid()));
    drop policy if exists dialogs_update on public.dialogs;
    create policy dialogs_update on public.dialogs for update to authenticated
        using (owner_id = (select auth.uid()))
        with check (owner_id = (select auth.uid()));
    drop policy if exists dialogs_delete on public.dialogs;
    create policy dialogs_delete on public.dialogs for delete to authenticated
        using (owner_id = (select auth.uid()));

    -- dialog_participants: who is in a dialog sees who else is; the owner invites and removes, anybody may leave.
    drop policy if exists dialog_participants_select on public.dialog_participants;
    create policy dialog_participants_select on public.dialog_participants for select to authenticated
        using (user_id = (select auth.uid()) or bridge_private.sees_dialog(dialog_id));
    drop policy if exists dialog_participants_insert on public.dialog_participants;
    create policy dialog_participants_insert on public.dialog_participants for insert to authenticated
        with check (bridge_private.owns_dialog(dialog_id));
    drop policy if exists dialog_participants_update on public.dialog_participants;
    create policy dialog_participants_update on public.dialog_participants for update to authenticated
        using (bridge_private.owns_dialog(dialog_id))
        with check (bridge_private.owns_dialog(dialog_id));
    drop policy if exists dialog_participants_delete on public.dialog_participants;
    create policy dialog_participants_delete on public.dialog_participants for delete to authenticated
        using (user_id = (select auth.uid()) or bridge_private.owns_dialog(dialog_id));

    -- messages: who is in the dialog reads and writes; what was said is changed by its sender only.
    drop policy if exists messages_select on public.messages;
    create policy messages_select on public.messages for select to authenticated
        using (
            exists (
                select from public.dialog_participants as p
                where p.dialog_id = messages.dialog_id and p.user_id = (select auth.uid())
            )
            or exists (
                select from public.dialogs as d
                where d.id = messages.dialog_id and d.owner_id = (select auth.uid())
            )
        );
    drop policy if exists messages_insert on public.messages;
    create policy messages_insert on public.messages for insert to authenticated
        with check (sender_id = (select auth.uid()) and bridge_private.sees_dialog(dialog_id));
    drop policy if exists messages_update on public.messages;
    create policy messages_update on public.messages for update to authenticated
        using (sender_id = (select auth.uid()) and bridge_private.sees_dialog(dialog_id))
        with check (sender_id = (select auth.uid()) and bridge_private.sees_dialog(dialog_id));
    drop policy if exists messages_delete on public.messages;
    create policy messages_delete on public.messages for delete to authenticated
        using (sender_id = (select auth.uid()));

    -- With the whole old row in the change stream, an UPDATE that moves a row out of somebody's sight can be told
    -- from one that does not.  Costs the old row in the WAL at each UPDATE and DELETE; chat rows are small.
    alter table public.dialogs replica identity full;
    alter table public.dialog_participants replica identity full;
    alter table public.messages replica identity full;

    if exists (
        select from (values ('dialogs'), ('dialog_participants'), ('messages')) as t (name)
        where (
            select count(*) from pg_catalog.pg_policies as p
            where p.schemaname = 'public' and p.tablename = t.name and p.roles = '{authenticated}'
        ) <> 4
    ) then                              -- fail here, not in production
        raise exception 'a policy of the reference schema is missing, doubled, or open to other roles'
            using hint = 'Compare pg_policies with this file.';
    end if;
end
$migration$;
commit;
