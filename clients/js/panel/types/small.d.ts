import { CollabElement } from "./element.js";
/**
 * An element with rooms of its own.
 *
 * @fires collab-open somebody wants to see `detail.topic`, and there `detail.commentId`. Who shows it themselves calls
 *   `preventDefault()`; otherwise it is shown in a panel of the page, or here, with a way back
 * @fires collab-apply somebody wants to see `detail.viewState`, which was shared, of `detail.topic`
 */
declare class CollabRooms extends CollabElement {
    static observedAttributes: string[];
    /** A view state in words, for its chip; null for none. @type {((viewState: any) => string | null) | null} */
    describeView: ((viewState: any) => string | null) | null;
    /** A place in words, for its chip; null for none. @type {((anchor: any) => string | null) | null} */
    describePlace: ((anchor: any) => string | null) | null;
    /** A topic in words: its title. @type {((topic: string) => string | null) | null} */
    describeTopic: ((topic: string) => string | null) | null;
    /** The address of a comment. @type {((commentId: string) => string) | null} */
    linkTo: ((commentId: string) => string) | null;
    /** @param {string[]} styles */
    constructor(...styles: string[]);
}
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
export {};
