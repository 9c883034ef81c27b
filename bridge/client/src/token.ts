/** Asks the page for access tokens, and reads from them whose they are. */

import type { Options } from './api.js';

/** The page says that nobody is signed in. */
export class SignedOut extends Error {}

/** A page that does not answer by then has no token. */
const LIMIT_MS = 10_000;

export class Tokens {
  private current: { value: string; at: number } | null = null;

  constructor(
    private readonly getToken: Options['getToken'],
    private readonly now: () => number,
  ) {}

  /**
   * @param maxAgeMs an older one is asked for again.
   * @throws SignedOut there is none; anything else: it could not be had now.
   */
  async get(maxAgeMs: number): Promise<string> {
    if (this.current !== null && this.now() - this.current.at < maxAgeMs) return this.current.value;
    const value = await within(LIMIT_MS, Promise.resolve().then(this.getToken));
    if (!value) throw new SignedOut('getToken returned none');
    this.current = { value, at: this.now() };
    return value;
  }

  /** The server did not like it. */
  refuse(): void {
    this.current = null;
  }
}

/** The claims of a token; none where it is no JWT.  Nothing is verified here: the server does that. */
export function claimsOf(token: string): Record<string, unknown> {
  try {
    const bytes = atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/'));
    const text = new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('getToken did not answer')), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
