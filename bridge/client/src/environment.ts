/** What the browser tells about the page and the network.  Outside of one (tests, workers) nothing is told. */

import type { Input } from './machine.js';

type Told = Extract<Input['kind'], 'online' | 'offline' | 'visible' | 'suspend' | 'restore'>;

export interface Environment {
  readonly hidden: () => boolean;
  readonly offline: () => boolean;
  /** @returns a function that ends it. */
  readonly listen: (tell: (kind: Told) => void) => () => void;
}

export const browser: Environment = {
  hidden: () => globalThis.document?.visibilityState === 'hidden',
  offline: () => globalThis.navigator?.onLine === false,
  listen(tell) {
    const ended = new AbortController();
    const on = (target: EventTarget | undefined, name: string, told: (event: Event) => void): void =>
      target?.addEventListener?.(name, told, { signal: ended.signal });
    const page = globalThis.window as Window | undefined;
    on(page, 'online', () => tell('online'));
    on(page, 'offline', () => tell('offline'));
    on(globalThis.document, 'visibilitychange', () => browser.hidden() || tell('visible'));
    // A page in the back/forward cache must hold no connection, or it is not kept there.
    on(page, 'pagehide', () => tell('suspend'));
    on(page, 'pageshow', (event) => (event as PageTransitionEvent).persisted && tell('restore'));
    return () => ended.abort();
  },
};
