/** Handlers by event name. */

type AnyHandler = (payload: never) => unknown;

export class Emitter {
  private readonly handlers = new Map<string, Map<AnyHandler, boolean>>();

  /** @returns a function that takes this handler away. */
  on(name: string, handler: AnyHandler, once = false): () => void {
    const known = this.handlers.get(name) ?? new Map<AnyHandler, boolean>();
    this.handlers.set(name, known.set(handler, once));
    return () => this.off(name, handler);
  }

  off(name: string, handler: AnyHandler): void {
    this.handlers.get(name)?.delete(handler);
  }

  has(name: string): boolean {
    return (this.handlers.get(name)?.size ?? 0) > 0;
  }

  /** Call every handler, each whatever the others do; returns what they return, a rejection for what they throw. */
  emit(name: string, payload: unknown): unknown[] {
    const known = this.handlers.get(name);
    if (known === undefined) return [];
    return [...known].map(([handler, once]) => {
      if (once) known.delete(handler);
      try {
        return handler(payload as never);
      } catch (cause) {
        return Promise.reject(cause);
      }
    });
  }
}
