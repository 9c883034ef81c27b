/** What the compiler accepts and what it does not; never run. */

import type { RealtimePostgresChangesPayload } from '@supabase/supabase-js';
import { createBridgeClient, type Status } from 'supabase-realtime-bridge-client';
import { useBridge, useMessages } from 'supabase-realtime-bridge-client/react';
import type { BridgeClient } from 'supabase-realtime-bridge-client';

import type { Database } from '../../../docs/examples/database.types.js';

type Message = Database['public']['Tables']['messages']['Row'];

const typed = createBridgeClient<Database>({ url: 'https://bridge', getToken: () => null });
typed.on('new_message', ({ new: row, eventType }) => {
  const [body, event]: [string, 'INSERT'] = [row.body, eventType];
  // @ts-expect-error a body is no number
  const wrong: number = row.body;
  return [body, event, wrong];
});
typed.on('message_delete', ({ old }) => old.id);
typed.on('dialog_update', (payload) => (payload.eventType === 'DELETE' ? payload.old.id : payload.new.title));
typed.on('change', (payload) => {
  if (payload.type === 'new_message') return payload.new.body.length;
  if (payload.type === 'dialog_update') return payload.eventType === 'DELETE' ? payload.old.id : payload.new.title;
  // @ts-expect-error what else there is has no title
  return payload.new.title.length;
});
typed.on('status', (status: Status) => status.retryAt);
// @ts-expect-error there is no such event
typed.on('new_mesage', () => undefined);

// Handlers written for supabase-js.
const handler = (payload: RealtimePostgresChangesPayload<Message>): void => void payload.new;
typed.on('new_message', handler);
typed.on('message_update', handler);
typed.on('message_delete', handler);
const untyped = createBridgeClient({ url: 'https://bridge', getToken: async () => undefined });
untyped.on('change', (payload: RealtimePostgresChangesPayload<{ [key: string]: unknown }>) => payload.eventType);

// Tables of other names.
interface Own {
  public: { Tables: { notes: { Row: { id: number; text: string } }; rooms: { Row: { id: number } } } };
}
const own = createBridgeClient<Own, 'notes', 'rooms'>({ url: 'https://bridge', getToken: () => 't', shared: true });
own.on('new_message', ({ new: note }) => note.text.length + note.id);

export function Hooks(): string {
  const bridge = useBridge<BridgeClient<Database>>();
  const { rows } = useMessages<Message>('d1');
  return rows.map(({ body }) => body).join() + bridge.status.state;
}
