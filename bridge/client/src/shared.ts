/**
 * One connection for all tabs of an origin in which the same user is signed in.
 *
 * The tab that holds a Web Lock is the leader: it has the connection, wants what all tabs want, and tells them what it
 * hears over a BroadcastChannel.  When it closes, the next one gets the lock and resumes at the cursor that it has heard
 * last; what others have heard already they drop, as any client drops what comes twice.
 *
 * Lock and channel are named after the user's claims, so that nobody hears what somebody else may see.
 */

import type { Options, Status } from './api.js';
import { Connection, IDLE, type Link, type Sink } from './connection.js';
import { NONE, difference, intersection, resync, union, type Dialogs, type ServerMessage } from './coverage.js';
import type { Environment } from './environment.js';
import { fullJitterMs } from './machine.js';
import { SignedOut, Tokens, claimsOf } from './token.js';

type Told =
  | { readonly kind: 'leader' }
  | { readonly kind: 'status'; readonly status: Status }
  | { readonly kind: 'message'; readonly message: ServerMessage; readonly cursor: string | null }
  /** The stream covers these dialogs from here on. */
  | { readonly kind: 'covers'; readonly dialogs: Dialogs; readonly cursor: string | null }
  | { readonly kind: 'want'; readonly tab: string; readonly dialogs: Dialogs }
  | { readonly kind: 'bye'; readonly tab: string }
  /** Somebody looks at a tab, or tells it to connect: if the connection waits, it need not. */
  | { readonly kind: 'nudge'; readonly connect: boolean };

/** Claims that change when a token is renewed. */
const VOLATILE = new Set(['exp', 'iat', 'nbf', 'jti']);
/** A new leader waits this long for the others to say what they want, and wants what the last one did until then. */
const GATHER_MS = 500;
const CONNECTING: Status = Object.freeze({ ...IDLE, state: 'connecting' });

/** What one tab holds while it takes part; gone as a whole when it leaves. */
interface Part {
  readonly name: string;
  /** Another one each time: what is still said of the last one does not concern this one. */
  readonly tab: string;
  isPresent: boolean;
  readonly subject: unknown;
  readonly channel: BroadcastChannel;
  readonly left: AbortController;
  connection: Connection | null;
  /** What each other tab wants; kept by the leader. */
  readonly wants: Map<string, Dialogs>;
  /** What the last leader wanted, until the others have said what they want. */
  inherited: Dialogs;
}

export function canShare(): boolean {
  return globalThis.navigator?.locks !== undefined && globalThis.BroadcastChannel !== undefined;
}

export class SharedConnection implements Link {
  private readonly tokens: Tokens;
  private part: Part | null = null;
  private mine: Dialogs = NONE;
  /** What this page was told to read. */
  private read: Dialogs = NONE;
  private covers: Dialogs = NONE;
  private cursor: string | null = null;
  /** It was away: what the others heard meanwhile it has not, and nobody keeps it. */
  private wasAway = false;
  private name: string | null = null;
  private stopListening: (() => void) | null = null;
  private attempt = 0;
  private joining: symbol | null = null;

  constructor(
    private readonly options: Options,
    private readonly sink: Sink,
    private readonly environment: Environment,
  ) {
    this.tokens = new Tokens(options.getToken, () => performance.now());
  }

  connect(): void {
    this.stopListening ??= this.environment.listen((kind) => {
      if (kind === 'suspend') this.leave(); // a page that holds a lock is not kept in the back/forward cache
      else if (kind === 'restore') void this.join();
      else if (kind === 'visible') this.post({ kind: 'nudge', connect: false });
    });
    if (this.part === null) void this.join();
    else if (this.part.connection === null) this.post({ kind: 'nudge', connect: true });
    else this.part.connection.connect();
  }

  close(): void {
    this.stopListening?.();
    this.stopListening = null;
    this.leave();
    this.sink.status(Object.freeze({ ...IDLE, state: 'closed', reason: 'closed by the page' }));
  }

  want(dialogs: Dialogs): void {
    this.mine = dialogs;
    this.read = intersection(this.read, dialogs);
    this.postWant();
    this.wantAll();
    this.readFresh();
  }

