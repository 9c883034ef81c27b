-- Some rows for it: two organizations, 40 people, 12 channels, 600 posts.  Ann has the id that the guide uses.
create function pg_temp.person(n int) returns uuid language sql immutable
    return ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid;
insert into public.profiles (id, handle, full_name)
    select pg_temp.person(n), case n when 1 then 'ann' when 2 then 'bob' else 'user' || n end, 'Person ' || n
    from generate_series(1, 40) as n;
insert into public.organizations (id, slug, name) values (1, 'acme', 'Acme'), (2, 'globex', 'Globex');
insert into public.organization_members (organization_id, user_id, role, deactivated_at)
    select 1 + n % 2, pg_temp.person(n), case when n < 5 then 'admin'::public.member_role else 'member' end,
        case when n % 13 = 0 then now() end
    from generate_series(1, 40) as n;
insert into public.teams (id, organization_id, name) values (1, 1, 'Sales'), (2, 2, 'Support');
insert into public.team_members select 1 + n % 2, pg_temp.person(n) from generate_series(1, 20) as n;
insert into public.channels (id, organization_id, kind, name, created_by)
    select n, 1 + n % 2, (array['public', 'private', 'direct'])[1 + n % 3]::public.channel_kind, 'channel ' || n, pg_temp.person(1 + n % 2)
    from generate_series(1, 12) as n;
insert into public.channel_members (channel_id, user_id, left_at)
    select c, pg_temp.person(n), case when (c + n) % 7 = 0 then now() end
    from generate_series(1, 12) as c, generate_series(1, 40) as n where n % 2 = c % 2 and (c + n / 2) % 3 <> 0;
insert into public.posts (id, channel_id, author_id, parent_id, body, deleted_at)
    select n, 1 + n % 12, pg_temp.person(1 + (n * 7) % 40), case when n > 12 and n % 5 = 0 then n - 12 end, 'post ' || n,
        case when n % 11 = 0 then now() end
    from generate_series(1, 600) as n;
insert into public.reactions select n, pg_temp.person(1 + n % 40), '+1' from generate_series(1, 600, 3) as n;
insert into public.attachments (post_id, file_name, size_bytes, storage_path)
    select n, 'file.pdf', 9007199254740993, 'files/' || n from generate_series(1, 600, 20) as n;
insert into public.mentions select n, pg_temp.person(1 + n % 40) from generate_series(1, 600, 10) as n;
insert into public.user_blocks values (pg_temp.person(1), pg_temp.person(15));
insert into public.webhooks (organization_id, url, secret) values (1, 'https://example.com/hook', 'hush');
insert into public.audit_log (organization_id, actor_id, action) values (1, pg_temp.person(2), 'invited');
insert into public.feature_flags values ('threads', '{1}');
select setval(pg_get_serial_sequence('public.' || t, 'id'), 1000) is null
from unnest(array['organizations', 'teams', 'channels', 'posts', 'audit_log']) as t;
analyze;
