/** What a page has: handlers, subscriptions, and events in order, each once. */

import type { BridgeClient, Change, Events, Options, Resync, Status } from './api.js';
import { IDLE, type Link, type Sink } from './connection.js';
import { isChange, resync, union, type Dialogs, type ServerMessage } from './coverage.js';
import { Emitter } from './emitter.js';
import { fullJitterMs } from './machine.js';

/** Names of changes that are remembered to drop what comes twice: more than a replay holds that anybody waits for. */
const MAX_SEEN = 10_000;
/** Messages that wait while the page reads its rows; more, and it has to read them again instead. */
const MAX_WAITING = 10_000;
const REREAD_MS = 1_000;
const REREAD_CAP_MS = 30_000;

export class Client implements BridgeClient {
  private readonly emitter = new Emitter();
  private readonly subscriptions = new Map<symbol, Dialogs>();
  private readonly link: Link;
  private current: Status = IDLE;
  private wantsSoon = false;
  private waiting: ServerMessage[] = [];
  private isReading = false;
  private readonly seen = new Set<string>();

  constructor(options: Options, link: (options: Options, sink: Sink) => Link) {
    this.link = link(options, {
      message: (message) => this.receive(message),
      status: (status) => {
        // A leader tells each tab that comes, and the others hear it again.
        if (JSON.stringify(status) === JSON.stringify(this.current)) return;
        this.current = Object.freeze(status);
        this.emit('status', status);
      },
    });
  }

  get status(): Status {
    return this.current;
  }

  connect(): void {
    this.link.connect();
  }

  close(): void {
    this.link.close();
  }

  on<Name extends keyof Events>(name: Name, handler: (payload: Events[Name]) => unknown): () => void {
    return this.emitter.on(name, handler);
  }

  once<Name extends keyof Events>(name: Name, handler: (payload: Events[Name]) => unknown): () => void {
    return this.emitter.on(name, handler, true);
  }

  off<Name extends keyof Events>(name: Name, handler: (payload: Events[Name]) => unknown): void {
    this.emitter.off(name, handler);
  }

  subscribe({ dialogs }: { readonly dialogs?: readonly string[] | undefined } = {}): () => void {
    // A text is a list of letters, too, and no dialog would ever be told of.
    if (typeof dialogs === 'string') throw new TypeError('bridge: dialogs is a text: give a list of ids');
    const subscription = Symbol();
    this.subscriptions.set(subscription, dialogs === undefined ? null : new Set(dialogs));
    this.wantSoon();
    return () => {
      if (this.subscriptions.delete(subscription)) this.wantSoon();
    };
  }

  /** React mounts, unmounts and mounts again in one go: nothing of that reaches the server. */
  private wantSoon(): void {
    if (this.wantsSoon) return;
    this.wantsSoon = true;
    queueMicrotask(() => {
      this.wantsSoon = false;
      this.link.want([...this.subscriptions.values()].reduce<Dialogs>(union, new Set()));
    });
  }

  private receive(message: ServerMessage): void {
    if (this.waiting.length >= MAX_WAITING) {
      this.waiting = [...this.waiting.filter((m) => !isChange(m)), resync('too_many_waiting', null)];
    }
    this.waiting.push(message);
    this.handOn();
  }

  private handOn(): void {
    let message: ServerMessage | undefined;
    while (!this.isReading && (message = this.waiting.shift()) !== undefined) {
      if (message.type === 'resync') this.read(message as ServerMessage & Resync, 0);
      else if (message.type === 'error') this.report(message as ServerMessage & Events['error']);
      else if (!isChange(message)) this.emit(message.type, message);
      else if (this.isNew(message)) {
        this.emit(message.type, message);
        this.emit('change', message);
      }
    }
  }

  /** Events wait until the page has read its rows; if it cannot, it is asked again. */
  private read(wanted: Resync, attempt: number): void {
    const reading = this.emitter.emit('resync', wanted).filter(isThenable);
    if (reading.length === 0) return;
    this.isReading = true;
    const goOn = (): void => {
      this.isReading = false;
      this.handOn();
    };
    Promise.all(reading).then(goOn, (cause: unknown) => {
      this.report({ code: 'resync', message: 'a resync handler failed: it is called again', cause });
      const again = (): void => {
        this.isReading = false;
        this.read(wanted, attempt + 1);
        this.handOn();
      };
      setTimeout(again, fullJitterMs(attempt, REREAD_MS, REREAD_CAP_MS, Math.random()));
    });
  }

  private isNew({ id, cursor, table, dialog_id, eventType }: Change): boolean {
    // One commit may be several events to a user: a membership that begins brings every dialog that it opens.
    const name = `${id ?? cursor} ${table} ${dialog_id} ${eventType}`;
    if (this.seen.has(name)) return false;
    this.seen.add(name);
    if (this.seen.size > MAX_SEEN) this.seen.delete(this.seen.values().next().value as string);
    return true;
  }

  private emit(name: string, payload: unknown): void {
    for (const result of this.emitter.emit(name, payload)) {
      if (!(result instanceof Promise)) continue;
      result.catch((cause: unknown) => {
        const message = `a handler of ${name} failed`;
        if (name === 'error') console.error(message, cause);
        else this.report({ code: 'handler', message, cause });
      });
    }
  }

  /** To the page's handlers; where it has none, to the console, like any other error nobody handles. */
  private report(error: Events['error']): void {
    if (this.emitter.has('error')) this.emit('error', error);
    else console.error(`bridge: ${error.message}`, error.cause);
  }
}

/** A query of supabase-js is no Promise, but waits like one. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null)?.then === 'function';
}
