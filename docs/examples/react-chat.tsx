import type { SupabaseClient } from '@supabase/supabase-js';
import { useState } from 'react';
import { createBridgeClient } from 'supabase-realtime-bridge-client';
import { BridgeProvider, useConnectionStatus, useDialogs, useMessages } from 'supabase-realtime-bridge-client/react';

import type { Database } from './database.types.js';

type Tables = Database['public']['Tables'];

/** What the page needs to know of its project: one client, and how rows are read. */
export function connectChat(url: string, supabase: SupabaseClient<Database>) {
  return {
    client: createBridgeClient<Database>({
      url,
      getToken: async () => (await supabase.auth.getSession()).data.session?.access_token,
    }),
    load: {
      dialogs: async () => (await supabase.from('dialogs').select('*').order('title').throwOnError()).data,
      messages: async (id: string) =>
        (await supabase.from('messages').select('*').eq('dialog_id', id).order('created_at').throwOnError()).data,
    },
  };
}

export function Chat({ client, load }: ReturnType<typeof connectChat>) {
  return (
    <BridgeProvider client={client} load={load}>
      <Status />
      <Dialogs />
    </BridgeProvider>
  );
}

function Status() {
  const { state, reason, retryAt } = useConnectionStatus();
  return <p role="status">{retryAt ? `${state}: ${reason}, again at ${new Date(retryAt).toLocaleTimeString()}` : state}</p>;
}

function Dialogs() {
  const { rows, loading } = useDialogs<Tables['dialogs']['Row']>();
  const [chosen, choose] = useState<string | null>(null);
  if (loading) return <p>Reading your dialogs</p>;
  return (
    <>
      <ul>
        {rows.map(({ id, title }) => (
          <li key={id}>
            <button onClick={() => choose(id)}>{title}</button>
          </li>
        ))}
      </ul>
      <Messages dialogId={chosen} />
    </>
  );
}

function Messages({ dialogId }: { dialogId: string | null }) {
  const { rows, error } = useMessages<Tables['messages']['Row']>(dialogId);
  return (
    <>
      {error ? <p role="alert">The messages could not be read; trying again.</p> : null}
      <ol>
        {rows.map(({ id, body }) => (
          <li key={id}>{body}</li>
        ))}
      </ol>
    </>
  );
}
