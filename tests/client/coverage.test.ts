import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Coverage, type ServerMessage } from '../../bridge/client/src/coverage.js';
import { message } from './support.js';

const ids = (...names: string[]): Set<string> => new Set(names);
const subscribed = (cursor: string, recovered = true): ServerMessage => ({ type: 'subscribed', dialogs: null, cursor, recovered });
const resyncs = (messages: ServerMessage[]) => messages.filter((m) => m.type === 'resync').map((m) => [m['reason'], m['dialogs']]);

/** A page that wants everything and has read it, at `e-5`. */
function everything(): Coverage {
  const coverage = new Coverage();
  coverage.want(null);
  coverage.resume();
  coverage.receive(subscribed('e-5'));
  return coverage;
}

test('rows are read after the first subscription, and not again when it is resumed', () => {
  const coverage = new Coverage();
  assert.deepEqual(coverage.want(null), [], 'nothing is sent before there is a socket');
  assert.deepEqual(coverage.resume(), [{ type: 'subscribe' }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-1'))), [['subscribed', null]]);
  coverage.receive(message(7));
  coverage.disconnected();
  assert.deepEqual(coverage.resume(), [{ type: 'subscribe', since: 'e-7' }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-9'))), []);
});

test('what cannot be recovered is read again', () => {
  const coverage = everything();
  coverage.resume();
  assert.deepEqual(resyncs(coverage.receive(subscribed('f-1', false))), [['not_recovered', null]]);
  assert.deepEqual(coverage.resume(), [{ type: 'subscribe', since: 'f-1' }]);
});

test('the latest cursor is kept, not the largest: a replay begins at since again', () => {
  const coverage = everything();
  coverage.receive(message(9));
  coverage.receive(subscribed('e-6'));
  assert.deepEqual(coverage.resume(), [{ type: 'subscribe', since: 'e-6' }]);
});

test('dialogs that are added are asked for without a cursor, and only they are read', () => {
  const coverage = new Coverage();
  coverage.want(ids('a'));
  coverage.resume();
  coverage.receive(subscribed('e-1'));
  assert.deepEqual(coverage.want(ids('a', 'b')), [{ type: 'subscribe', dialogs: ['b'] }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-2'))), [['subscribed', ['b']]]);
  assert.deepEqual(coverage.want(ids('b')), [{ type: 'unsubscribe', dialogs: ['a'] }]);
  assert.deepEqual(coverage.want(ids('a', 'b')), [{ type: 'subscribe', dialogs: ['a'] }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-3'))), [['subscribed', ['a']]]);
});

test('from all to some: the cursor closes the gap, and nothing is read', () => {
  const coverage = everything();
  assert.deepEqual(coverage.want(ids('a')), [{ type: 'unsubscribe' }, { type: 'subscribe', dialogs: ['a'], since: 'e-5' }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-5'))), []);
  assert.deepEqual(coverage.want(null), [{ type: 'subscribe' }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-5'))), [['subscribed', null]]);
});

test('a dialog that was added while away is resumed with the others and read', () => {
  const coverage = new Coverage();
  coverage.want(ids('a'));
  coverage.resume();
  coverage.receive(subscribed('e-1'));
  coverage.disconnected();
  coverage.want(ids('a', 'b'));
  assert.deepEqual(coverage.resume(), [{ type: 'subscribe', dialogs: ['a', 'b'], since: 'e-1' }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-1'))), [['subscribed', ['b']]]);
});

test('more than a thousand dialogs are asked for in several messages', () => {
  const coverage = new Coverage();
  coverage.want(new Set(Array.from({ length: 2_500 }, (_, n) => String(n))));
  const sent = coverage.resume();
  assert.deepEqual(sent.map((m) => m.dialogs?.length), [1_000, 1_000, 500]);
  assert.equal(resyncs(sent.flatMap(() => coverage.receive(subscribed('e-1')))).flatMap(([, d]) => d as string[]).length, 2_500);
});

test('polls go on where the socket stopped, and the socket where the polls did', () => {
  const coverage = everything();
  const query = coverage.query();
  assert.deepEqual([query.since, query.fresh], ['e-5', ids()]);
  const told = coverage.receivePoll(query, { events: [message(6)], cursor: 'e-6', recovered: true });
  assert.deepEqual(told.map((m) => m['cursor']), ['e-6']);
  assert.deepEqual(coverage.resume(), [{ type: 'subscribe', since: 'e-6' }]);
});

test('the first poll finds where to start, and one that wants nothing only waits', () => {
  const coverage = new Coverage();
  const idle = coverage.query();
  assert.deepEqual(coverage.receivePoll(idle, { events: [message(3)], cursor: 'e-3', recovered: true }), []);
  assert.equal(coverage.query().since, 'e-3', 'so that the next one waits');
  coverage.want(null);
  const first = coverage.query();
  assert.deepEqual([first.since, first.fresh], [null, null]);
  assert.deepEqual(resyncs(coverage.receivePoll(first, { events: [], cursor: 'e-4', recovered: true })), [['subscribed', null]]);
  const lost = coverage.query();
  assert.deepEqual(resyncs(coverage.receivePoll(lost, { events: [], cursor: 'f-1', recovered: false })), [['not_recovered', null]]);
});

test("another user's place in the stream is not used", () => {
  const coverage = everything();
  coverage.forget();
  assert.deepEqual(coverage.resume(), [{ type: 'subscribe' }]);
  assert.deepEqual(resyncs(coverage.receive(subscribed('e-9'))), [['other_user', null]]);
});