  private async join(): Promise<void> {
    const joining = (this.joining = Symbol());
    if (this.part === null) this.sink.status(CONNECTING);
    let token: string;
    try {
      token = await this.tokens.get(0);
    } catch (cause) {
      if (this.joining !== joining) return;
      if (cause instanceof SignedOut) {
        this.sink.status(Object.freeze({ ...IDLE, state: 'closed', reason: 'signed out' }));
      } else {
        this.sink.message({ type: 'error', code: 'token', message: 'getToken failed', cause });
        const again = (): unknown => this.joining === joining && this.join();
        setTimeout(again, fullJitterMs(this.attempt++, 1_000, 30_000, Math.random()));
      }
      return;
    }
    if (this.joining !== joining || this.part !== null) return;
    this.attempt = 0;
    const claims = claimsOf(token);
    const name = `bridge ${this.options.url} ${JSON.stringify(Object.entries(claims).filter(([key]) => !VOLATILE.has(key)))}`;
    if (this.name !== null && this.name !== name) this.forget();
    this.name = name;
    const part: Part = (this.part = {
      name,
      tab: crypto.randomUUID(),
      isPresent: false,
      subject: claims['sub'],
      channel: new BroadcastChannel(name),
      left: new AbortController(),
      connection: null,
      wants: new Map(),
      inherited: NONE,
    });
    part.channel.onmessage = ({ data }) => this.hear(data as Told);
    const { locks } = navigator;
    const { signal } = part.left;
    const held = (): Promise<void> =>
      new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve())));
    // Held for as long as this tab takes part: whoever gets it knows that the tab is gone, however it went.  So nobody
    // may hear of the tab before it holds it.
    const present = (): Promise<void> => {
      part.isPresent = true;
      if (this.part === part) this.postWant();
      return held();
    };
    void locks.request(`${name} ${part.tab}`, present).catch(() => undefined);
    void locks
      .request(name, { signal }, async () => {
        if (this.part === part) await Promise.all([this.lead(part), held()]);
      })
      .catch(() => undefined); // left before it was its turn
  }

  private leave(): void {
    const { part } = this;
    this.joining = null;
    this.part = null;
    if (part === null) return;
    this.wasAway = true;
    // First the connection, then the lock: the next leader begins when this one has ended.
    part.connection?.close();
    part.channel.postMessage({ kind: 'bye', tab: part.tab } satisfies Told);
    part.channel.close();
    part.left.abort();
  }

  /** Another user: nothing of the first one's place in the stream counts. */
  private forget(): void {
    this.cursor = null;
    this.covers = this.read = NONE;
  }

  private lead(part: Part): void {
    part.inherited = this.covers;
    const tell = (told: Told): void => this.tell(part, told);
    const connection: Connection = (part.connection = new Connection(
      this.options,
      {
        status: (status) => tell({ kind: 'status', status }),
        message: (message) => {
          const { cursor } = connection.coverage.position();
          // That rows have to be read for the first time, each tab knows by itself.
          const isFirst = message.type === 'resync' && message['reason'] === 'subscribed';
          const sent = message.type === 'error' ? { ...message, cause: String(message['cause'] ?? '') } : message;
          if (!isFirst) tell({ kind: 'message', message: sent, cursor });
          if (message.type === 'resync') this.tellCoverage(part);
        },
        otherUser: () => {
          if (this.part !== part) return;
          this.leave();
          void this.join();
        },
      },
      this.environment,
      part.subject,
    ));
    connection.coverage.continueFrom(this.cursor, this.covers);
    this.wasAway = false; // the server keeps what it has missed
    this.wantAll();
    connection.connect();
    this.post({ kind: 'leader' });
    setTimeout(() => {
      part.inherited = NONE;
      this.wantAll();
    }, GATHER_MS);
  }

  /** The leader wants what all tabs want. */
  private wantAll(): void {
    const { part } = this;
    if (!part?.connection) return;
    const all = [this.mine, part.inherited, ...part.wants.values()].reduce<Dialogs>(union, NONE);
    part.connection.want(all);
    this.tellCoverage(part);
  }

  private tellCoverage(part: Part): void {
    if (part.connection === null) return;
    const { cursor, covered } = part.connection.coverage.position();
    this.tell(part, { kind: 'covers', dialogs: covered, cursor });
  }

  private tell(part: Part, told: Told): void {
    if (this.part !== part) return;
    this.post(told);
    this.hear(told);
  }

  private hear(told: Told): void {
    const { part } = this;
    if (part === null) return;
    switch (told.kind) {
      case 'status':
        return this.sink.status(told.status);
      case 'message':
        if (!this.wasAway) this.cursor = told.cursor;
        return this.sink.message(told.message);
      case 'covers':
        if (this.wasAway) this.read = NONE;
        this.wasAway = false;
        this.cursor = told.cursor;
        this.covers = told.dialogs;
        this.read = intersection(this.read, told.dialogs);
        return this.readFresh();
      case 'leader':
        return this.postWant();
      case 'nudge':
        return told.connect ? part.connection?.connect() : part.connection?.nudge();
      case 'bye':
        part.wants.delete(told.tab);
        return this.wantAll();
      case 'want':
        return this.heed(part, told.tab, told.dialogs);
    }
  }

  private heed(part: Part, tab: string, dialogs: Dialogs): void {
    const { connection } = part;
    if (connection === null) return;
    if (!part.wants.has(tab)) {
      const gone = (): void => this.hear({ kind: 'bye', tab });
      void navigator.locks.request(`${part.name} ${tab}`, { signal: part.left.signal }, gone).catch(() => undefined);
    }
    part.wants.set(tab, dialogs);
    this.post({ kind: 'status', status: connection.status });
    this.wantAll();
  }

  private readFresh(): void {
    const heard = intersection(this.mine, this.covers);
    const fresh = difference(heard, this.read);
    if (fresh !== null && fresh.size === 0) return;
    this.read = heard;
    this.sink.message(resync('subscribed', fresh === null ? null : [...fresh]));
  }

  private postWant(): void {
    if (this.part?.isPresent) this.post({ kind: 'want', tab: this.part.tab, dialogs: this.mine });
  }

  private post(told: Told): void {
    this.part?.channel.postMessage(told);
  }
}
