/** The languages there are. */
export declare const LANGUAGES: readonly string[];
export declare class Words {
    #private;
    language: string;
    /** @param {string} language @param {Record<string, string>} strings @param {Record<string, string>} [english] */
    constructor(language: string, strings: Record<string, string>, english?: Record<string, string>);
    /**
     * A sentence. With `count` among the values, that of its plural.
     * @param {string} key
     * @param {Record<string, string | number>} [values]
     */
    say(key: string, values?: Record<string, string | number>): string;
    /** Whether there is such a sentence. @param {string} key */
    has(key: string): boolean;
    /** How long ago a moment (RFC 3339) was; after a week its date. @param {string} at @param {number} now */
    ago(at: string, now: number): string;
    /** A moment, exactly. @param {string} at */
    exact(at: string): string;
}
/**
 * What was given, such as a name, as it stands in a sentence: where one of them goes from right to left, neither turns
 * the other's order.
 * @param {string} given
 * @param {string} sentence
 */
export declare const apart: (given: string, sentence: string) => string;
/** The words of a language, such as `de-AT`; English where there are none. @param {string} wanted @returns {Promise<Words>} */
export declare function wordsOf(wanted: string): Promise<Words>;
