import { Store } from "./store.js";
import type { Notification } from "../types/wire.js";
export type InboxState = {
    state: "loading" | "live" | "behind";
    /**
     * the newest first
     */
    notifications: readonly Notification[];
    /**
     * whether `older()` has more
     */
    hasOlder: boolean;
    /**
     * the badge
     */
    unread: number;
};
/** @extends {Store<InboxState>} */
export declare class Inbox extends Store<InboxState> {
    #private;
    /** Load older notifications. Returns when they are there. */
    older(): Promise<void>;
    /**
     * Mark notifications as read: these, or all up to now.
     * @param {readonly string[]} [ids]
     */
    read(ids?: readonly string[]): Promise<import("../types/wire.js").Unread>;
}
