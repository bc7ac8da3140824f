export type Piece = {
    shown: string;
    from: number;
    to: number;
};
/** @typedef {{shown: string, from: number, to: number}} Piece what is read, and where in the text it is written: in as
 *   many units, or in others, as a mention is */
/**
 * What was found in a comment, with what stands around the first of it.
 * @param {{text: string, body?: any[] | null, mentions: any[]}} comment
 * @param {readonly [number, number][]} highlights in code points of the text as it is stored
 * @returns {[text: string, isFound: boolean][]} not all of a long comment
 */
export declare function foundIn(comment: {
    text: string;
    body?: any[] | null;
    mentions: any[];
}, highlights: readonly [number, number][]): [text: string, isFound: boolean][];
