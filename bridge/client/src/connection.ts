/** Carries out what the state says: one socket, one poll loop, one timer, at most. */

import type { Options, Status, Timings } from './api.js';
import { Coverage, type Dialogs, type ServerMessage } from './coverage.js';
import type { Environment } from './environment.js';
import { deadline, needs, next, type Context, type Input, type State } from './machine.js';
import { SignedOut, Tokens, claimsOf } from './token.js';
import { openSocket, pollOnce, type Socket } from './transports.js';
import { ofCloseCode } from './verdicts.js';

/** Something that hears the server for a page. */
export interface Link {
  connect(): void;
  close(): void;
  want(dialogs: Dialogs): void;
}

export interface Sink {
  message(message: ServerMessage): void;
  status(status: Status): void;
  /** Called instead of going on when getToken returns the token of another user than at first. */
  otherUser?(): void;
}

export const IDLE: Status = Object.freeze({ state: 'idle', reason: '', upstream: null });

const TIMINGS: Timings = {
  openMs: 2_500,
  probeMs: 5_000,
  probeCapMs: 60_000,
  retryMs: 1_000,
  retryCapMs: 30_000,
  pongMs: 5_000,
  pollMs: 25_000,
};
/** setTimeout counts with 31 bits. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** While polling, a token is asked for again when it is older. */
const TOKEN_AGE_MS = 30_000;
/** Pause after an answer that came at once with nothing: the server is leaving. */
const IDLE_POLL_MS = 1_000;

/** The socket of an attempt, from the moment its token is asked for. */
interface Attempt {
  socket: Socket | null;
}

export class Connection implements Link {
  readonly coverage = new Coverage();
  private state: State = { kind: 'idle' };
  private attempt: Attempt | null = null;
  private polling: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private heardAt = 0;
  private upstream: Status['upstream'] = null;
  status: Status = IDLE;
  private serverClockMs = 0;
  private stopListening: (() => void) | null = null;
  private readonly tokens: Tokens;
  private readonly timings: Timings;

  constructor(
    private readonly options: Options,
    private readonly sink: Sink,
    private readonly environment: Environment,
    private subject?: unknown,
  ) {
    this.timings = { ...TIMINGS, ...options.timings };
    this.tokens = new Tokens(options.getToken, now);
  }

  connect(): void {
    this.stopListening ??= this.environment.listen((kind) => this.step({ kind }));
    this.step({ kind: 'connect' });
  }

  close(): void {
    this.stopListening?.();
    this.stopListening = null;
    this.step({ kind: 'close' });
  }

  want(dialogs: Dialogs): void {
    for (const message of this.coverage.want(dialogs)) this.attempt?.socket?.send(message);
    if (this.polling !== null) this.poll();
  }

  /** Somebody looks: if it waits, it need not. */
  nudge(): void {
    this.step({ kind: 'visible' });
  }

  private step(input: Input): void {
    const before = this.state;
    const context: Context = {
      now: now(),
      random: Math.random(),
      heardAt: this.heardAt,
      hidden: this.environment.hidden(),
      offline: this.environment.offline(),
      timings: this.timings,
    };
    const [state, ...commands] = next(before, input, context);
    this.state = state;
    const wanted = needs(state);
    if (!wanted.poll) this.stopPolling();
    if (!wanted.socket) this.dropSocket();
    if (wanted.socket && this.attempt === null) void this.open();
    const proveAgain = before.kind === 'polling' && before.answered && state.kind === 'polling' && !state.answered;
    if (wanted.poll && (this.polling === null || proveAgain)) this.poll();
    // What was missed is asked for after the polls have ended: nothing comes over both.
    if (state.kind === 'live' && before.kind !== 'live') this.send(...this.coverage.resume());
    for (const command of commands) {
      if (command === 'ping') this.send({ type: 'ping' });
      else void this.renew();
    }
    this.setTimer();
    this.publish();
  }

  private setTimer(): void {
    clearTimeout(this.timer);
    const at = deadline(this.state);
    if (at === Infinity) return;
    this.timer = setTimeout(() => this.step({ kind: 'time' }), Math.min(MAX_TIMER_MS, Math.max(0, at - now())));
  }

  private send(...messages: object[]): void {
    for (const message of messages) this.attempt?.socket?.send(message);
  }

  // The WebSocket.

  private async open(): Promise<void> {
    const attempt: Attempt = (this.attempt = { socket: null });
    const isCurrent = (): boolean => this.attempt === attempt;
    const token = await this.token(this.polling === null ? 0 : TOKEN_AGE_MS, isCurrent);
    if (token === null) return;
    const lost = (code: number, reason: string): void => {
      if (!isCurrent()) return;
      this.attempt = null;
      this.coverage.disconnected();
      const verdict = ofCloseCode(code);
      if (verdict === 'token') this.tokens.refuse();
      this.step({ kind: 'lost', verdict, code, reason: reason || `the connection was lost (${code})` });
    };
    try {
      attempt.socket = openSocket(this.options.url, token, this.options.WebSocket ?? WebSocket, {
        message: (message) => isCurrent() && this.receive(message),
        lost,
      });
    } catch {
      return lost(1006, 'no WebSocket can be made'); // a policy of the page forbids it
    }
    this.step({ kind: 'opened' });
  }

