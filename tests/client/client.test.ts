import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Options } from '../../bridge/client/src/api.js';
import { Client } from '../../bridge/client/src/client.js';
import type { Sink } from '../../bridge/client/src/connection.js';
import { resync, type Dialogs } from '../../bridge/client/src/coverage.js';
import { message, until } from './support.js';

const OPTIONS: Options = { url: 'http://bridge', getToken: () => 't' };

function make(): { client: Client; sink: Sink; wants: Dialogs[] } {
  const wants: Dialogs[] = [];
  let sink: Sink | undefined;
  const client = new Client(OPTIONS, (_, given) => {
    sink = given;
    return { connect: () => undefined, close: () => undefined, want: (dialogs) => wants.push(dialogs) };
  });
  return { client, sink: sink as unknown as Sink, wants };
}

test('events reach their handlers and those of all changes, each once', () => {
  const { client, sink } = make();
  const heard: string[] = [];
  client.on('new_message', (event) => heard.push(`new ${String(event.new['id'])}`));
  client.on('change', (event) => heard.push(`${event.type} ${event.eventType}`));
  sink.message(message(1));
  sink.message(message(1));
  sink.message(message(2, { id: 'j-1' }));
  sink.message(message(3, { id: 'j-1' }));
  assert.deepEqual(heard, ['new 1', 'new_message INSERT', 'new 2', 'new_message INSERT']);
});

test('one id for several dialogs is several events', () => {
  const { client, sink } = make();
  let count = 0;
  client.on('change', () => count++);
  for (const dialog of ['d1', 'd2', 'd1']) sink.message(message(1, { id: 'j-1', dialog_id: dialog }));
  assert.equal(count, 2);
});

test('once is once, off is off, and a handler that was put in twice is called once', () => {
  const { client, sink } = make();
  let [first, second] = [0, 0];
  client.once('new_message', () => first++);
  const handler = () => second++;
  client.on('new_message', handler);
  const end = client.on('new_message', handler);
  sink.message(message(1));
  end();
  end();
  client.off('new_message', handler);
  sink.message(message(2));
  assert.deepEqual([first, second], [1, 1]);
});

test('subscriptions share one want, and what React does twice does not reach the link', async () => {
  const { client, wants } = make();
  const first = client.subscribe({ dialogs: ['a'] });
  first();
  const again = client.subscribe({ dialogs: ['a'] });
  const other = client.subscribe({ dialogs: ['a', 'b'] });
  await until(() => wants.length === 1);
  other();
  other();
  await until(() => wants.length === 2);
  client.subscribe();
  await until(() => wants.length === 3);
  again();
  await until(() => wants.length === 4);
  assert.deepEqual(wants, [new Set(['a', 'b']), new Set(['a']), null, null]);
});

test('events wait while the page reads its rows, in their order', async () => {
  const { client, sink } = make();
  const heard: unknown[] = [];
  let finish = (): void => undefined;
  client.on('resync', () => new Promise<void>((resolve) => (finish = resolve)));
  client.on('change', (event) => heard.push(event.cursor));
  sink.message(resync('subscribed', null));
  sink.message(message(1));
  sink.message(message(2));
  assert.deepEqual(heard, []);
  finish();
  await until(() => heard.length === 2);
  sink.message(message(3));
  assert.deepEqual(heard, ['e-1', 'e-2', 'e-3']);
});

test('a page that could not read its rows is asked again, and loses nothing meanwhile', async () => {
  const { client, sink } = make();
  const heard: unknown[] = [];
  const errors: string[] = [];
  let calls = 0;
  client.on('resync', () => {
    if (++calls < 2) throw new Error('no network');
  });
  client.on('error', (error) => errors.push(error.code));
  client.on('change', (event) => heard.push(event.cursor));
  sink.message(resync('subscribed', null));
  sink.message(message(1));
  await until(() => heard.length === 1);
  assert.deepEqual([calls, errors], [2, ['resync']]);
});

test('a page that reads for too long reads again instead of holding everything', async () => {
  const { client, sink } = make();
  const reasons: string[] = [];
  const finish: (() => void)[] = [];
  let changes = 0;
  client.on('resync', ({ reason }) => {
    reasons.push(reason);
    return new Promise<void>((resolve) => finish.push(resolve));
  });
  client.on('change', () => changes++);
  sink.message(resync('subscribed', null));
  for (let n = 0; n < 10_005; n++) sink.message(message(n));
  finish[0]?.();
  await until(() => finish.length === 2);
  finish[1]?.();
  await until(() => changes === 5);
  assert.deepEqual(reasons, ['subscribed', 'too_many_waiting']);
});

test('a handler that throws does not keep the others from hearing', async () => {
  const { client, sink } = make();
  const errors: unknown[] = [];
  let heard = 0;
  client.on('error', (error) => errors.push(error.code));
  client.on('new_message', () => {
    throw new Error('a defect of the page');
  });
  client.on('new_message', () => heard++);
  sink.message(message(1));
  await until(() => errors.length === 1);
  assert.deepEqual([heard, errors], [1, ['handler']]);
});

test('the status is the same object until it changes', () => {
  const { client, sink } = make();
  const before = client.status;
  assert.equal(client.status, before);
  let told: unknown;
  client.on('status', (status) => (told = status));
  const live = Object.freeze({ state: 'live' as const, reason: '', upstream: null });
  sink.status(live);
  assert.equal(client.status, live);
  assert.equal(told, live);
  sink.status({ ...live });
  assert.equal(client.status, live, 'nor where a leader says the same again');
});

test('an error that no handler wants is on the console, not nowhere', (t) => {
  const { client, sink } = make();
  const logged = t.mock.method(console, 'error', () => undefined);
  const error = { type: 'error', code: 'token', message: 'getToken failed', cause: new Error('no network') };
  sink.message(error);
  assert.deepEqual(logged.mock.calls[0]?.arguments, ['bridge: getToken failed', error.cause]);
  client.on('error', ({ code }) => assert.equal(code, 'token'));
  sink.message(error);
  assert.equal(logged.mock.callCount(), 1);
});

test('ten thousand messages leave nothing behind but the names of the latest', () => {
  const { client, sink } = make();
  let count = 0;
  client.on('new_message', () => count++);
  for (let n = 0; n < 25_000; n++) sink.message(message(n));
  const { seen, waiting } = client as unknown as { seen: Set<string>; waiting: unknown[] };
  assert.deepEqual([count, seen.size, waiting.length], [25_000, 10_000, 0]);
});
