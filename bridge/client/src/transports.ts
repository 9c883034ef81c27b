/** The two ways to the bridge.  Each only carries; what it means is decided elsewhere. */

import type { Options } from './api.js';
import type { PollAnswer, PollQuery, ServerMessage } from './coverage.js';
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
  // No dialog has this id: a poll that only waits.
  if (query.dialogs !== null) parameters.set('dialogs', [...query.dialogs].join(',') || '-');
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
