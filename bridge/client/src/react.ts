'use client'; // what uses hooks is no server component

/** React hooks: rows that stay current, and the status of the connection. */

import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import type { ReactElement, ReactNode } from 'react';

import type { BridgeClient, Row, Status } from './api.js';
import { NO_ROWS, RowStore, type Rows, type Source } from './rows.js';

export type { Rows } from './rows.js';

/** How the page reads its rows, with the user's rights: queries of supabase-js that throw on errors, for example. */
export interface Load {
  readonly dialogs?: () => PromiseLike<readonly object[]>;
  readonly messages?: (dialogId: string) => PromiseLike<readonly object[]>;
}

export interface BridgeProviderProps {
  // Whatever the rows' types are: hooks name them where they are used.
  readonly client: Pick<BridgeClient, 'connect' | 'close' | 'subscribe' | 'status'> & { readonly on: unknown };
  readonly load: Load;
  /** Column that tells rows apart; `id` unless given. */
  readonly idColumn?: string;
  readonly children?: ReactNode;
}

interface Shared {
  readonly client: BridgeClient;
  readonly store: (name: string, source: Source) => RowStore;
  readonly load: () => Load;
  readonly idOf: (row: object) => unknown;
}

const Context = createContext<Shared | null>(null);
/** How many providers use a client: it is connected while there is one. */
const users = new WeakMap<object, number>();

/** Connects `client` while it is mounted, and gives it to the hooks below. */
export function BridgeProvider({ client: given, load, idColumn = 'id', children }: BridgeProviderProps): ReactElement {
  const client = given as unknown as BridgeClient;
  const latest = useRef(load);
  useEffect(() => {
    latest.current = load;
  });
  useEffect(() => {
    const count = (by: number): number => {
      const now = (users.get(client) ?? 0) + by;
      users.set(client, now);
      return now;
    };
    count(1);
    client.connect();
    return () => {
      count(-1);
      // StrictMode unmounts and mounts again in one go: that is no reason to disconnect.
      queueMicrotask(() => (users.get(client) ?? 0) === 0 && client.close());
    };
  }, [client]);
  const shared = useMemo<Shared>(() => {
    const stores = new Map<string, RowStore>();
    return {
      client,
      load: () => latest.current,
      idOf: (row) => (row as Row)[idColumn],
      store(name, source) {
        const known = stores.get(name) ?? new RowStore(client, source, () => stores.delete(name));
        stores.set(name, known);
        return known;
      },
    };
  }, [client, idColumn]);
  return createElement(Context.Provider, { value: shared }, children);
}

/** The client of the provider above. */
export function useBridge<Client = BridgeClient>(): Client {
  return useShared().client as Client;
}

/** How things stand; renders again when that changes. */
export function useConnectionStatus(): Status {
  const { client } = useShared();
  const subscribe = useCallback((listener: () => void) => client.on('status', listener), [client]);
  const snapshot = (): Status => client.status;
  return useSyncExternalStore(subscribe, snapshot, snapshot);
}

/** The user's dialogs, kept current. */
export function useDialogs<R extends object = Row>(): Rows<R> {
  const { store, load, idOf } = useShared();
  return useRows<R>(
    store('dialogs', {
      dialogs: undefined,
      load: () => need(load().dialogs, 'dialogs')(),
      idOf,
      meaning: ({ type, eventType }) => (type !== 'dialog_update' ? null : eventType === 'DELETE' ? 'remove' : 'put'),
    }),
  );
}

/** The messages of one dialog, kept current; none while `dialogId` is null. */
export function useMessages<R extends object = Row>(dialogId: string | null): Rows<R> {
  const { store, load, idOf } = useShared();
  const own = (row: object): boolean => String(idOf(row)) === dialogId;
  return useRows<R>(
    dialogId === null
      ? null
      : store(`messages ${dialogId}`, {
          dialogs: [dialogId],
          load: () => need(load().messages, 'messages')(dialogId),
          idOf,
          meaning(change) {
            if (change.type === 'dialog_update') {
              // A dialog that comes into sight brings its messages, one that leaves takes them along: untold.
              if (change.eventType === 'DELETE') return own(change.old) ? 'clear' : null;
              return change.eventType === 'INSERT' && own(change.new) ? 'load' : null;
            }
            if (!change.type.includes('message')) return null;
            if (change.eventType === 'DELETE') return change.dialog_id === dialogId ? 'remove' : null;
            // A message that was moved to another dialog is not here any more.
            return change.dialog_id === dialogId ? 'put' : 'remove';
          },
        }),
  );
}

const nothing = (): Rows => NO_ROWS;
const never = (): (() => void) => () => undefined;

function useRows<R extends object>(store: RowStore | null): Rows<R> {
  const rows = useSyncExternalStore(store?.subscribe ?? never, store?.snapshot ?? nothing, nothing);
  return rows as unknown as Rows<R>;
}

function useShared(): Shared {
  const shared = useContext(Context);
  if (shared === null) throw new Error('no bridge here: render this inside <BridgeProvider client={...} load={...}>');
  return shared;
}

function need<T>(given: T | undefined, name: string): T {
  if (given === undefined) throw new Error(`BridgeProvider cannot read ${name}: give it load={{ ${name}: ... }}`);
  return given;
}
