import type { CreateBridgeClient, Options } from './api.js';
import { Client } from './client.js';
import { Connection } from './connection.js';
import { browser } from './environment.js';
import { SharedConnection, canShare } from './shared.js';

export type * from './api.js';

/** Make a client of the bridge at `options.url`; it connects when told to. */
export const createBridgeClient: CreateBridgeClient = (options: Options) => {
  // The browser would take anything else for a path of the page, and the client would wait for it for ever.
  if (!/^https?:\/\/[^/?#]+[^?#]*$/.test(options.url) || /\/ws\/?$/.test(options.url)) {
    throw new TypeError(`bridge: url is ${JSON.stringify(options.url)}: give it like https://bridge.example.com, without /ws`);
  }
  // A token in its place would look like nobody being signed in.
  if (typeof options.getToken !== 'function') throw new TypeError('bridge: getToken is no function: give one that returns the access token');
  // The rows' types exist only for the compiler: what the server sends is what `Database` says, or the page is wrong.
  return new Client(options, (given, sink) => {
    const Kind = given.shared && canShare() ? SharedConnection : Connection;
    return new Kind(given, sink, browser);
  }) as unknown as ReturnType<CreateBridgeClient>;
};
