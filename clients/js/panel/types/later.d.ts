export { Discussing as discussions, NewDiscussion as begin } from "./discussing.js";
export { Inbox as inbox } from "./inbox.js";
export { Members as members } from "./members.js";
export { Search as search } from "./search.js";
/** @type {string} */
export declare const STYLE: string;
