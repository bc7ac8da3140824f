import type { Mention } from "../types/wire.js";
export type Piece = {
    text: string;
    mention?: undefined;
} | {
    text: string;
    mention: Mention;
};
/**
 * A piece of a text: words, or somebody's name.
 * @typedef {{text: string, mention?: undefined} | {text: string, mention: Mention}} Piece
 */
/**
 * The mention of somebody, to be put into a text. What would end it early, or begin another one, in a name, is parted.
 * @param {{kind: string, id: string, name: string}} whom
 */
export declare const mention: ({ kind, id, name }: {
    kind: string;
    id: string;
    name: string;
}) => string;
/**
 * Whom a text mentions, each once, by the names that the text has for them.
 * @param {string} text
 * @returns {Mention[]}
 */
export declare function mentionsOf(text: string): Mention[];
/**
 * A comment's text as people read it. A mention that is not among the comment's is none.
 * @param {string} text
 * @param {readonly Mention[]} mentions the comment's
 * @returns {Piece[]} in order; put together, their `text` is what is read
 */
export declare function pieces(text: string, mentions: readonly Mention[]): Piece[];
