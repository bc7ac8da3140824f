export type Known = {
    mentions: readonly any[];
    meId: string | undefined;
    isLink?: boolean;
};
/** A comment as elements. @param {any} comment @param {string | undefined} meId */
export declare function Said({ text, body, mentions }: any, meId: string | undefined): any;
/** What a comment says as words of one line. @param {any} comment @returns {string} */
export declare function lineOfComment({ text, body, mentions }: any): string;
