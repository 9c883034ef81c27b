/**
 * The connection as a value: inputs and time go in, the next state and commands come out.  No I/O, no clock.
 *
 * Which transports run is read off the state (`needs`), and so is when it has to be looked at again (`deadline`):
 * the shell keeps one socket, one poll loop and one timer, and cannot disagree with the state.
 */

import type { Timings } from './api.js';
import type { Verdict } from './verdicts.js';

/** Over which transport the next attempt begins. */
export type Via = 'socket' | 'poll';

export type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'opening'; readonly attempt: number; readonly at: number; readonly reason: string }
  | {
      readonly kind: 'live';
      readonly attempt: number;
      readonly since: number;
      /** How many WebSockets were tried beside polling before this one. */
      readonly probes: number;
      readonly pingMs: number;
      /** When the silence is looked at. */
      readonly watchAt: number;
      /** When the unanswered ping was sent; 0 where none is. */
      readonly pingedAt: number;
      readonly refreshAt: number;
      /** The server goes away and has said when to come back. */
      readonly drainMs: number | null;
    }
  | {
      readonly kind: 'polling';
      readonly attempt: number;
      readonly answered: boolean;
      readonly probes: number;
      readonly probing: boolean;
      /** When the next probe begins, or this one is given up. */
      readonly at: number;
      readonly reason: string;
    }
  | {
      readonly kind: 'waiting';
      readonly attempt: number;
      readonly via: Via;
      readonly at: number;
      /** The server asked for this pause: a tab that comes into sight does not shorten it. */
      readonly told: boolean;
      readonly reason: string;
      readonly code: number | null;
    }
  | { readonly kind: 'paused' }
  | { readonly kind: 'closed'; readonly reason: string; readonly code: number | null };

export type Input =
  | { readonly kind: 'connect' }
  | { readonly kind: 'close' }
  /** The socket has its token and begins to open: from now on its time counts. */
  | { readonly kind: 'opened' }
  | { readonly kind: 'connected'; readonly pingMs: number; readonly leftMs: number }
  | { readonly kind: 'authenticated'; readonly leftMs: number }
  | { readonly kind: 'lost'; readonly verdict: Verdict; readonly code: number | null; readonly reason: string }
  | { readonly kind: 'drain'; readonly afterMs: number }
  | { readonly kind: 'polled' }
  | { readonly kind: 'pollFailed'; readonly verdict: Verdict; readonly code: number | null; readonly reason: string }
  | { readonly kind: 'tokenFailed' }
  | { readonly kind: 'signedOut' }
  | { readonly kind: 'time' }
  | { readonly kind: 'online' }
  | { readonly kind: 'offline' }
  | { readonly kind: 'visible' }
  | { readonly kind: 'suspend' }
  | { readonly kind: 'restore' };

export type Command = 'ping' | 'renew';

/** What the shell knows at this moment. */
export interface Context {
  readonly now: number;
  /** In [0, 1). */
  readonly random: number;
  /** When the server was last heard over the socket. */
  readonly heardAt: number;
  readonly hidden: boolean;
  readonly offline: boolean;
  readonly timings: Timings;
}

export type Step = readonly [State, ...Command[]];

/** Live for less than this, and the failures before still count. */
const SETTLED_MS = 10_000;
/** This many in a row that did not settle: the network lets WebSockets open, but not live. */
const FLAPS = 3;
/** Whoever is told that the server is full stays away at least this long. */
const LATER_MS = 5_000;
/** An offline browser tries all the same, in case it is wrong about that. */
const OFFLINE_MS = 30_000;
/** A token is renewed this long before it expires, or at half of what is left. */
const RENEW_MS = 60_000;

type Handler<K extends State['kind'], I extends Input['kind']> = (
  state: Extract<State, { kind: K }>,
  input: Extract<Input, { kind: I }>,
  context: Context,
) => Step;

