import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { deadline, fullJitterMs, needs, next, type Context, type Input, type State } from '../../bridge/client/src/machine.js';
import { ofCloseCode, ofHttpStatus } from '../../bridge/client/src/verdicts.js';
import { TIMINGS, context } from './support.js';

const CONNECTED: Input = { kind: 'connected', pingMs: 25_000, leftMs: 3_600_000 };
const lost = (code: number): Input => ({ kind: 'lost', verdict: ofCloseCode(code), code, reason: `code ${code}` });

/** Put inputs in at one moment, each with its context; the last state and all commands come out. */
function run(state: State, inputs: readonly Input[], c: Context): [State, string[]] {
  const commands: string[] = [];
  for (const input of inputs) {
    const [after, ...more] = next(state, input, c);
    state = after;
    commands.push(...more);
  }
  return [state, commands];
}

function live(c: Context = context(0)): State {
  return run({ kind: 'idle' }, [{ kind: 'connect' }, { kind: 'opened' }, CONNECTED], c)[0];
}

function as<K extends State['kind']>(kind: K, state: State): Extract<State, { kind: K }> {
  assert.equal(state.kind, kind);
  return state as Extract<State, { kind: K }>;
}

function polling(): State {
  return run({ kind: 'idle' }, [{ kind: 'connect' }, { kind: 'opened' }, lost(1006), { kind: 'polled' }], context(0))[0];
}

test('a WebSocket that opens is live; one that does not in 2.5 s gives way to polling', () => {
  assert.deepEqual(needs(live()), { socket: true, poll: false });
  const [opening] = run({ kind: 'idle' }, [{ kind: 'connect' }, { kind: 'opened' }], context(100));
  assert.equal(deadline(opening), 2_600);
  assert.equal(next(opening, { kind: 'time' }, context(2_599))[0].kind, 'opening');
  const [polled] = next(opening, { kind: 'time' }, context(2_600));
  assert.deepEqual(needs(as('polling', polled)), { socket: false, poll: true });
});

test('time that getToken takes does not count as the time of the WebSocket', () => {
  const [opening] = run({ kind: 'idle' }, [{ kind: 'connect' }], context(0));
  assert.equal(deadline(opening), Infinity);
  assert.equal(next(opening, { kind: 'time' }, context(60_000))[0].kind, 'opening');
});

test('while polling, the WebSocket is probed ever less often and taken back when it opens', () => {
  let state = polling();
  const pauses: number[] = [];
  for (let round = 0, now = 0; round < 7; round++) {
    pauses.push(as('polling', state).at - now);
    now = as('polling', state).at;
    [state] = next(state, { kind: 'time' }, context(now));
    assert.deepEqual(needs(state), { socket: true, poll: true });
    [state] = run(state, [{ kind: 'opened' }, lost(1006)], context(now));
    assert.deepEqual(needs(state), { socket: false, poll: true });
  }
  assert.deepEqual(pauses, [5_000, 3_750, 7_500, 15_000, 30_000, 45_000, 45_000]);
  [state] = run(state, [{ kind: 'time' }], context(1e9));
  [state] = run(state, [{ kind: 'opened' }, CONNECTED], context(1e9));
  assert.deepEqual(needs(as('live', state)), { socket: true, poll: false });
});

test('a probe that hangs is given up after 2.5 s, and polling goes on', () => {
  const [probing] = run(polling(), [{ kind: 'time' }, { kind: 'opened' }], context(5_000));
  assert.equal(deadline(probing), 7_500);
  assert.deepEqual(needs(next(probing, { kind: 'time' }, context(7_500))[0]), { socket: false, poll: true });
});

