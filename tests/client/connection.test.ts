import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import type { Options, Status } from '../../bridge/client/src/api.js';
import { Connection } from '../../bridge/client/src/connection.js';
import type { ServerMessage } from '../../bridge/client/src/coverage.js';
import { FakePage, FakeSocket, connected, message, socketClass, states, token, until } from './support.js';

const QUICK = { openMs: 30, probeMs: 20, probeCapMs: 20, retryMs: 2, retryCapMs: 5, pongMs: 30, pollMs: 200 };

interface Made {
  readonly connection: Connection;
  readonly page: FakePage;
  readonly messages: ServerMessage[];
  readonly statuses: Status[];
}

const open: Connection[] = [];

function make(options: Partial<Options> = {}): Made {
  const [messages, statuses, page] = [[] as ServerMessage[], [] as Status[], new FakePage()];
  const given: Options = {
    url: 'https://bridge.example.com/', getToken: () => token({ sub: 'ann' }), timings: QUICK, WebSocket: socketClass,
    fetch: () => Promise.reject(new TypeError('no network')), ...options,
  };
  const sink = { message: (m: ServerMessage) => messages.push(m), status: (s: Status) => statuses.push(s) };
  const connection = new Connection(given, sink, page.environment);
  open.push(connection);
  return { connection, page, messages, statuses };
}

/** Polls that the test answers. */
function polls(): { fetch: typeof fetch; asked: URL[]; answer: ((body: object, status?: number) => void)[] } {
  const asked: URL[] = [];
  const answer: ((body: object, status?: number) => void)[] = [];
  const fetchIt = (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
    asked.push(new URL(String(url)));
    return new Promise((resolve, reject) => {
      init?.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
      answer.push((body, status = 200) => resolve(new Response(JSON.stringify(body), { status })));
    });
  };
  return { fetch: fetchIt as typeof fetch, asked, answer };
}

const socket = (n: number): Promise<FakeSocket> => until(() => FakeSocket.made[n]);

afterEach(() => {
  for (const connection of open.splice(0)) connection.close();
  FakeSocket.made = [];
});

test('the token goes into the handshake, and the page gets what it subscribes to', async () => {
  const { connection, messages, statuses } = make();
  connection.want(null);
  connection.connect();
  const opened = await socket(0);
  assert.equal(opened.url, 'wss://bridge.example.com/ws');
  assert.deepEqual(opened.protocols, ['bridge.v1', `bearer.${token({ sub: 'ann' })}`]);
  opened.receive(connected());
  opened.receive({ type: 'status', upstream: 'live' });
  assert.deepEqual(opened.sent, [{ type: 'subscribe' }]);
  opened.receive({ type: 'subscribed', dialogs: null, cursor: 'e-0', recovered: true });
  opened.receive(message(1));
  assert.deepEqual(messages.map((m) => m.type), ['connected', 'subscribed', 'resync', 'new_message']);
  assert.deepEqual(states(statuses), ['connecting', 'live', 'live']);
  assert.equal(statuses.at(-1)?.upstream, 'live');
});

test('a token that does not fit into a header is sent as the first message', async () => {
  const { connection } = make({ getToken: () => 'x'.repeat(9_000) });
  connection.connect();
  const opened = await socket(0);
  opened.onopen?.();
  assert.deepEqual(opened.protocols, ['bridge.v1']);
  assert.equal(opened.sent[0]?.['type'], 'auth');
});

test('a blocked WebSocket is polled around, and taken back without a lost or doubled event', async () => {
  const http = polls();
  const { connection, messages, statuses } = make({ fetch: http.fetch });
  connection.want(null);
  connection.connect();
  (await socket(0)).lose(1006);
  await until(() => http.answer[0]);
  assert.equal(http.asked[0]?.searchParams.get('timeout_s'), '0');
  http.answer[0]?.({ events: [], cursor: 'e-1', recovered: true, status: 'live' });
  await until(() => http.answer[1]);
  assert.equal(http.asked[1]?.searchParams.get('since'), 'e-1');
  http.answer[1]?.({ events: [message(2)], cursor: 'e-2', recovered: true, status: 'live' });
  await until(() => http.answer[2]);
  const probe = await socket(1);
  probe.receive(connected());
  assert.deepEqual(probe.sent, [{ type: 'subscribe', since: 'e-2' }]);
  http.answer[2]?.({ events: [message(3)], cursor: 'e-3', recovered: true, status: 'live' });
  probe.receive({ type: 'subscribed', dialogs: null, cursor: 'e-2', recovered: true });
  probe.receive(message(3));
  const changes = messages.filter((m) => 'eventType' in m);
  assert.deepEqual(changes.map((m) => m['cursor']), ['e-2', 'e-3']);
  assert.deepEqual([...new Set(states(statuses))], ['connecting', 'polling', 'live']);
});

test('more dialogs than fit into a URL are polled for as all', async () => {
  const http = polls();
  const { connection } = make({ fetch: http.fetch });
  connection.want(new Set(['d1', 'd2']));
  connection.connect();
  (await socket(0)).lose(1006);
  await until(() => http.asked[0]);
  assert.equal(http.asked[0]?.searchParams.get('dialogs'), 'd1,d2');
  connection.want(new Set(Array.from({ length: 2_000 }, (_, n) => `d${n}`)));
  await until(() => http.asked[1]);
  assert.equal(http.asked[1]?.searchParams.get('dialogs'), null);
});

