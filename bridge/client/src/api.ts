/**
 * Every public type.  This file imports nothing: what the compiler makes of it is what the bridge serves as
 * /client.d.ts (build.mjs adds the one function).
 */

/** A row, as JSON has it. */
export type Row = Record<string, unknown>;

/** `Database` as the Supabase CLI generates it, as far as it is read here. */
export interface DatabaseLike {
  public: { Tables: Record<string, { Row: Row }> };
}

/** The rows of a table of `Database`; any row where the table is not named in it. */
export type RowOf<Database, Table extends string> = Database extends {
  public: { Tables: Record<Table, { Row: infer Found }> };
}
  ? Found extends Row
    ? Found
    : Row
  : Row;

interface ChangeBase {
  /** Names this change for ever, where the server gives it: the same change never comes twice with it. */
  readonly id?: string;
  /** Place in the stream; opaque. */
  readonly cursor: string;
  /** The dialog that the row belongs to; null for rows that belong to none. */
  readonly dialog_id: string | null;
  readonly schema: string;
  readonly table: string;
  /** RFC 3339, UTC. */
  readonly commit_timestamp: string;
  /** As in supabase-js; null where there are none, which its types do not say either. */
  readonly errors: string[];
}

/** The row has come into the user's sight: put it in, whether you had it or not. */
export interface Inserted<R extends object = Row> extends ChangeBase {
  readonly eventType: 'INSERT';
  readonly new: R;
  readonly old: Record<string, never>;
}

export interface Updated<R extends object = Row> extends ChangeBase {
  readonly eventType: 'UPDATE';
  readonly new: R;
  readonly old: Partial<R>;
}

/** The row has left the user's sight; `old` holds the primary key. */
export interface Deleted<R extends object = Row> extends ChangeBase {
  readonly eventType: 'DELETE';
  readonly new: Record<string, never>;
  readonly old: Partial<R>;
}

/** One change of one row, as this user experiences it; a supabase-js `postgres_changes` payload with more fields. */
export type Change<R extends object = Row> = Inserted<R> | Updated<R> | Deleted<R>;

export type StatusState = 'idle' | 'connecting' | 'live' | 'polling' | 'waiting' | 'closed';

/** How things stand.  A new object whenever something has changed, and only then. */
export interface Status {
  /**
   * - `idle`: not asked to connect yet.
   * - `connecting`: no transport has proved itself yet.
   * - `live`: over a WebSocket.
   * - `polling`: over HTTP; a WebSocket is tried in the background.
   * - `waiting`: not connected; tried again at `retryAt`.
   * - `closed`: not connected, and not tried again until `connect()`.
   */
  readonly state: StatusState;
  /** Why it is so, in words; empty where all is well. */
  readonly reason: string;
  /** The WebSocket's close code, or the HTTP status, where there was one. */
  readonly code?: number;
  /** When the next attempt begins, in milliseconds as Date.now() has them; only while waiting. */
  readonly retryAt?: number;
  /** Whether changes reach the bridge itself; null until it has said so. */
  readonly upstream: 'live' | 'catching_up' | 'down' | null;
}

/** Read your rows (again): changes may have been missed, or come for rows that you have not read yet. */
export interface Resync {
  /** `subscribed`, `not_recovered`, `other_user`, `too_many_waiting`, or the server's word. */
  readonly reason: string;
  /** The dialogs that are concerned; null for everything. */
  readonly dialogs: readonly string[] | null;
}

export interface BridgeError {
  /** The server's word (docs/errors.md), or the client's: `token`, `handler`, `resync`. */
  readonly code: string;
  readonly message: string;
  readonly cause?: unknown;
}

/** The events that are changes of rows. */
export interface ChangeEvents<Database = DatabaseLike, Messages extends string = 'messages', Dialogs extends string = 'dialogs'> {
  /** A message has come into the user's sight. */
  new_message: Inserted<RowOf<Database, Messages>> & { readonly type: 'new_message' };
  message_update: Updated<RowOf<Database, Messages>> & { readonly type: 'message_update' };
  /** A message has left the user's sight: deleted, or not for this user any more. */
  message_delete: Deleted<RowOf<Database, Messages>> & { readonly type: 'message_delete' };
  /** A dialog has come into sight (INSERT), changed (UPDATE) or gone (DELETE): `eventType` says which. */
  dialog_update: Change<RowOf<Database, Dialogs>> & { readonly type: 'dialog_update' };
  /** A row of any other captured table; `table` says of which. */
  row_change: Change & { readonly type: 'row_change' };
}