test('what failed is tried again after a random time that doubles, up to half a minute', () => {
  const delays = [0, 1, 2, 3, 4, 5, 9].map((attempt) => fullJitterMs(attempt, 1_000, 30_000, 1));
  assert.deepEqual(delays, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  assert.equal(fullJitterMs(3, 1_000, 30_000, 0), 0);
  const [waiting] = next(live(), lost(1006), context(60_000));
  assert.equal(as('waiting', waiting).at, 60_500);
  const [again] = next(waiting, { kind: 'time' }, context(60_500));
  assert.equal(as('opening', again).attempt, 1);
});

/** One WebSocket after the other, each lost `afterMs` after it opened; the state after each loss, while none is polled. */
function flaps(afterMs: number, input: (c: Context) => Input, count: number): State[] {
  const found: State[] = [];
  let [state, now] = [next({ kind: 'idle' }, { kind: 'connect' }, context(0))[0], 0];
  while (found.length < count && state.kind !== 'polling') {
    [state] = run(state, [{ kind: 'opened' }, CONNECTED], context(now));
    now += afterMs;
    [state] = next(state, input(context(now)), context(now));
    found.push(state);
    if (state.kind === 'waiting') [state] = next(state, { kind: 'time' }, context((now = state.at)));
  }
  return found;
}

test('WebSockets that open and are cut again and again give way to polling', () => {
  for (const code of [1000, 1005, 1006]) {
    assert.deepEqual(flaps(3_000, () => lost(code), 9).map((state) => state.kind), ['waiting', 'waiting', 'polling'], `${code}`);
  }
  const last = as('polling', flaps(3_000, () => lost(1006), 9).at(-1) as State);
  assert.deepEqual([last.reason, last.answered], ['the WebSocket does not last', false]);
  // What lasts, and what the bridge itself ends, is not polled around.
  for (const [afterMs, code] of [[10_000, 1006], [3_000, 1011], [3_000, 4430]] as const) {
    assert.deepEqual(flaps(afterMs, () => lost(code), 5).map((state) => state.kind), Array(5).fill('waiting'), `${code}`);
  }
});

test('while WebSockets do not last they are tried ever less often, until one does', () => {
  let state = flaps(3_000, () => lost(1006), 9).at(-1) as State;
  let now = 9_000;
  const pauses: number[] = [];
  for (let round = 0; round < 6; round++) {
    [state] = next(state, { kind: 'polled' }, context(now));
    const { at } = as('polling', state);
    pauses.push(at - now);
    [state] = run(state, [{ kind: 'time' }, { kind: 'opened' }, CONNECTED], context(at));
    [state] = next(as('live', state), lost(1006), context((now = at + 2_000)));
  }
  assert.ok(pauses.every((pause, n) => pause >= (pauses[n - 1] ?? 0) && pause <= 45_000) && pauses.at(-1) === 45_000, `${pauses}`);
  [state] = run(state, [{ kind: 'time' }, { kind: 'opened' }, CONNECTED], context(1e6));
  assert.equal(as('waiting', next(state, lost(1006), context(1e6 + 10_000))[0]).attempt, 1, 'as if nothing had been');
});

test('WebSockets that fall silent as soon as they are open give way to polling as well', () => {
  let state = live();
  for (let round = 0, now = 0; round < 3; round++) {
    // Nothing is heard after `connected`, nor is the ping answered.
    [state] = run(state, [{ kind: 'time' }], context(now + 25_000, { heardAt: now }));
    [state] = next(state, { kind: 'time' }, context(now + 30_000, { heardAt: now }));
    if (round < 2) {
      now = as('waiting', state).at;
      [state] = run(state, [{ kind: 'time' }, { kind: 'opened' }, CONNECTED], context(now));
    }
  }
  assert.equal(as('polling', state).reason, 'the WebSocket does not last');
});

test('failures count until a connection has lasted ten seconds', () => {
  const [third] = run({ ...as('opening', next({ kind: 'idle' }, { kind: 'connect' }, context(0))[0]), attempt: 3 }, [CONNECTED], context(0));
  assert.equal(as('waiting', next(third, lost(1011), context(9_999))[0]).attempt, 4);
  assert.equal(as('waiting', next(third, lost(1011), context(10_000))[0]).attempt, 1);
});

test('hidden tabs take four times as long; one that comes into sight goes at once', () => {
  const [waiting] = next(live(), lost(1006), context(60_000, { hidden: true, random: 1 }));
  assert.equal(as('waiting', waiting).at, 64_000);
  const [shown] = next(waiting, { kind: 'visible' }, context(61_000));
  assert.equal(as('waiting', shown).at, 61_125);
});

test('each documented close code means what docs/protocol.md says', () => {
  const after = (code: number) => next(live(), lost(code), context(60_000))[0];
  for (const code of [1002, 4400, 4403, 4413]) assert.equal(as('closed', after(code)).code, code);
  for (const code of [1000, 1001, 1006, 1011, 1012, 4408, 4430]) assert.equal(as('waiting', after(code)).at, 60_500);
  for (const code of [4401, 4409]) assert.equal(as('waiting', after(code)).at, 60_000, 'at once, with a new token');
  assert.ok(as('waiting', after(4429)).at >= 65_000, 'not soon');
  const [shown] = next(after(4429), { kind: 'visible' }, context(60_001));
  assert.ok(as('waiting', shown).at >= 65_000, 'not even when somebody looks');
});

test('every close code that is documented is understood as it is documented', () => {
  const protocol = readFileSync(new URL('../../../../../docs/protocol.md', import.meta.url), 'utf8');
  const table = [...protocol.matchAll(/^\| ([\d, ]+) \| [^|]+ \| ([^|]+) \|$/gm)];
  assert.ok(table.length > 10);
  for (const [, codes = '', advice = ''] of table) {
    for (const code of codes.split(',').map(Number)) {
      const expected = advice.startsWith('no') ? 'final' : advice.includes('token') ? 'token' : advice.startsWith('later') ? 'later' : 'retry';
      assert.equal(ofCloseCode(code), expected, `${code}: ${advice}`);
    }
  }
});

test('a proxy that closes politely before the bridge has said anything is polled around as well', () => {
  const [opening] = run({ kind: 'idle' }, [{ kind: 'connect' }, { kind: 'opened' }], context(0));
  for (const code of [1000, 1001, 1005, 1006]) assert.equal(next(opening, lost(code), context(0))[0].kind, 'polling');
  for (const code of [1011, 1012, 4408, 4429]) assert.equal(next(opening, lost(code), context(0))[0].kind, 'waiting');
  for (const code of [1002, 4403]) assert.equal(next(opening, lost(code), context(0))[0].kind, 'closed');
});

test('a token that is refused again and again is not asked for in a storm', () => {
  let [state] = next(live(), lost(4409), context(60_000));
  [state] = run(state, [{ kind: 'time' }, { kind: 'opened' }, lost(4401)], context(60_000));
  assert.equal(as('waiting', state).at, 61_000);
});

test('a refused origin is final over HTTP too, but not what a proxy answers', () => {
  assert.deepEqual([400, 401, 403, 429, 500].map((status) => ofHttpStatus(status, true)), ['final', 'token', 'final', 'later', 'network']);
  assert.equal(ofHttpStatus(403, false), 'network');
});

test('a server that restarts says when to come back', () => {
  const [state] = run(live(), [{ kind: 'drain', afterMs: 420 }, lost(1012)], context(60_000));
  assert.deepEqual([as('waiting', state).at, as('waiting', state).attempt], [60_420, 1]);
  const [again] = run({ ...as('live', live()), attempt: 4 }, [{ kind: 'drain', afterMs: 420 }, lost(1012)], context(5_000));
  assert.equal(as('waiting', again).attempt, 1, 'that is no failure');
});

test('silence is asked about after a ping interval, and believed after another five seconds', () => {
  let state = live();
  assert.equal(deadline(state), 25_000);
  let commands: string[];
  [state, commands] = run(state, [{ kind: 'time' }], context(25_000, { heardAt: 20_000 }));
  assert.deepEqual([deadline(state), commands], [45_000, []]);
  [state, commands] = run(state, [{ kind: 'time' }], context(45_000, { heardAt: 20_000 }));
  assert.deepEqual([deadline(state), commands], [50_000, ['ping']]);
  const [answered] = next(state, { kind: 'time' }, context(50_000, { heardAt: 45_010 }));
  assert.equal(deadline(as('live', answered)), 70_010);
  const [silent] = next(state, { kind: 'time' }, context(50_000, { heardAt: 20_000 }));
  assert.equal(as('waiting', silent).reason, 'the server does not answer');
});

test('a browser that goes offline or wakes up asks whether the server is there', () => {
  const [state, ...commands] = next(live(), { kind: 'offline' }, context(1_000, { offline: true }));
  assert.deepEqual([deadline(state), commands], [3_500, ['ping']]);
  const [waiting] = next(state, { kind: 'time' }, context(3_500, { offline: true }));
  assert.equal(as('waiting', waiting).reason, 'offline');
  assert.ok(deadline(waiting) >= 33_500);
  const [online] = next(waiting, { kind: 'online' }, context(20_000));
  assert.equal(deadline(online), 20_500);
});

test('a token is renewed a minute before it expires, or at half of a short life', () => {
  const [state] = next(live(), { kind: 'authenticated', leftMs: 3_600_000 }, context(0, { heardAt: 0 }));
  assert.equal(as('live', state).refreshAt, 3_540_000);
  const [short] = next(state, { kind: 'authenticated', leftMs: 60_000 }, context(0));
  assert.equal(as('live', short).refreshAt, 30_000);
  assert.deepEqual(next({ ...as('live', short), watchAt: Infinity }, { kind: 'time' }, context(30_000)).slice(1), ['renew']);
});

test('a poll that fails after polling worked goes on with polling, and probes at once', () => {
  const [waiting] = next(polling(), { kind: 'pollFailed', verdict: 'network', code: null, reason: 'r' }, context(0));
  const [again] = next(waiting, { kind: 'time' }, context(1_000));
  assert.deepEqual(needs(again), { socket: true, poll: true });
});

test('a page in the back/forward cache holds nothing and comes back', () => {
  const [paused] = next(live(), { kind: 'suspend' }, context(0));
  assert.deepEqual(needs(paused), { socket: false, poll: false });
  assert.equal(next(paused, { kind: 'restore' }, context(0))[0].kind, 'opening');
});

test('whatever happens in whatever order, a client that was told to connect stays on its way', () => {
  let seed = 7;
  const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  const inputs: Input[] = [
    { kind: 'connect' }, { kind: 'opened' }, CONNECTED, { kind: 'authenticated', leftMs: 1_000 }, lost(1006), lost(1012), lost(4409),
    lost(4429), { kind: 'drain', afterMs: 10 }, { kind: 'polled' }, { kind: 'tokenFailed' }, { kind: 'time' }, { kind: 'online' },
    { kind: 'pollFailed', verdict: 'network', code: null, reason: 'r' }, { kind: 'offline' }, { kind: 'visible' },
    { kind: 'suspend' }, { kind: 'restore' },
  ];
  let state: State = next({ kind: 'idle' }, { kind: 'connect' }, context(0))[0];
  let now = 0;
  for (let round = 0; round < 50_000; round++) {
    now += Math.floor(random() * 5_000);
    const input = inputs[Math.floor(random() * inputs.length)] as Input;
    const c = context(now, { random: random(), heardAt: now - 10_000, hidden: random() < 0.5, offline: random() < 0.3 });
    state = next(state, input, c)[0];
    assert.notEqual(state.kind, 'closed');
    assert.notEqual(state.kind, 'idle');
    if (state.kind === 'paused') continue;
    const { socket, poll } = needs(state);
    const bound = now + 4 * TIMINGS.retryCapMs + TIMINGS.probeCapMs * 4 + 3_600_000;
    assert.ok(socket || poll || deadline(state) < bound, `stuck in ${JSON.stringify(state)}`);
  }
});
