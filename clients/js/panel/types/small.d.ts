import { CollabElement } from "./element.js";
/** An element with rooms of its own. */
declare class CollabRooms extends CollabElement {
    static observedAttributes: string[];
    /** @type {((viewState: any) => string | null) | null} */ describeView: ((viewState: any) => string | null) | null;
    /** @type {((anchor: any) => string | null) | null} */ describePlace: ((anchor: any) => string | null) | null;
    /** @type {((topic: string) => string | null) | null} */ describeTopic: ((topic: string) => string | null) | null;
    /** @type {((commentId: string) => string) | null} */ linkTo: ((commentId: string) => string) | null;
    /** @param {string[]} styles */
    constructor(...styles: string[]);
}
/** `<collab-inbox>`: what one was told, wherever. `topic` is the dashboard that is open. */
export declare class CollabInbox extends CollabRooms {
}
/** `<collab-discussions topic="…">`: the private discussions one is in, those about the topic first. */
export declare class CollabDiscussions extends CollabRooms {
}
/** `<collab-bell>`: how many one has not read, and the inbox over the page. */
export declare class CollabBell extends CollabRooms {
    constructor();
}
/**
 * `<collab-badge topic="…" anchor='{"pageKey": "…", "visualizationKey": "…"}'>`: how many open threads there are at a
 * place, and whether something there is unread. Without `anchor`: how many comments of the topic are unread. However
 * many there are on a page, they share a question.
 */
export declare class CollabBadge extends CollabElement {
    static observedAttributes: string[];
    constructor();
    /** The place; null for the whole topic. @returns {{pageKey?: string | null, visualizationKey?: string | null} | null} */
    get anchor(): {
        pageKey?: string | null;
        visualizationKey?: string | null;
    } | null;
    set anchor(anchor: {
        pageKey?: string | null;
        visualizationKey?: string | null;
    } | null);
}
export {};
