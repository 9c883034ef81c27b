/** What several tests need: contexts, a hand-driven WebSocket, and waiting. */

import type { Options, Status, Timings } from '../../bridge/client/src/api.js';
import type { Environment } from '../../bridge/client/src/environment.js';
import type { Context } from '../../bridge/client/src/machine.js';

export const TIMINGS: Timings = {
  openMs: 2_500,
  probeMs: 5_000,
  probeCapMs: 60_000,
  retryMs: 1_000,
  retryCapMs: 30_000,
  pongMs: 5_000,
  pollMs: 25_000,
};

export function context(now: number, other: Partial<Context> = {}): Context {
  return { now, random: 0.5, heardAt: 0, hidden: false, offline: false, timings: TIMINGS, ...other };
}

/** A token with these claims; its signature is nobody's. */
export function token(claims: object): string {
  return `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;
}

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static made: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readyState = 1;
  readonly sent: Record<string, unknown>[] = [];

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.made.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(code = 1000): void {
    this.readyState = 3;
    queueMicrotask(() => this.onclose?.({ code, reason: '' }));
  }

  receive(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  lose(code: number, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

export const socketClass = FakeSocket as unknown as NonNullable<Options['WebSocket']>;

type Tell = Parameters<Environment['listen']>[0];

/** A page that the test turns, hides and takes off the network. */
export class FakePage {
  isHidden = false;
  isOffline = false;
  tell: Tell = () => undefined;
  readonly environment: Environment = {
    hidden: () => this.isHidden,
    offline: () => this.isOffline,
    listen: (tell) => {
      this.tell = tell;
      return () => (this.tell = () => undefined);
    },
  };
}

/** Wait until something is so; fails after two seconds. */
export async function until<T>(found: () => T | undefined | false | null): Promise<T> {
  const end = Date.now() + 2_000;
  for (;;) {
    const value = found();
    if (value !== undefined && value !== false && value !== null) return value;
    if (Date.now() > end) throw new Error(`never so: ${found}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

export function states(statuses: readonly Status[]): string[] {
  return statuses.map((status) => status.state);
}

export function connected(other: object = {}): object {
  return {
    type: 'connected', connection_id: 'c', user_id: 'u', expires_at: '2026-01-01T11:00:00.000Z', ping_interval_s: 25,
    server_time: '2026-01-01T10:00:00.000Z', protocol: 1, ...other,
  };
}

export function message(n: number, other: object = {}): { type: string } & Record<string, unknown> {
  return {
    type: 'new_message', cursor: `e-${n}`, dialog_id: 'd1', schema: 'public', table: 'messages', eventType: 'INSERT',
    commit_timestamp: '2026-01-01T10:00:00.000Z', new: { id: String(n) }, old: {}, errors: null, ...other,
  };
}
