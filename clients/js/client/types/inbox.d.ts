import { Log } from "./log.js";
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
/** @extends {Log<InboxState>} */
export declare class Inbox extends Log<InboxState> {
    #private;
    /** Load older notifications. @returns {Promise<void>} when they are there */
    older(): Promise<void>;
    /**
     * Mark notifications as read: these, or all up to now.
     * @param {readonly string[]} [ids]
     */
    read(ids?: readonly string[]): Promise<import("../types/wire.js").Unread>;
}
