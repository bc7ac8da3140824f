import { Store } from "./store.js";
import type { Client } from "./client.js";
import type { Discussion } from "../types/wire.js";
export type DiscussionsState = {
    isLoaded: boolean;
    /**
     * those that are loaded, the latest active first
     */
    discussions: readonly Discussion[];
    /**
     * whether `older()` has more
     */
    hasOlder: boolean;
    /**
     * comments of others in those that are loaded
     */
    unread: number;
};
/** @extends {Store<DiscussionsState>} */
export declare class Discussions extends Store<DiscussionsState> {
    #private;
    /** Load more of them. Returns when they are there. */
    older(): Promise<void>;
}
/**
 * The private discussions that this person is in: one for all who want to know.
 * @param {Client} client
 */
export declare function discussionsOf(client: Client): Discussions;
