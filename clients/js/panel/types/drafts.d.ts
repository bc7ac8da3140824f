export type Whom = {
    kind: string;
    id: string;
    name: string;
};
export type Draft = {
    text: string;
    whom: Whom[];
    of?: string;
};
/**
 * @typedef {{kind: string, id: string, name: string}} Whom
 * @typedef {{text: string, whom: Whom[], of?: string}} Draft whom the text mentions, by the names that it has; of a change,
 *   what the comment said before it
 */
/** @type {Draft} */
export declare const NO_DRAFT: Draft;
/** @param {string[]} place whose, of which topic, and of which thread */
export declare const draftAt: (place: string[]) => Draft;
/**
 * Hear when another window writes there, or has sent it.
 * @param {string[]} place
 * @param {(before: string, now: Draft) => void} act is told which text was kept until then
 * @returns {() => void} to hear no more
 */
export declare function onDraft(place: string[], act: (before: string, now: Draft) => void): () => void;
/** @param {string[]} place @param {Draft} draft */
export declare function keepDraft(place: string[], { text, whom, of }: Draft): void;