/** No `Partial`: a new state or input does not compile until somebody has decided what it means. */
type Table = { readonly [K in State['kind']]: { readonly [I in Input['kind']]: Handler<K, I> } };

const stay = (state: State): Step => [state];
const open = (_: State, __: Input, c: Context): Step => [opening(0, c)];
const shut = (): Step => [{ kind: 'closed', reason: 'closed by the page', code: null }];
const signedOut = (): Step => [{ kind: 'closed', reason: 'signed out', code: null }];
const pause = (): Step => [{ kind: 'paused' }];

const TABLE: Table = {
  idle: {
    connect: open, close: shut, opened: stay, connected: stay, authenticated: stay, lost: stay, drain: stay, polled: stay,
    pollFailed: stay, tokenFailed: stay, signedOut: stay, time: stay, online: stay, offline: stay, visible: stay,
    suspend: stay, restore: stay,
  },
  opening: {
    connect: stay,
    close: shut,
    opened: (s, _, c) => [{ ...s, at: c.now + c.timings.openMs }],
    connected: (s, i, c) => [live(s.attempt, 0, i, c)],
    authenticated: stay,
    // Whatever stands between may also close it politely; the bridge has a reason, and a code above these.
    lost: (s, i, c) => {
      return [isOurs(i) ? lost(s.attempt, 'socket', i, c) : polling(s.attempt, 0, 'the WebSocket failed', c)];
    },
    drain: stay,
    polled: stay,
    pollFailed: stay,
    tokenFailed: (s, _, c) => [wait(s.attempt, 'socket', 'no token', c)],
    signedOut,
    time: (s, _, c) => (c.now < s.at ? [s] : [polling(s.attempt, 0, 'the WebSocket did not open', c)]),
    online: stay,
    offline: stay,
    visible: stay,
    suspend: pause,
    restore: stay,
  },
  live: {
    connect: stay,
    close: shut,
    opened: stay,
    connected: stay,
    authenticated: (s, i, c) => [{ ...s, refreshAt: c.now + renewIn(i.leftMs) }],
    lost: (s, i, c) => {
      const attempt = c.now - s.since < SETTLED_MS ? s.attempt : 0;
      if (s.drainMs !== null && i.verdict !== 'final') {
        // Nothing has failed, and the server itself spreads its clients.
        return [{ ...wait(0, 'socket', 'the server restarts', c), at: c.now + s.drainMs, told: true, code: i.code }];
      }
      return [(isOurs(i) ? null : flapping(s, c.now, c)) ?? lost(attempt, 'socket', i, c)];
    },
    drain: (s, i) => [{ ...s, drainMs: i.afterMs }],
    polled: stay,
    pollFailed: stay,
    // The old token still counts; once it does not, the server says so.
    tokenFailed: stay,
    signedOut,
    time: (s, _, c) => {
      if (c.now >= s.refreshAt) return [{ ...s, refreshAt: c.now + RENEW_MS / 2 }, 'renew'];
      if (c.now < s.watchAt) return [s];
      if (c.heardAt >= s.pingedAt && c.now - c.heardAt < s.pingMs) return [{ ...s, pingedAt: 0, watchAt: c.heardAt + s.pingMs }];
      if (s.pingedAt === 0 || c.heardAt >= s.pingedAt) return ask(s, c, c.timings.pongMs);
      return [flapping(s, c.heardAt, c) ?? wait(c.heardAt - s.since < SETTLED_MS ? s.attempt : 0, 'socket', 'the server does not answer', c)];
    },
    // The network may be another one, or none, or the machine has slept: is the server still there?
    online: (s, _, c) => ask(s, c, c.timings.openMs),
    offline: (s, _, c) => ask(s, c, c.timings.openMs),
    visible: (s, _, c) => ask(s, c, c.timings.pongMs),
    suspend: pause,
    restore: stay,
  },
  polling: {
    connect: stay,
    close: shut,
    opened: (s, _, c) => [s.probing ? { ...s, at: c.now + c.timings.openMs } : s],
    connected: (s, i, c) => [live(s.attempt, s.probes + 1, i, c)],
    authenticated: stay,
    lost: (s, i, c) => (i.verdict === 'final' ? [lost(s.attempt, 'poll', i, c)] : [s.probing ? probeLater(s, c) : s]),
    drain: stay,
    polled: (s) => [{ ...s, attempt: 0, answered: true }],
    pollFailed: (s, i, c) => [lost(s.attempt, s.answered ? 'poll' : 'socket', i, c)],
    tokenFailed: (s, _, c) => [wait(s.attempt, 'poll', 'no token', c)],
    signedOut,
    time: (s, _, c) => {
      if (c.now < s.at) return [s];
      return [s.probing ? probeLater(s, c) : { ...s, probing: true, at: Infinity }];
    },
    online: probeNow,
    // Proves itself again (the shell polls anew, without waiting): a browser may be wrong about this.
    offline: (s) => [{ ...s, answered: false }],
    visible: probeNow,
    suspend: pause,
    restore: stay,
  },
  waiting: {
    connect: (s, _, c) => [again(s, c)],
    close: shut,
    opened: stay,
    connected: stay,
    authenticated: stay,
    lost: stay,
    drain: stay,
    polled: stay,
    pollFailed: stay,
    tokenFailed: stay,
    signedOut,
    time: (s, _, c) => [c.now < s.at ? s : again(s, c)],
    online: (s, _, c) => [s.told ? s : { ...s, at: Math.min(s.at, c.now + c.random * c.timings.retryMs) }],
    offline: (s, _, c) => [{ ...s, at: Math.max(s.at, c.now + OFFLINE_MS), reason: 'offline' }],
    // Somebody looks at it: now, but not all tabs of a window in the same moment.
    visible: (s, _, c) => [s.told || c.offline ? s : { ...s, at: Math.min(s.at, c.now + (c.random * c.timings.retryMs) / 4) }],
    suspend: pause,
    restore: stay,
  },
  paused: {
    connect: open, close: shut, opened: stay, connected: stay, authenticated: stay, lost: stay, drain: stay, polled: stay,
    pollFailed: stay, tokenFailed: stay, signedOut, time: stay, online: stay, offline: stay, visible: stay,
    suspend: stay, restore: open,
  },
  closed: {
    connect: open, close: stay, opened: stay, connected: stay, authenticated: stay, lost: stay, drain: stay, polled: stay,
    pollFailed: stay, tokenFailed: stay, signedOut: stay, time: stay, online: stay, offline: stay, visible: stay,
    suspend: stay, restore: stay,
  },
};