  private dropSocket(): void {
    this.attempt?.socket?.drop();
    this.attempt = null;
    this.coverage.disconnected();
  }

  private receive(message: ServerMessage): void {
    this.heardAt = now();
    switch (message.type) {
      case 'connected': {
        const serverMs = Date.parse(String(message['server_time']));
        this.serverClockMs = serverMs - now();
        const leftMs = Date.parse(String(message['expires_at'])) - serverMs;
        this.sink.message(message);
        return this.step({ kind: 'connected', pingMs: Number(message['ping_interval_s']) * 1000, leftMs });
      }
      case 'authenticated': {
        const leftMs = Date.parse(String(message['expires_at'])) - this.serverClockMs - now();
        this.sink.message(message);
        return this.step({ kind: 'authenticated', leftMs });
      }
      case 'status':
        this.upstream = message['upstream'] as Status['upstream'];
        return this.publish();
      case 'reconnect':
        this.sink.message(message);
        return this.step({ kind: 'drain', afterMs: Number(message['after_ms']) });
      default:
        for (const told of this.coverage.receive(message)) this.sink.message(told);
    }
  }

  private async renew(): Promise<void> {
    const attempt = this.attempt;
    const token = await this.token(0, () => this.attempt === attempt);
    if (token !== null) this.send({ type: 'auth', token });
  }

  // Long polling.

  private poll(): void {
    this.stopPolling();
    const polling = (this.polling = new AbortController());
    void this.pollUntil(polling.signal, () => this.polling === polling);
  }

  private async pollUntil(signal: AbortSignal, isCurrent: () => boolean): Promise<void> {
    for (let first = true; isCurrent(); first = false) {
      const token = await this.token(TOKEN_AGE_MS, isCurrent);
      if (token === null) return;
      const query = this.coverage.query();
      const isFresh = query.fresh === null || query.fresh.size > 0;
      const waitMs = first || isFresh ? 0 : this.timings.pollMs;
      const askedAt = now();
      const fetchIt = this.options.fetch ?? fetch.bind(globalThis);
      const polled = await pollOnce(this.options.url, token, query, waitMs, fetchIt, signal);
      if (!isCurrent()) return;
      if (!polled.ok) {
        this.polling = null;
        if (polled.verdict === 'token') this.tokens.refuse();
        return this.step({ kind: 'pollFailed', verdict: polled.verdict, code: polled.code, reason: polled.reason });
      }
      const { answer } = polled;
      this.upstream = (answer.status ?? null) as Status['upstream'];
      this.step({ kind: 'polled' });
      for (const told of this.coverage.receivePoll(query, answer)) this.sink.message(told);
      if (waitMs > 0 && answer.events.length === 0 && now() - askedAt < IDLE_POLL_MS) {
        await new Promise((resolve) => setTimeout(resolve, IDLE_POLL_MS));
      }
    }
  }

  private stopPolling(): void {
    this.polling?.abort();
    this.polling = null;
  }

  // Both.

  /** The token to use; null if it is not wanted any more, or there is none (then the state has changed). */
  private async token(maxAgeMs: number, isWanted: () => boolean): Promise<string | null> {
    try {
      const token = await this.tokens.get(maxAgeMs);
      if (!isWanted()) return null;
      const subject = claimsOf(token)['sub'];
      const isOther = this.subject !== undefined && subject !== this.subject;
      if (isOther && this.sink.otherUser !== undefined) {
        this.sink.otherUser();
        return null;
      }
      this.subject = subject;
      if (isOther) {
        this.coverage.forget();
        if (this.state.kind === 'live') {
          this.dropSocket();
          this.step({ kind: 'lost', verdict: 'token', code: null, reason: 'another user has signed in' });
          return null;
        }
      }
      return token;
    } catch (cause) {
      if (!isWanted()) return null;
      const isSignedOut = cause instanceof SignedOut;
      if (!isSignedOut) this.sink.message({ type: 'error', code: 'token', message: 'getToken failed', cause });
      this.step({ kind: isSignedOut ? 'signedOut' : 'tokenFailed' });
      return null;
    }
  }

  private publish(): void {
    const { state } = this;
    const made: Status = {
      state: stateOf(state),
      reason: 'reason' in state ? state.reason : '',
      ...('code' in state && state.code !== null ? { code: state.code } : {}),
      ...(state.kind === 'waiting' ? { retryAt: Math.round(Date.now() + state.at - now()) } : {}),
      upstream: this.upstream,
    };
    const { status } = this;
    // The same moment, computed twice, may differ by a millisecond.
    const isSame =
      made.state === status.state && made.reason === status.reason && made.code === status.code &&
      made.upstream === status.upstream && Math.abs((made.retryAt ?? 0) - (status.retryAt ?? 0)) < 5;
    if (isSame) return;
    this.status = Object.freeze(made);
    this.sink.status(this.status);
  }
}

function stateOf(state: State): Status['state'] {
  switch (state.kind) {
    case 'opening':
      return 'connecting';
    case 'polling':
      return state.answered ? 'polling' : 'connecting';
    case 'paused':
      return 'waiting';
    default:
      return state.kind;
  }
}

/** Milliseconds of a clock that nobody sets. */
function now(): number {
  return performance.now();
}
