import type { ReactElement, ReactNode } from 'react';
import type { BridgeClient, Row, Status } from './client.js';
/** What a hook returns; a new object whenever something has changed, and only then. */
export interface Rows<R extends object = Row> {
    /** In the order of your query; new ones at the end. */
    readonly rows: readonly R[];
    /** The first read is not through yet. */
    readonly loading: boolean;
    /** Why the last read failed; it is tried again. */
    readonly error: unknown;
}
/** How the page reads its rows, with the user's rights: queries of supabase-js that throw on errors, for example. */
export interface Load {
    readonly dialogs?: () => PromiseLike<readonly object[]>;
    readonly messages?: (dialogId: string) => PromiseLike<readonly object[]>;
}
export interface BridgeProviderProps {
    readonly client: Pick<BridgeClient, 'connect' | 'close' | 'subscribe' | 'status'> & {
        readonly on: unknown;
    };
    readonly load: Load;
    /** Column that tells rows apart; `id` unless given. */
    readonly idColumn?: string;
    readonly children?: ReactNode;
}
/** Connects `client` while it is mounted, and gives it to the hooks below. */
export declare function BridgeProvider({ client: given, load, idColumn, children }: BridgeProviderProps): ReactElement;
/** The client of the provider above. */
export declare function useBridge<Client = BridgeClient>(): Client;
/** How things stand; renders again when that changes. */
export declare function useConnectionStatus(): Status;
/** The user's dialogs, kept current. */
export declare function useDialogs<R extends object = Row>(): Rows<R>;
/** The messages of one dialog, kept current; none while `dialogId` is null. */
export declare function useMessages<R extends object = Row>(dialogId: string | null): Rows<R>;