/** The only place where the state changes. */
export function next(state: State, input: Input, context: Context): Step {
  // The table is total and its cells are typed; the compiler cannot follow that the two keys belong together.
  const cell = TABLE[state.kind][input.kind] as (state: State, input: Input, context: Context) => Step;
  return cell(state, input, context);
}

/** Which transports run in this state. */
export function needs(state: State): { readonly socket: boolean; readonly poll: boolean } {
  const poll = state.kind === 'polling';
  return { socket: state.kind === 'opening' || state.kind === 'live' || (poll && state.probing), poll };
}

/** When `time` has to be put in; Infinity for never. */
export function deadline(state: State): number {
  switch (state.kind) {
    case 'opening':
    case 'polling':
    case 'waiting':
      return state.at;
    case 'live':
      return Math.min(state.watchAt, state.refreshAt);
    default:
      return Infinity;
  }
}

/**
 * A random time up to a bound that doubles with each failure.
 *
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog (full jitter).
 */
export function fullJitterMs(attempt: number, baseMs: number, capMs: number, random: number): number {
  return random * Math.min(capMs, baseMs * 2 ** attempt);
}

function opening(attempt: number, c: Context): State {
  return { kind: 'opening', attempt, at: Infinity, reason: c.offline ? 'offline' : '' };
}

