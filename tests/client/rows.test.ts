import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Change, Resync, Status } from '../../bridge/client/src/api.js';
import { RowStore, type Source } from '../../bridge/client/src/rows.js';
import { message, until } from './support.js';

type Heard = Change & { type: string };

/** A client that says what the test tells it, and a table that is read when the test answers. */
class World {
  readonly handlers = new Map<string, (payload: unknown) => void>();
  readonly reads: { resolve: (rows: object[]) => void; reject: (cause: unknown) => void }[] = [];
  subscriptions = 0;
  stopped = 0;
  state: Status['state'] = 'connecting';
  readonly store: RowStore;

  constructor(source: Partial<Source> = {}) {
    const world = this;
    const client = {
      get status(): Status {
        return { state: world.state, reason: '', upstream: null };
      },
      subscribe: () => {
        world.subscriptions++;
        return () => world.subscriptions--;
      },
      on: (name: string, handler: (payload: never) => unknown) => {
        world.handlers.set(name, handler as (payload: unknown) => void);
        return () => world.handlers.delete(name);
      },
    };
    const given: Source = {
      dialogs: ['d1'],
      load: () => new Promise((resolve, reject) => this.reads.push({ resolve, reject })),
      idOf: (row) => (row as { id: unknown }).id,
      meaning: ({ eventType }) => (eventType === 'DELETE' ? 'remove' : 'put'),
      ...source,
    };
    this.store = new RowStore(client as never, given, () => this.stopped++);
  }

  change(n: number, other: object = {}): void {
    this.handlers.get('change')?.(message(n, other) as unknown as Heard);
  }

  resync(dialogs: readonly string[] | null): void {
    this.handlers.get('resync')?.({ reason: 'subscribed', dialogs } satisfies Resync);
  }

  ids(): unknown[] {
    return this.store.snapshot().rows.map((row) => row['id']);
  }
}

test('rows are read when the stream covers them, and what comes meanwhile is put in after', async () => {
  const world = new World();
  world.store.subscribe(() => undefined);
  assert.equal(world.reads.length, 0, 'not before anybody says so');
  world.resync(['d2']);
  assert.equal(world.reads.length, 0, 'not for other dialogs');
  world.resync(['d1']);
  world.change(2);
  world.change(1, { eventType: 'DELETE', new: {}, old: { id: '1' } });
  assert.equal(world.store.snapshot().loading, true);
  world.reads[0]?.resolve([{ id: '1' }, { id: '0' }]);
  await until(() => !world.store.snapshot().loading && world.ids().length === 2);
  assert.deepEqual(world.ids(), ['0', '2']);
});

test('a store that starts on a live connection reads at once', () => {
  const world = new World();
  world.state = 'live';
  world.store.subscribe(() => undefined);
  assert.equal(world.reads.length, 1);
});

test('of two reads that overlap the later one counts', async () => {
  const world = new World();
  world.store.subscribe(() => undefined);
  world.resync(null);
  world.resync(null);
  world.reads[1]?.resolve([{ id: 'new' }]);
  await until(() => world.ids().length === 1);
  world.reads[0]?.resolve([{ id: 'old' }]);
  await until(() => world.ids()[0] === 'new');
});

test('a read that fails is tried again, and changes are kept for it', async () => {
  const world = new World();
  world.store.subscribe(() => undefined);
  world.resync(null);
  world.change(1);
  world.reads[0]?.reject(new Error('no network'));
  await until(() => world.store.snapshot().error);
  world.change(2);
  await until(() => world.reads.length === 2);
  world.reads[1]?.resolve([{ id: '1' }, { id: '2' }]);
  await until(() => world.store.snapshot().error === null && world.ids().length === 2);
});

test('many changes at once are one rendering, and the snapshot is the same until something changes', async () => {
  const world = new World();
  let renderings = 0;
  world.store.subscribe(() => renderings++);
  world.resync(null);
  world.reads[0]?.resolve([]);
  await until(() => renderings === 1);
  const before = world.store.snapshot();
  assert.equal(world.store.snapshot(), before);
  for (let n = 0; n < 500; n++) world.change(n);
  await until(() => world.ids().length === 500);
  assert.equal(renderings, 2);
});

test('a row that gets another primary key is not there twice', () => {
  const world = new World({ load: () => Promise.resolve([]) });
  world.store.subscribe(() => undefined);
  world.change(1);
  const { new: row } = message(1) as unknown as { new: { id: string } };
  world.change(2, { eventType: 'UPDATE', new: { ...row, id: 'another' }, old: { id: row.id } });
  world.change(3, { eventType: 'UPDATE', new: { ...row, id: 'another' }, old: {} });
  return until(() => world.ids().length > 0).then(() => assert.deepEqual(world.ids(), ['another']));
});

test('a store lives as long as somebody listens, and React listens twice', async () => {
  const world = new World();
  world.store.subscribe(() => undefined)();
  const end = world.store.subscribe(() => undefined);
  await Promise.resolve();
  assert.deepEqual([world.subscriptions, world.stopped], [1, 0]);
  end();
  await until(() => world.stopped === 1);
  assert.deepEqual([world.subscriptions, world.handlers.size], [0, 0]);
});
