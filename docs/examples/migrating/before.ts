import type { RealtimePostgresChangesPayload, SupabaseClient } from '@supabase/supabase-js';
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

  const filter = `dialog_id=eq.${dialogId}`;
  const channel = supabase
    .channel(`messages of ${dialogId}`)
    .on('postgres_changes', { event: '*', schema: 'public', table: 'messages', filter }, onChange)
    .subscribe((status) => status === 'SUBSCRIBED' && void load());
  return () => void supabase.removeChannel(channel);
}
