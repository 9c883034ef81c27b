-- What makes changes arrive: publications, replica identity, the journal's triggers and what they write.
begin;
select * from no_plan();

select results_eq(
    $$ select p.pubname::text collate "default", (t.schemaname || '.' || t.tablename) collate "default", concat_ws(' ',
           case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end)
       from pg_publication as p join pg_publication_tables as t on t.pubname = p.pubname
       where p.pubname in ('supabase_realtime', 'bridge_journal') order by p.pubname::text collate "C", t.schemaname collate "C", t.tablename collate "C" $$,
    $$ values
        ('bridge_journal', 'bridge.journal', 'insert'),
        ('supabase_realtime', 'bridge.journal', 'insert update delete'),
        ('supabase_realtime', 'public.dialog_participants', 'insert update delete'),
        ('supabase_realtime', 'public.dialogs', 'insert update delete'),
        ('supabase_realtime', 'public.messages', 'insert update delete') $$,
    'what is published, and which changes of it'
);
select results_eq(
    $$ select oid::regclass::text, relreplident::text from pg_class
       where oid in ('public.dialogs'::regclass, 'public.dialog_participants'::regclass, 'public.messages'::regclass, 'bridge.journal'::regclass)
       order by oid::regclass::text collate "C" $$,
    $$ values ('bridge.journal', 'd'), ('dialog_participants', 'f'), ('dialogs', 'f'), ('messages', 'f') $$,
    'replica identity: whole old rows of the tables, the key of the journal'
);
select results_eq(
    $$ select t.tgrelid::regclass::text, t.tgname::text collate "default", t.tgfoid::regproc::text, t.tgenabled::text, t.tgtype::int
       from pg_trigger as t where t.tgname like '!bridge%' order by 1, t.tgtype $$,
    -- tgtype: 1 for each row, 4 insert, 8 delete, 16 update, 32 truncate; after
    $$ select t, n.name, 'bridge.record_change', 'A', n.type
       from unnest(array['dialogs', 'dialog_participants', 'messages']) as t,
           (values ('!bridge_journal', 29), ('!bridge_journal_truncate', 32)) as n (name, type) order by 1, n.type $$,
    'triggers of the journal: for each row and for TRUNCATE, also for what replication writes'
);
select is_empty(
    $$ select t.tgrelid::regclass, t.tgname from pg_trigger as t
       where t.tgrelid in (select tgrelid from pg_trigger where tgname = '!bridge_journal')
         and not t.tgisinternal and t.tgname::text collate "C" < '!bridge_journal' $$,
    'no trigger fires before them'
);
select is(relrowsecurity, true, format('%s has row-level security', oid::regclass))
from pg_class where oid in ('bridge.journal'::regclass, 'bridge.journal_pruned'::regclass);
select is_empty($$ select * from pg_policies where schemaname = 'bridge' $$, 'and no policy: only who bypasses it reads them');

insert into public.dialogs (id, owner_id, title)
values ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000a', 'before');
update public.dialogs set title = 'after' where id = '00000000-0000-4000-8000-0000000000d1';
insert into public.messages (id, dialog_id, sender_id, body) values
    ('00000000-0000-4000-8000-0000000000e1', '00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000a', 'x');
delete from public.dialogs where id = '00000000-0000-4000-8000-0000000000d1';
truncate public.messages;
savepoint taken_back;
insert into public.dialogs (owner_id) values ('00000000-0000-4000-8000-00000000000a');
rollback to savepoint taken_back;
select results_eq(
    $$ select relation, action, record::jsonb ->> 'title', old_record::jsonb ->> 'title', coalesce(record, old_record)::jsonb ->> 'id'
       from bridge.journal where txid = pg_current_xact_id() order by id $$,
    $$ values
        ('public.dialogs', 'INSERT', 'before', null, '00000000-0000-4000-8000-0000000000d1'),
        ('public.dialogs', 'UPDATE', 'after', 'before', '00000000-0000-4000-8000-0000000000d1'),
        ('public.messages', 'INSERT', null, null, '00000000-0000-4000-8000-0000000000e1'),
        ('public.dialogs', 'DELETE', null, 'after', '00000000-0000-4000-8000-0000000000d1'),
        ('public.messages', 'DELETE', null, null, '00000000-0000-4000-8000-0000000000e1'),
        ('public.messages', 'TRUNCATE', null, null, null) $$,
    'the journal has each change in order, both rows of it, what cascades, and nothing that was taken back'
);
select is_empty(
    $$ select j.id, j.relation, j.relation_oid from bridge.journal as j
       where j.txid = pg_current_xact_id() and j.relation_oid is distinct from to_regclass(j.relation)::oid::bigint $$,
    'and it says which table each name means'
);

select * from finish();
rollback;
