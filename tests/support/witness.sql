-- Asks Postgres, inside the writing transaction, which users see a row before and after each write.
create schema if not exists witness;
create table if not exists witness.users (id uuid primary key);
create table if not exists witness.seen (
    n bigint generated always as identity primary key,
    user_id uuid not null,
    kind text not null,
    event_type text not null,
    row_id uuid not null,
    dialog_id uuid not null
);

-- Users who see the row now, under RLS, one after the other as PostgREST would ask.
create or replace function witness.viewers(kind text, row_id uuid) returns uuid[]
language plpgsql as $function$
declare
    one uuid;
    found_row boolean;
    seen uuid[] := '{}';
begin
    for one in select u.id from witness.users as u loop
        perform set_config('request.jwt.claims', json_build_object('sub', one, 'role', 'authenticated')::text, true);
        perform set_config('role', 'authenticated', true);
        if kind = 'dialog' then
            select exists (select from public.dialogs where id = row_id) into found_row;
        else
            select exists (select from public.messages where id = row_id) into found_row;
        end if;
        perform set_config('role', 'postgres', true);
        if found_row then
            seen := seen || one;
        end if;
    end loop;
    return seen;
end
$function$;

create or replace function witness.record(kind text, row_id uuid, dialog_id uuid, before uuid[], after uuid[]) returns void
language sql as $function$
    insert into witness.seen (user_id, kind, event_type, row_id, dialog_id)
    select u.id, kind, case
        when u.id = any (before) and u.id = any (after) then 'UPDATE'
        when u.id = any (after) then 'INSERT'
        else 'DELETE'
    end, row_id, dialog_id
    from witness.users as u
    where u.id = any (before) or u.id = any (after)
$function$;
