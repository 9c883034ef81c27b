/** As much of a supabase-js client as the examples use; rows and tokens come from the test. */

import type { SupabaseClient } from '@supabase/supabase-js';

import type { Database } from '../../../docs/examples/database.types.js';

declare global {
  interface Window {
    mint(): Promise<string>;
    rows(table: string, dialog: string | null): Promise<object[]>;
    shown: unknown;
  }
}

class Query {
  private dialog: string | null = null;
  constructor(private readonly table: string) {}
  select(): this {
    return this;
  }
  order(): this {
    return this;
  }
  throwOnError(): this {
    return this;
  }
  eq(_column: string, dialog: string): this {
    this.dialog = dialog;
    return this;
  }
  // A query of supabase-js is asked for when it is awaited, too.
  then<T>(done: (answer: { data: object[] }) => T): Promise<T> {
    return window.rows(this.table, this.dialog).then((data) => done({ data }));
  }
}

export const supabase = {
  auth: { getSession: async () => ({ data: { session: { access_token: await window.mint() } } }) },
  from: (table: string) => new Query(table),
} as unknown as SupabaseClient<Database>;
