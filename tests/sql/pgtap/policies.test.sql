-- Every policy of the reference schema, for every command, as everybody it tells apart.
--
-- A row is a statement and what comes of it: how many rows it read or wrote, or the SQLSTATE it failed with.
begin;
select * from no_plan();

-- Runs a statement as somebody and takes it back.
create function pg_temp.outcome(person text, statement text) returns text language plpgsql as $$
declare
    role_name text := case when person in ('anon', 'service_role') then person else 'authenticated' end;
    claims jsonb := jsonb_build_object('role', role_name, 'sub', case person
        when 'owner' then '00000000-0000-4000-8000-00000000000a'
        when 'participant' then '00000000-0000-4000-8000-00000000000b'
        when 'stranger' then '00000000-0000-4000-8000-00000000000c'
    end);
    affected bigint;
begin
    perform set_config('request.jwt.claims', jsonb_strip_nulls(claims)::text, true), set_config('role', role_name, true);
    execute statement;
    get diagnostics affected = row_count;
    raise exception using errcode = 'TAP00', message = affected::text;
exception
    when sqlstate 'TAP00' then return sqlerrm;
    when others then return sqlstate;
end
$$;

insert into public.dialogs (id, owner_id, title) values
    ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000a', 'a'),
    ('00000000-0000-4000-8000-0000000000d2', '00000000-0000-4000-8000-00000000000c', 'b');
insert into public.dialog_participants (dialog_id, user_id) values
    ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000b');
insert into public.messages (id, dialog_id, sender_id, body) values
    ('00000000-0000-4000-8000-0000000000e1', '00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000a', 'x'),
    ('00000000-0000-4000-8000-0000000000e2', '00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000b', 'y');

select results_eq(
    $$ select tablename::text collate "default", policyname::text collate "default", cmd, permissive, roles::text collate "default" from pg_policies
       where schemaname = 'public' and tablename in ('dialogs', 'dialog_participants', 'messages') order by 1, 2 $$,
    $$ select t, t || '_' || lower(c), c, 'PERMISSIVE', '{authenticated}'
       from unnest(array['dialogs', 'dialog_participants', 'messages']) as t, unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as c
       order by 1, 2 $$,
    'one policy for each table and command, for authenticated, and none beside them'
);
select is(c.relrowsecurity, true, format('%s has row-level security', c.relname))
from pg_class as c where c.oid in ('public.dialogs'::regclass, 'public.dialog_participants'::regclass, 'public.messages'::regclass);

-- "me" is who is signed in; who has no subject (a token without "sub") is nobody.
select is(pg_temp.outcome(p.person, replace(s.statement, ':me', 'auth.uid()')), p.expected, format('%s: %s', p.person, s.statement))
from (values
    -- statement, owner, participant, stranger, no subject, anon, service_role
    ('select from public.dialogs', '1', '1', '1', '0', '42501', '2'),
    ('select from public.dialog_participants', '1', '1', '0', '0', '42501', '1'),
    ('select from public.messages', '2', '2', '0', '0', '42501', '2'),
    ('insert into public.dialogs (owner_id) values (:me)', '1', '1', '1', '42501', '42501', '23502'),
    ('insert into public.dialogs (owner_id) values (''00000000-0000-4000-8000-00000000000c'')', '42501', '42501', '1', '42501', '42501', '1'),
    ('update public.dialogs set title = ''z'' where id = ''00000000-0000-4000-8000-0000000000d1''', '1', '0', '0', '0', '42501', '1'),
    ('update public.dialogs set title = ''z''', '1', '0', '1', '0', '42501', '2'),
    ('update public.dialogs set owner_id = ''00000000-0000-4000-8000-00000000000b'' where id = ''00000000-0000-4000-8000-0000000000d1''', '42501', '0', '0', '0', '42501', '1'),
    ('delete from public.dialogs where id = ''00000000-0000-4000-8000-0000000000d1''', '1', '0', '0', '0', '42501', '1'),
    ('insert into public.dialog_participants (dialog_id, user_id) values (''00000000-0000-4000-8000-0000000000d1'', gen_random_uuid())', '1', '42501', '42501', '42501', '42501', '1'),
    ('insert into public.dialog_participants (dialog_id, user_id) values (''00000000-0000-4000-8000-0000000000d1'', ''00000000-0000-4000-8000-00000000000c'')', '1', '42501', '42501', '42501', '42501', '1'),
    ('update public.dialog_participants set role = ''admin''', '1', '0', '0', '0', '42501', '1'),
    ('update public.dialog_participants set dialog_id = ''00000000-0000-4000-8000-0000000000d2''', '42501', '0', '0', '0', '42501', '1'),
    ('delete from public.dialog_participants', '1', '1', '0', '0', '42501', '1'),
    ('insert into public.messages (dialog_id, sender_id, body) values (''00000000-0000-4000-8000-0000000000d1'', :me, ''hi'')', '1', '1', '42501', '42501', '42501', '23502'),
    ('insert into public.messages (id, dialog_id, sender_id, body) values (gen_random_uuid(), ''00000000-0000-4000-8000-0000000000d1'', :me, ''hi'')', '1', '1', '42501', '42501', '42501', '23502'),
    ('insert into public.messages (dialog_id, sender_id, body) values (''00000000-0000-4000-8000-0000000000d1'', ''00000000-0000-4000-8000-00000000000a'', ''hi'')', '1', '42501', '42501', '42501', '42501', '1'),
    ('update public.messages set body = ''z'' where id = ''00000000-0000-4000-8000-0000000000e1''', '1', '0', '0', '0', '42501', '1'),
    ('update public.messages set body = ''z'' where id = ''00000000-0000-4000-8000-0000000000e2''', '0', '1', '0', '0', '42501', '1'),
    ('update public.messages set dialog_id = ''00000000-0000-4000-8000-0000000000d2''', '42501', '42501', '0', '0', '42501', '2'),
    ('update public.messages set sender_id = ''00000000-0000-4000-8000-00000000000c''', '42501', '42501', '0', '0', '42501', '2'),
    ('delete from public.messages where id = ''00000000-0000-4000-8000-0000000000e1''', '1', '0', '0', '0', '42501', '1'),
    ('delete from public.messages where id = ''00000000-0000-4000-8000-0000000000e2''', '0', '1', '0', '0', '42501', '1'),
    ('truncate public.messages', '42501', '42501', '42501', '42501', '42501', '0')
) as s (statement, owner, participant, stranger, nobody, anon, service),
lateral (values ('owner', owner), ('participant', participant), ('stranger', stranger), ('no subject', nobody), ('anon', anon), ('service_role', service))
    as p (person, expected);

-- Out of the dialog, out of its messages, one's own too.  A DELETE without a condition does not ask who sees what, so that
-- it still takes back all that one said.
delete from public.dialog_participants;
select is(pg_temp.outcome('participant', s.statement), s.expected, 'who left: ' || s.statement)
from (values
    ('select from public.messages', '0'),
    ('update public.messages set body = ''z''', '0'),
    ('delete from public.messages where body = ''y''', '0'),
    ('delete from public.messages', '1')
) as s (statement, expected);

update public.messages set updated_at = 'epoch' where id = '00000000-0000-4000-8000-0000000000e1';
select is(updated_at, now(), 'updated_at follows an update, whatever the statement says')
from public.messages where id = '00000000-0000-4000-8000-0000000000e1';

select * from finish();
rollback;
