import { CollabElement } from "./element.js";
import { CollabRooms } from "./elements.js";
/** What one was told, wherever; as high as its place. */
export declare class CollabInbox extends CollabRooms {
}
/** The private discussions one is in, those about the topic first. */
export declare class CollabDiscussions extends CollabRooms {
}
/** A button with how many one has not read; the inbox opens over the page. */
export declare class CollabBell extends CollabRooms {
    constructor();
}
/**
 * How many threads are open at a place, in the accent colour where something there is unread. However many there are on
 * a page, they share a question.
 *
 * @attr topic the dashboard
 * @attr anchor the place, as JSON: `{"pageKey": "…", "visualizationKey": "…"}`; without it, how many comments of the topic
 *   are unread
 */
export declare class CollabBadge extends CollabElement {
    static observedAttributes: string[];
    constructor();
    /** The place; null for the whole topic. @returns {import("./places.js").Anchor | null} */
    get anchor(): import("./places.js").Anchor | null;
    set anchor(anchor: import("./places.js").Anchor | null);
}
