/** What the end of a connection means; docs/protocol.md says why. */

/**
 * - `final`: trying again cannot help.
 * - `token`: a new token is needed.
 * - `later`: the server is full; not soon.
 * - `network`: nobody said anything; this transport may be blocked.
 * - `retry`: the server ended it, come back with the cursor.
 */
export type Verdict = 'final' | 'token' | 'later' | 'network' | 'retry';

const OF_CLOSE_CODE: Readonly<Record<number, Verdict>> = {
  1002: 'final',
  1006: 'network',
  4400: 'final',
  4401: 'token',
  4403: 'final',
  4409: 'token',
  4413: 'final',
  4429: 'later',
};

export function ofCloseCode(code: number): Verdict {
  return OF_CLOSE_CODE[code] ?? 'retry';
}

/**
 * @param ours whether the answer is the bridge's own: what a proxy refuses may pass later.
 */
export function ofHttpStatus(status: number, ours: boolean): Verdict {
  if (status === 429) return 'later';
  if (status === 401) return 'token';
  return ours && (status === 400 || status === 403) ? 'final' : 'network';
}
