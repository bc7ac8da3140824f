export type Known = {
    mentions: readonly any[];
    meId: string | undefined;
    isLink?: boolean;
};
/** A comment as elements. @param {any} comment @param {string | undefined} meId */
export declare function Said({ text, body, mentions }: any, meId: string | undefined): any;
/**
 * The name of a control that stands at a comment, for those who do not see at which: with how that begins.
 * @param {any} words @param {string} label @param {any} comment @param {string} [name] whose it is, where that is not said yet
 */
export declare function named(words: any, label: string, comment: any, name?: string): any;
/** What a comment says as words of one line. @param {any} comment @returns {string} */
export declare function lineOfComment({ text, body, mentions }: any): string;
