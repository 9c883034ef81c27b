/** The two ways to the bridge.  Each only carries; what it means is decided elsewhere. */

import type { Options } from './api.js';
import { MAX_DIALOGS, type PollAnswer, type PollQuery, type ServerMessage } from './coverage.js';
import { ofHttpStatus, type Verdict } from './verdicts.js';

/** Fits into a header: neither too long for the server, nor of other characters than a subprotocol may have. */
const FITS_HANDSHAKE = /^[\w.~-]{1,7500}$/;

export interface Socket {
  send(message: object): void;
  /** Ends it; its callbacks are not called any more. */
  drop(): void;
}

export function openSocket(
  url: string,
  token: string,
  WebSocketClass: NonNullable<Options['WebSocket']>,
  told: { message: (message: ServerMessage) => void; lost: (code: number, reason: string) => void },
): Socket {
  const inHandshake = FITS_HANDSHAKE.test(token);
  const socket = new WebSocketClass(
    url.replace(/^http/, 'ws').replace(/\/?$/, '/ws'),
    inHandshake ? ['bridge.v1', `bearer.${token}`] : ['bridge.v1'],
  );
  let dropped = false;
  socket.onopen = () => {
    if (!inHandshake) socket.send(JSON.stringify({ type: 'auth', token }));
  };
  socket.onmessage = ({ data }) => {
    if (!dropped) told.message(JSON.parse(String(data)) as ServerMessage);
  };
  socket.onclose = ({ code, reason }) => {
    if (!dropped) told.lost(code, reason);
    dropped = true;
  };
  return {
    send(message) {
      if (socket.readyState === 1) socket.send(JSON.stringify(message));
    },
    drop() {
      dropped = true;
      socket.close(1000);
    },
  };
}

export type Polled =
  | { readonly ok: true; readonly answer: PollAnswer }
  | { readonly ok: false; readonly verdict: Verdict; readonly code: number | null; readonly reason: string };

/** Characters of ids in a URL: proxies take about 8,000 in a line (nginx).  Also more than 1,000 ids the bridge refuses. */
const MAX_IDS_LENGTH = 6_000;
/** How much longer than it was asked to an answer may take. */
const GRACE_MS = 5_000;

export async function pollOnce(
  url: string,
  token: string,
  query: PollQuery,
  waitMs: number,
  fetchIt: typeof fetch,
  signal: AbortSignal,
): Promise<Polled> {
  const parameters = new URLSearchParams({ timeout_s: String(waitMs / 1000) });
  if (query.since !== null) parameters.set('since', query.since);
  // No dialog has the id `-`: a poll that only waits.  More than fit into a URL are asked for as all: hearing of other
  // dialogs too is better than being refused.
  const dialogs = query.dialogs === null ? '' : [...query.dialogs].join(',') || '-';
  if (dialogs !== '' && dialogs.length <= MAX_IDS_LENGTH && (query.dialogs?.size ?? 0) <= MAX_DIALOGS) parameters.set('dialogs', dialogs);
  const limited = new AbortController();
  const abort = (): void => limited.abort();
  const timer = setTimeout(abort, waitMs + GRACE_MS);
  signal.addEventListener('abort', abort);
  try {
    const response = await fetchIt(`${url.replace(/\/$/, '')}/poll?${parameters}`, {
      headers: { Authorization: `Bearer ${token}` },
      cache: 'no-store',
      signal: limited.signal,
    });
    const body = (await response.json().catch(() => null)) as (PollAnswer & { error?: { message?: string } }) | null;
    if (response.ok && Array.isArray(body?.events)) return { ok: true, answer: body };
    const ours = typeof body?.error?.message === 'string';
    const reason = ours ? String(body?.error?.message) : `HTTP ${response.status}`;
    return { ok: false, verdict: ofHttpStatus(response.status, ours), code: response.status, reason };
  } catch {
    return { ok: false, verdict: 'network', code: null, reason: 'the server cannot be reached' };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}
