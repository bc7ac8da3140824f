import { CollabElement } from "./element.js";
/**
 * An element with rooms of its own.
 *
 * @fires collab-open somebody wants to see `detail.topic`, and there `detail.commentId`. Who shows it themselves calls
 *   `preventDefault()`; otherwise it is shown in a panel of the page, or here, with a way back
 * @fires collab-apply somebody wants to see `detail.viewState`, which was shared, of `detail.topic`
 */
export declare class CollabRooms extends CollabElement {
    static observedAttributes: string[];
    /** A view state in words, for its chip; null for none. @type {((viewState: any) => string | null) | null} */
    describeView: ((viewState: any) => string | null) | null;
    /** A place in words, for its chip; null for none. @type {((anchor: any) => string | null) | null} */
    describePlace: ((anchor: any) => string | null) | null;
    /** A topic in words: its title, for what was said on other dashboards. @type {((topic: string) => string | null) | null} */
    describeTopic: ((topic: string) => string | null) | null;
    /** The address of a comment. @type {((commentId: string) => string) | null} */
    linkTo: ((commentId: string) => string) | null;
    /** @param {string[]} styles */
    constructor(...styles: string[]);
}
/**
 * The comments of a topic, and over them the inbox, the discussions and the search.
 *
 * @attr topic whose comments: `content:{projectId}:{objectId}` or `discussion:{id}`
 * @attr comment the id of a comment to go to; without it, that of the page's address, `?collab=comment:{id}`
 * @attr sheet `low`, `half` or `full`: it is a sheet from below on a screen of less than 720 px, and so high now
 * @fires collab-apply somebody wants to see `detail.viewState`, which came with `detail.comment`, or was shared: then it
 *   is of `detail.topic`
 * @fires collab-place other places are shown than before: `detail.place`, null for all
 * @fires collab-point one points at the thread `detail.threadId`, whose place is `detail.anchor`; both are null when it is
 *   none any more
 * @slot header in the place of the title
 * @slot empty what is said when there is nothing
 * @slot footer below the composer
 */
export declare class CollabPanel extends CollabRooms {
    #private;
    static observedAttributes: string[];
    /**
     * What a new comment can have with it; null for nothing. The view, which `label` says in words, goes with it when one
     * wishes; the place unless one takes it away.
     */
    get attachment(): import("./places.js").Attachment | null;
    set attachment(attachment: import("./places.js").Attachment | null);
    /** The place whose threads are shown; null for all. What it lacks may be anything. */
    get place(): import("collab-client/wire").AnchorPayload | null;
    set place(place: import("collab-client/wire").AnchorPayload | null);
    /** Goes to the place of a comment, which another page of the dashboard may have; null where none can be gone to. */
    get goTo(): ((anchor: any) => void) | null;
    set goTo(goTo: ((anchor: any) => void) | null);
    /** @override @param {string} name @param {string | null} before @param {string | null} value */
    attributeChangedCallback(name: string, before: string | null, value: string | null): void;
    /**
     * Show another topic over this one, with a way back: a discussion, or what was said on another dashboard.
     * @param {string} topic
     * @param {string | null} [commentId] to go to
     */
    open(topic: string, commentId?: string | null): void;
    /** Go to a comment of this topic. @param {string} commentId */
    show(commentId: string): void;
}
