export type Whom = {
    kind: string;
    id: string;
    name: string;
};
export type Draft = {
    text: string;
    whom: Whom[];
};
/**
 * @typedef {{kind: string, id: string, name: string}} Whom
 * @typedef {{text: string, whom: Whom[]}} Draft whom the text mentions, by the names that it has
 */
/** @type {Draft} */
export declare const NO_DRAFT: Draft;
/** @param {string[]} place whose, of which topic, and of which thread @returns {Draft} */
export declare function draftAt(place: string[]): Draft;
/** @param {string[]} place @param {Draft} draft */
export declare function keepDraft(place: string[], { text, whom }: Draft): void;
