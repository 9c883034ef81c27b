/** The package as an application has it: what is built, by its published names, and where there is no browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { CreateBridgeClient } from '../../bridge/client/src/api.js';

const NAME = 'supabase-realtime-bridge-client';
/** By a name that the compiler does not know: node resolves it by the package's own `exports`. */
const load = (name: string): Promise<any> => import(name);

test('a server may import it, make a client, and render with the hooks', async () => {
  assert.equal(globalThis.window, undefined);
  const { createBridgeClient } = (await load(NAME)) as { createBridgeClient: CreateBridgeClient };
  const { BridgeProvider, useBridge, useConnectionStatus, useDialogs, useMessages } = await load(`${NAME}/react`);
  const [{ createElement }, { renderToString }] = [await load('react'), await load('react-dom/server')];
  const client = createBridgeClient({ url: 'https://bridge.example.com', getToken: () => 't', shared: true });
  client.subscribe({ dialogs: ['d1'] })();
  const Shown = (): string => {
    const waits = useDialogs().loading && useMessages('d1').loading;
    return `${useConnectionStatus().state} ${String(waits)} ${String(useBridge() === client)}`;
  };
  const page = createElement(BridgeProvider, { client, load: {} }, createElement(Shown));
  assert.equal(renderToString(page), 'idle true true');
  assert.throws(() => renderToString(createElement(Shown)), /render this inside <BridgeProvider/);
});

test('a url that is none is told at once, not after a while of trying', async () => {
  const { createBridgeClient } = (await load(NAME)) as { createBridgeClient: CreateBridgeClient };
  const getToken = () => 't';
  for (const url of ['', 'bridge.example.com', '/bridge', 'wss://bridge.example.com', 'https://', 'https://b/?x=1', 'https://b/ws', undefined as never]) {
    assert.throws(() => createBridgeClient({ url, getToken }), /give it like https:\/\/bridge\.example\.com/, url);
  }
  for (const url of ['http://127.0.0.1:3002', 'https://example.com/bridge/']) assert.ok(createBridgeClient({ url, getToken }));
});

test('a token in place of a function, or an id in place of a list, is told at once', async () => {
  const { createBridgeClient } = (await load(NAME)) as { createBridgeClient: CreateBridgeClient };
  const url = 'https://bridge.example.com';
  for (const getToken of [undefined, 'eyJ...'] as never[]) assert.throws(() => createBridgeClient({ url, getToken }), /getToken is no function/);
  const client = createBridgeClient({ url, getToken: () => 't' });
  assert.throws(() => client.subscribe({ dialogs: 'd1' as never }), /give a list of ids/);
});
