export type Anchor = import("collab-client/wire").AnchorPayload;
export type Attachment = {
    /**
     * the view in words, for its chip
     */
    label?: string | null;
    /**
     * is attached when one wishes
     */
    viewState?: {
        [key: string]: unknown;
    } | null;
    /**
     * is attached unless one takes it away
     */
    anchor?: Anchor | null;
};
/** @typedef {import("collab-client/wire").AnchorPayload} Anchor */
/**
 * What a new comment can have with it.
 * @typedef {object} Attachment
 * @property {string | null} [label] the view in words, for its chip
 * @property {{[key: string]: unknown} | null} [viewState] is attached when one wishes
 * @property {Anchor | null} [anchor] is attached unless one takes it away
 */
/** Whether something is at a place: what the place does not say may be anything. @param {any} anchor @param {any} place */
export declare function isAt(anchor: any, place: any): boolean;
/** @param {any} one @param {any} other */
export declare function isSamePlace(one: any, other: any): boolean;
/** A place in words; null for none. @param {any} host @param {any} anchor @returns {string | null} */
export declare function placeOf(host: any, anchor: any): string | null;
