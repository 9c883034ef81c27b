/**
 * The real client plays its part of tests/protocol/client/*.jsonl against a test that is the server.
 * tests/protocol/test_client_transcripts.py plays the same files against the real server.
 */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { afterEach, test } from 'node:test';

import { Connection } from '../../bridge/client/src/connection.js';
import type { ServerMessage } from '../../bridge/client/src/coverage.js';
import { FakePage, FakeSocket, connected, socketClass, until } from './support.js';

interface Line {
  readonly do?: string;
  readonly want?: string[] | null;
  readonly server?: ServerMessage;
  readonly client?: object;
  readonly close?: number;
  readonly page?: string[];
  readonly poll?: Record<string, string>;
  readonly answer?: object;
}

const FOLDER = new URL('../../../../../tests/protocol/client/', import.meta.url);
const TIMINGS = { openMs: 200, probeMs: 30, probeCapMs: 30, retryMs: 2, retryCapMs: 5, pongMs: 500, pollMs: 25_000 };
const open: Connection[] = [];

afterEach(() => {
  for (const connection of open.splice(0)) connection.close();
  FakeSocket.made = [];
});

for (const name of readdirSync(FOLDER)) {
  const lines = readFileSync(new URL(name, FOLDER), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Line);
  test(`transcript ${name}`, async () => {
    const told: ServerMessage[] = [];
    const polls: { url: URL; answer: (body: object) => void }[] = [];
    const fetchIt = (url: string): Promise<Response> =>
      new Promise((resolve) => polls.push({ url: new URL(url), answer: (body) => resolve(new Response(JSON.stringify(body))) }));
    const connection = new Connection(
      { url: 'http://bridge', getToken: () => 't', timings: TIMINGS, WebSocket: socketClass, fetch: fetchIt as typeof fetch },
      { message: (message) => told.push(message), status: () => undefined },
      new FakePage().environment,
    );
    open.push(connection);
    let sockets = 0;
    let socket: FakeSocket | undefined;
    const nextSocket = async (): Promise<FakeSocket> => {
      if (sockets === 0) connection.connect();
      const made = await until(() => FakeSocket.made[sockets]);
      sockets++;
      return made;
    };
    for (const line of lines) {
      if ('want' in line) connection.want(line.want ? new Set(line.want) : null);
      else if (line.do === 'connect') socket = await nextSocket();
      else if (line.do === 'block') (await nextSocket()).lose(1006);
      else if (line.do === 'lose') socket?.lose(1006);
      else if (line.close !== undefined) socket?.lose(line.close);
      else if (line.server) socket?.receive(line.server.type === 'connected' ? connected() : line.server);
      else if (line.client) assert.deepEqual(await until(() => socket?.sent.shift()), line.client);
      else if (line.poll) {
        const poll = await until(() => polls.shift());
        assert.deepEqual(Object.fromEntries(poll.url.searchParams), line.poll);
        poll.answer(line.answer ?? {});
      } else if (line.page) {
        const expected = line.page;
        await until(() => told.length >= expected.length);
        const said = told.splice(0).map((m) => (m.type === 'resync' ? `resync ${String(m['reason'])}` : m.type));
        assert.deepEqual(said, expected);
      }
    }
    assert.deepEqual(socket?.sent ?? [], [], 'nothing was sent that the transcript does not have');
  });
}