test('a WebSocket that neither opens nor fails is given up', async () => {
  const http = polls();
  const { connection } = make({ fetch: http.fetch });
  connection.connect();
  const hanging = await socket(0);
  await until(() => http.answer[0]);
  assert.equal(hanging.readyState, 3);
});

test('who closes while the token is asked for, or while polling, opens nothing any more', async () => {
  let give = (_: string): void => undefined;
  const { connection, statuses } = make({ getToken: () => new Promise<string>((resolve) => (give = resolve)) });
  connection.connect();
  connection.close();
  connection.close();
  give('t');
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual([FakeSocket.made.length, ...states(statuses)], [0, 'connecting', 'closed']);
  const http = polls();
  const polled = make({ fetch: http.fetch });
  polled.connection.connect();
  (await socket(0)).lose(1006);
  await until(() => http.asked[0]);
  polled.connection.close();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.deepEqual([http.asked.length, FakeSocket.made.length, polled.statuses.at(-1)?.state], [1, 1, 'closed']);
  assert.deepEqual(polled.messages, [], 'and no error is told');
});

test('nothing that a dropped socket still says is heard', async () => {
  const { connection, messages } = make();
  connection.connect();
  const opened = await socket(0);
  connection.close();
  opened.receive(connected());
  assert.deepEqual(messages, []);
});

test('what is lost comes back with the cursor', async () => {
  const { connection, statuses } = make();
  connection.want(new Set(['d1']));
  connection.connect();
  const first = await socket(0);
  first.receive(connected());
  first.receive({ type: 'subscribed', dialogs: ['d1'], cursor: 'e-1', recovered: true });
  first.receive(message(5));
  first.lose(4430, 'slow');
  const second = await socket(1);
  second.receive(connected());
  assert.deepEqual(second.sent, [{ type: 'subscribe', dialogs: ['d1'], since: 'e-5' }]);
  const waiting = statuses.find((status) => status.state === 'waiting');
  assert.deepEqual([waiting?.reason, waiting?.code], ['slow', 4430]);
  assert.ok(Math.abs((waiting?.retryAt ?? 0) - Date.now()) < 1_000);
});

test('a final close code ends it, with the reason', async () => {
  const { connection, statuses } = make();
  connection.connect();
  (await socket(0)).lose(4403, 'this origin is not allowed');
  assert.deepEqual(statuses.at(-1), { state: 'closed', reason: 'this origin is not allowed', code: 4403, upstream: null });
});

test('a page without a token is signed out; one that cannot get it now tries again', async () => {
  const out = make({ getToken: () => null });
  out.connection.connect();
  await until(() => out.statuses.at(-1)?.reason === 'signed out');
  let calls = 0;
  const failing = make({
    getToken: () => {
      if (++calls < 3) throw new Error('no network');
      return 't';
    },
  });
  failing.connection.connect();
  await socket(0);
  assert.equal(calls, 3);
  assert.ok(failing.messages.every((m) => m['code'] === 'token'));
});

test('a token is renewed before it expires', async () => {
  let calls = 0;
  const { connection, messages } = make({ getToken: () => token({ sub: 'ann', n: calls++ }) });
  connection.connect();
  const opened = await socket(0);
  opened.receive(connected({ expires_at: '2026-01-01T10:00:01.000Z' }));
  const sent = await until(() => opened.sent.find((m) => m['type'] === 'auth'));
  assert.equal(sent['token'], token({ sub: 'ann', n: 1 }));
  opened.receive({ type: 'authenticated', expires_at: '2026-01-01T11:00:00.000Z' });
  assert.equal(messages.at(-1)?.type, 'authenticated');
});

test('when somebody else has signed in, nothing of the first user is resumed', async () => {
  let sub = 'ann';
  const { connection, messages } = make({ getToken: () => token({ sub }) });
  connection.want(null);
  connection.connect();
  const first = await socket(0);
  first.receive(connected({ expires_at: '2026-01-01T10:00:01.000Z' }));
  first.receive({ type: 'subscribed', dialogs: null, cursor: 'e-1', recovered: true });
  sub = 'bob';
  const second = await socket(1);
  assert.ok(first.sent.every((m) => m['type'] !== 'auth'), "not over the other user's connection");
  second.receive(connected());
  assert.deepEqual(second.sent, [{ type: 'subscribe' }]);
  second.receive({ type: 'subscribed', dialogs: null, cursor: 'e-1', recovered: true });
  assert.equal(messages.at(-1)?.['reason'], 'other_user');
});

test('a server that does not answer is left', async () => {
  const { connection, page, statuses } = make();
  connection.connect();
  const opened = await socket(0);
  opened.receive(connected());
  page.tell('visible');
  assert.deepEqual(opened.sent, [{ type: 'ping' }]);
  await until(() => statuses.at(-1)?.reason === 'the server does not answer' || FakeSocket.made[1]);
  await socket(1);
});

test('polling goes on with a new token when the old one has expired', async () => {
  const http = polls();
  let calls = 0;
  const { connection } = make({ fetch: http.fetch, getToken: () => `token-${calls++}` });
  connection.want(null);
  connection.connect();
  (await socket(0)).lose(1006);
  await until(() => http.answer[0]);
  http.answer[0]?.({ error: { code: 'token_expired', message: 'the token has expired' } }, 401);
  await until(() => http.answer[1] ?? FakeSocket.made[1]);
  assert.ok(calls >= 2);
});
