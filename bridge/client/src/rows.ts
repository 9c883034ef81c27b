/** Rows of one table, read by the page and kept current from the stream.  Knows no React. */

import type { BridgeClient, Change, Resync, Row } from './api.js';
import { fullJitterMs } from './machine.js';

/** What a hook returns; a new object whenever something has changed, and only then. */
export interface Rows<R extends object = Row> {
  /** In the order of your query; new ones at the end. */
  readonly rows: readonly R[];
  /** The first read is not through yet. */
  readonly loading: boolean;
  /** Why the last read failed; it is tried again. */
  readonly error: unknown;
}

export interface Source {
  /** Undefined for all. */
  readonly dialogs: readonly string[] | undefined;
  readonly load: () => PromiseLike<readonly object[]>;
  readonly idOf: (row: object) => unknown;
  /**
   * What a change means here: `put` or `remove` its row, `clear` all of them, `load` them, or nothing (null).
   */
  readonly meaning: (change: Change & { readonly type: string }) => 'put' | 'remove' | 'clear' | 'load' | null;
}

const LOADING: Rows<never> = Object.freeze({ rows: [], loading: true, error: null });
const RELOAD_MS = 1_000;
const RELOAD_CAP_MS = 30_000;
/** Changes that wait for a read; more, and the rows are read once more instead. */
const MAX_WAITING = 10_000;

type Heard = Change & { readonly type: string };
type Client = Pick<BridgeClient, 'on' | 'subscribe' | 'status'>;

export class RowStore {
  private current: Rows = LOADING;
  private rows = new Map<unknown, object>();
  private readonly listeners = new Set<() => void>();
  private stop: (() => void) | null = null;
  /** Changes heard since the read began; null while none is under way. */
  private waiting: Heard[] | null = null;
  private reads = 0;
  private publishesSoon = false;
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly client: Client,
    private readonly source: Source,
    private readonly onStop: () => void,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    this.stop ??= this.start();
    return () => {
      this.listeners.delete(listener);
      // React unmounts and mounts again in one go: that ends nothing.
      queueMicrotask(() => this.listeners.size === 0 && this.stop?.());
    };
  };

  readonly snapshot = (): Rows => this.current;

  private start(): () => void {
    const ends = [
      this.client.subscribe({ dialogs: this.source.dialogs }),
      this.client.on('change', (change) => this.hear(change)),
      this.client.on('resync', (resync) => this.resync(resync)),
    ];
    // The stream may cover these dialogs already; if not, `resync` comes once it does.
    if (this.client.status.state === 'live' || this.client.status.state === 'polling') void this.load(0);
    return () => {
      for (const end of ends) end();
      clearTimeout(this.retry);
      this.reads++;
      this.stop = null;
      this.onStop();
    };
  }

  private resync({ dialogs }: Resync): void {
    const mine = this.source.dialogs;
    if (dialogs === null || mine === undefined || mine.some((id) => dialogs.includes(id))) void this.load(0);
  }

  private async load(attempt: number): Promise<void> {
    clearTimeout(this.retry);
    const read = ++this.reads;
    this.waiting = [];
    try {
      const rows = await this.source.load();
      if (read !== this.reads) return;
      this.rows = new Map(rows.map((row) => [this.source.idOf(row), row]));
      const { waiting } = this;
      this.waiting = null;
      for (const change of waiting) this.apply(change);
      this.current = { ...this.current, loading: false, error: null };
      if (waiting.length >= MAX_WAITING) void this.load(0);
    } catch (error) {
      if (read !== this.reads) return;
      this.current = { ...this.current, error };
      this.retry = setTimeout(() => void this.load(attempt + 1), fullJitterMs(attempt, RELOAD_MS, RELOAD_CAP_MS, Math.random()));
    }
    this.publishSoon();
  }

  private hear(change: Heard): void {
    if (this.waiting === null) this.apply(change);
    else if (this.waiting.length < MAX_WAITING) this.waiting.push(change);
  }

  private apply(change: Heard): void {
    const { idOf, meaning } = this.source;
    const means = meaning(change);
    if (change.eventType === 'UPDATE' && means !== null) {
      // The row may have got another primary key; it is the same one.
      const was = idOf(change.old);
      if (was !== undefined && was !== idOf(change.new)) this.rows.delete(was);
    }
    switch (means) {
      case 'put':
        this.rows.set(this.source.idOf(change.new), change.new);
        break;
      case 'remove':
        this.rows.delete(this.source.idOf(change.eventType === 'DELETE' ? change.old : change.new));
        break;
      case 'clear':
        this.rows.clear();
        break;
      case 'load':
        void this.load(0);
        return;
      default:
        return;
    }
    this.publishSoon();
  }

  /** A poll brings many changes at once: they are one rendering. */
  private publishSoon(): void {
    if (this.publishesSoon) return;
    this.publishesSoon = true;
    queueMicrotask(() => {
      this.publishesSoon = false;
      this.current = Object.freeze({ ...this.current, rows: [...this.rows.values()] as Row[] });
      for (const listener of [...this.listeners]) listener();
    });
  }
}

export const NO_ROWS: Rows<never> = LOADING;