function live(attempt: number, probes: number, i: { pingMs: number; leftMs: number }, c: Context): State {
  const watchAt = c.now + i.pingMs;
  const refreshAt = c.now + renewIn(i.leftMs);
  return { kind: 'live', attempt, since: c.now, probes, pingMs: i.pingMs, watchAt, pingedAt: 0, refreshAt, drainMs: null };
}

function polling(attempt: number, probes: number, reason: string, c: Context): State {
  const at = c.now + (probes === 0 ? c.timings.probeMs : probePauseMs(probes, c));
  return { kind: 'polling', attempt, answered: false, probes, probing: false, at, reason };
}

/** What `lost` is unless the bridge itself has ended the connection. */
function isOurs(i: { verdict: Verdict; code: number | null }): boolean {
  return i.verdict !== 'network' && (i.code === null || i.code > 1006 || i.verdict === 'final');
}

/** Polling, where WebSockets open but do not last until `until`; null where one that is lost is only lost. */
function flapping(s: Extract<State, { kind: 'live' }>, until: number, c: Context): State | null {
  if (until - s.since >= SETTLED_MS || (s.probes === 0 && s.attempt < FLAPS - 1)) return null;
  return polling(0, s.probes || 1, 'the WebSocket does not last', c);
}

function probePauseMs(probes: number, c: Context): number {
  return (c.hidden ? 4 : 1) * Math.min(c.timings.probeCapMs, c.timings.probeMs * 2 ** probes) * (0.5 + c.random / 2);
}

function probeLater(s: Extract<State, { kind: 'polling' }>, c: Context): State {
  return { ...s, probing: false, probes: s.probes + 1, at: c.now + probePauseMs(s.probes, c) };
}

function probeNow(s: Extract<State, { kind: 'polling' }>, _: Input, c: Context): Step {
  return [s.probing ? s : { ...s, at: Math.min(s.at, c.now + (c.random * c.timings.retryMs) / 4) }];
}

function ask(s: Extract<State, { kind: 'live' }>, c: Context, withinMs: number): Step {
  const watchAt = c.now + withinMs;
  if (s.pingedAt > c.heardAt) return [{ ...s, watchAt: Math.min(s.watchAt, watchAt) }]; // asked already
  return [{ ...s, pingedAt: c.now, watchAt }, 'ping'];
}

function renewIn(leftMs: number): number {
  return Math.max(1000, leftMs > 2 * RENEW_MS ? leftMs - RENEW_MS : leftMs / 2);
}

function again(s: Extract<State, { kind: 'waiting' }>, c: Context): State {
  if (s.via === 'socket') return opening(s.attempt, c);
  return { kind: 'polling', attempt: s.attempt, answered: false, probes: 0, probing: true, at: Infinity, reason: s.reason };
}

function lost(
  attempt: number,
  via: Via,
  i: { verdict: Verdict; code: number | null; reason: string },
  c: Context,
): State {
  if (i.verdict === 'final') return { kind: 'closed', reason: i.reason, code: i.code };
  const waiting = { ...wait(attempt, via, i.reason, c), code: i.code };
  // The first time at once: that a token expires is nobody's fault, and nobody else comes at the same moment.
  if (i.verdict === 'token' && attempt === 0) return { ...waiting, at: c.now };
  if (i.verdict === 'later') return { ...waiting, at: waiting.at + LATER_MS, told: true };
  return waiting;
}

function wait(attempt: number, via: Via, reason: string, c: Context): Extract<State, { kind: 'waiting' }> {
  const slower = c.hidden ? 4 : 1;
  const pauseMs = fullJitterMs(attempt, slower * c.timings.retryMs, slower * c.timings.retryCapMs, c.random);
  const at = c.now + (c.offline ? Math.max(OFFLINE_MS, pauseMs) : pauseMs);
  return { kind: 'waiting', attempt: attempt + 1, via, at, told: false, reason: c.offline ? 'offline' : reason, code: null };
}