/** Every event, with what its handlers get. */
export interface Events<Database = DatabaseLike, Messages extends string = 'messages', Dialogs extends string = 'dialogs'>
  extends ChangeEvents<Database, Messages, Dialogs> {
  /** Each of these, in their common order: a union that `type` tells apart. */
  change: ChangeEvents<Database, Messages, Dialogs>[keyof ChangeEvents];
  /**
   * Read your rows.  A handler may return a promise: events wait until it is settled, and none is lost or overtaken.
   * One that rejects is called again later.
   */
  resync: Resync;
  /** The status has changed. */
  status: Status;
  connected: {
    readonly connection_id: string;
    readonly user_id: string | null;
    readonly expires_at: string;
    readonly ping_interval_s: number;
    readonly server_time: string;
    readonly protocol: number;
  };
  authenticated: { readonly expires_at: string };
  subscribed: { readonly dialogs: readonly string[] | null; readonly cursor: string; readonly recovered: boolean };
  unsubscribed: { readonly dialogs: readonly string[] };
  pong: { readonly server_time: string; readonly id?: string | number | null };
  /** The worker goes away; the client comes back by itself. */
  reconnect: { readonly after_ms: number };
  error: BridgeError;
}

export type Handler<Payload> = (payload: Payload) => unknown;

/** Milliseconds; for tests and unusual networks. */
export interface Timings {
  /** A WebSocket that has not opened by then is given up for long polling. */
  readonly openMs: number;
  /** First pause before a WebSocket is tried beside long polling; doubled up to `probeCapMs`. */
  readonly probeMs: number;
  readonly probeCapMs: number;
  /** A random time up to this before the first retry; doubled up to `retryCapMs`.  Four times as long in hidden tabs. */
  readonly retryMs: number;
  readonly retryCapMs: number;
  /** How long an answer to a ping may take. */
  readonly pongMs: number;
  /** How long one long poll waits for an event. */
  readonly pollMs: number;
}

export interface Options {
  /** Where the bridge is: `https://bridge.example.com`, with a path if it is behind one.  Anything else throws a TypeError. */
  readonly url: string;
  /**
   * Returns the access token of the signed-in user: asked before each attempt to connect and before the token expires.
   * null means signed out: the client closes.  One that throws, or takes more than ten seconds, is asked again later.
   */
  readonly getToken: () => string | null | undefined | Promise<string | null | undefined>;
  /**
   * Tabs of this origin with the same user share one connection (Web Locks, BroadcastChannel); where the browser has
   * neither, each has its own.
   */
  readonly shared?: boolean;
  readonly timings?: Partial<Timings>;
  /** The browser's own unless given. */
  readonly WebSocket?: new (url: string, protocols?: string | string[]) => WebSocket;
  readonly fetch?: typeof fetch;
}

export interface BridgeClient<
  Database = DatabaseLike,
  Messages extends string = 'messages',
  Dialogs extends string = 'dialogs',
> {
  /** How things stand; the same object until something changes. */
  readonly status: Status;
  /** Connect, and stay connected.  Doing it twice does nothing; while waiting it means now. */
  connect(): void;
  /** Disconnect, at once and without an error; handlers and subscriptions stay.  `connect` goes on from where this stopped. */
  close(): void;
  /** Call `handler` at each event; returns a function that ends it.  The same handler twice is called once. */
  on<Name extends keyof Events>(name: Name, handler: Handler<Events<Database, Messages, Dialogs>[Name]>): () => void;
  /** Call `handler` at the next event only; returns a function that ends the wait. */
  once<Name extends keyof Events>(name: Name, handler: Handler<Events<Database, Messages, Dialogs>[Name]>): () => void;
  /** End what `on` or `once` began with this handler; one that is not known is ignored. */
  off<Name extends keyof Events>(name: Name, handler: Handler<Events<Database, Messages, Dialogs>[Name]>): void;
  /**
   * Want the events of these dialogs; without `dialogs`, of all that the user may see.  All subscriptions share one
   * connection.
   *
   * @returns a function that ends the subscription; calling it again does nothing.
   */
  subscribe(options?: { readonly dialogs?: readonly string[] | undefined }): () => void;
}

export type CreateBridgeClient = <
  Database = DatabaseLike,
  Messages extends string = 'messages',
  Dialogs extends string = 'dialogs',
>(
  options: Options,
) => BridgeClient<Database, Messages, Dialogs>;
