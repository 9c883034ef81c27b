import type { RealtimePostgresChangesPayload, SupabaseClient } from '@supabase/supabase-js';
import { createBridgeClient } from 'supabase-realtime-bridge-client';
import type { Database } from '../database.types.js';

type Message = Database['public']['Tables']['messages']['Row'];

export function followMessages(supabase: SupabaseClient<Database>, dialogId: string, show: (messages: Message[]) => void) {
  const messages = new Map<string | undefined, Message>();

  async function load() {
    const { data } = await supabase.from('messages').select('*').eq('dialog_id', dialogId).order('created_at').throwOnError();
    messages.clear();
    for (const message of data) messages.set(message.id, message);
    show([...messages.values()]);
  }

  function onChange(payload: RealtimePostgresChangesPayload<Message>) {
    if (payload.eventType === 'DELETE') messages.delete(payload.old.id);
    else messages.set(payload.new.id, payload.new);
    show([...messages.values()]);
  }

  const getToken = async () => (await supabase.auth.getSession()).data.session?.access_token;
  const bridge = createBridgeClient<Database>({ url: 'https://bridge.example.com', getToken });
  bridge.on('resync', load);
  for (const name of ['new_message', 'message_update', 'message_delete'] as const) bridge.on(name, onChange);
  bridge.subscribe({ dialogs: [dialogId] });
  bridge.connect();
  return () => bridge.close();
}
