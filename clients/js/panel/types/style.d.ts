/** @type {string} */
export declare const STYLE: string;
