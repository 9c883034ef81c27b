/**
 * Which dialogs the page wants, which of them the stream covers up to which cursor, and what follows from both:
 * what to ask the server for, and when the page has to read its rows.  No I/O.
 */

import type { Change, Resync } from './api.js';

/** Ids of dialogs; null for all. */
export type Dialogs = ReadonlySet<string> | null;

export type ClientMessage =
  | { readonly type: 'subscribe'; readonly dialogs?: readonly string[]; readonly since?: string }
  | { readonly type: 'unsubscribe'; readonly dialogs?: readonly string[] };

/** What the server sends, as far as it is read here; anything else is passed on as it is. */
export type ServerMessage = { readonly type: string } & Record<string, unknown>;

export interface PollQuery {
  readonly dialogs: Dialogs;
  readonly since: string | null;
  /** Dialogs whose rows the page has not read: the answer must not wait. */
  readonly fresh: Dialogs;
}

export interface PollAnswer {
  readonly events: readonly ServerMessage[];
  readonly cursor: string | null;
  readonly recovered: boolean;
  readonly status?: string;
}

/** Ids in one message to the server, at most. */
export const MAX_DIALOGS = 1000;
export const NONE: ReadonlySet<string> = new Set();

export class Coverage {
  wanted: Dialogs = NONE;
  private covered: Dialogs = NONE;
  private cursor: string | null = null;
  /** What this socket has been asked for; null where there is no socket. */
  private asked: { dialogs: Dialogs } | null = null;
  private unanswered: Dialogs[] = [];
  private reason = 'subscribed';

  /** Take the place of another one (in another tab) in the stream. */
  continueFrom(cursor: string | null, covered: Dialogs): void {
    this.cursor = cursor;
    this.covered = covered;
  }

  position(): { readonly cursor: string | null; readonly covered: Dialogs } {
    return { cursor: this.cursor, covered: this.covered };
  }

  /** Another user: the place in the stream was somebody else's. */
  forget(): void {
    this.continueFrom(null, NONE);
    this.reason = 'other_user';
  }

  /** The socket is gone. */
  disconnected(): void {
    this.asked = null;
    this.unanswered = [];
  }

  /** A new socket is there: what to send. */
  resume(): ClientMessage[] {
    this.disconnected();
    this.asked = { dialogs: this.wanted };
    return this.ask(this.wanted, isEmpty(this.covered) ? null : this.cursor);
  }

  /** The page wants something else: what to send. */
  want(wanted: Dialogs): ClientMessage[] {
    this.wanted = wanted;
    // What is not wanted is not heard from now on, so it would have to be read again.
    this.covered = intersection(this.covered, wanted);
    if (this.asked === null) return [];
    const before = this.asked.dialogs;
    this.asked = { dialogs: wanted };
    if (wanted === null) return before === null ? [] : this.ask(null, null);
    if (before === null) {
      // All minus some cannot be said.  The cursor closes the gap between the two messages.
      return [{ type: 'unsubscribe' }, ...this.ask(wanted, isEmpty(this.covered) ? null : this.cursor)];
    }
    const gone = [...before].filter((id) => !wanted.has(id));
    const left: ClientMessage[] = chunks(gone).map((dialogs) => ({ type: 'unsubscribe', dialogs }));
    return [...left, ...this.ask(difference(wanted, before), null)];
  }

  /** A message has come over the socket: what the page gets. */
  receive(message: ServerMessage): ServerMessage[] {
    if (typeof message['cursor'] === 'string') this.cursor = message['cursor'];
    if (message.type === 'resync') return [resync(String(message['reason']), null)];
    if (message.type !== 'subscribed') return [message];
    const asked = this.unanswered.shift(); // null means all
    return [message, ...this.cover(asked === undefined ? NONE : asked, message['recovered'] === true)];
  }

  /** What to poll for. */
  query(): PollQuery {
    const fresh = difference(this.wanted, this.covered);
    // Without anything to hear the poll still waits, so that it shows whether the server is there.
    const since = isEmpty(this.covered) && !isEmpty(this.wanted) ? null : this.cursor;
    return { dialogs: this.wanted, since, fresh };
  }

  /** A poll was answered: what the page gets. */
  receivePoll(query: PollQuery, answer: PollAnswer): ServerMessage[] {
    this.cursor = answer.cursor;
    if (isEmpty(query.dialogs)) return [];
    return [...this.cover(query.dialogs, query.since === null || answer.recovered), ...answer.events];
  }

  private ask(dialogs: Dialogs, since: string | null): ClientMessage[] {
    const from = since === null ? {} : { since };
    if (dialogs === null) {
      this.unanswered.push(null);
      return [{ type: 'subscribe', ...from }];
    }
    return chunks([...dialogs]).map((some) => {
      this.unanswered.push(new Set(some));
      return { type: 'subscribe', dialogs: some, ...from };
    });
  }

  private cover(dialogs: Dialogs, recovered: boolean): ServerMessage[] {
    const fresh = difference(dialogs, this.covered);
    this.covered = intersection(union(this.covered, dialogs), this.wanted);
    const reason = this.reason;
    if (!recovered) return [resync('not_recovered', null)];
    if (isEmpty(fresh)) return [];
    this.reason = 'subscribed';
    return [resync(reason, fresh === null ? null : [...fresh])];
  }
}

export function isChange(message: ServerMessage): message is ServerMessage & Change {
  return 'eventType' in message;
}

export function resync(reason: string, dialogs: readonly string[] | null): ServerMessage & Resync {
  return { type: 'resync', reason, dialogs };
}

export function union(a: Dialogs, b: Dialogs): Dialogs {
  return a === null || b === null ? null : new Set([...a, ...b]);
}

function isEmpty(dialogs: Dialogs): boolean {
  return dialogs !== null && dialogs.size === 0;
}

export function intersection(a: Dialogs, b: Dialogs): Dialogs {
  if (a === null || b === null) return a === null ? b : a;
  return new Set([...a].filter((id) => b.has(id)));
}

/** What of `a` is not in `b`; all minus some is all. */
export function difference(a: Dialogs, b: Dialogs): Dialogs {
  if (b === null) return NONE;
  return a === null ? null : new Set([...a].filter((id) => !b.has(id)));
}

function chunks(ids: readonly string[]): string[][] {
  const found: string[][] = [];
  for (let start = 0; start < ids.length; start += MAX_DIALOGS) found.push(ids.slice(start, start + MAX_DIALOGS));
  return found;
}
