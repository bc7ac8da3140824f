/** A topic in words. @param {any} words @param {any} host @param {string} topic @param {any} [discussion] */
export declare function whereOf(words: any, host: any, topic: string, discussion?: any): any;
/** Who is in it, in words, oneself last. @param {any} words @param {any} discussion @param {any} me @returns {string[]} */
export declare function membersOf(words: any, { members }: any, me: any): string[];
/** What a bell says, the number as it shows it: who speaks to a browser calls it what they see. @param {any} words @param {number} count */
export declare const bellOf: (words: any, count: number) => any;
/** Why one is told. @param {any} words @param {any} notification */
export declare function whyOf(words: any, { kind, why }: any): any;
/** A name that is not too long for a sentence. @param {string} text */
export declare const cut: (text: string) => string;
