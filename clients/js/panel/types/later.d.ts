export { NewDiscussion as begin } from "./beginning.js";
export { Discussing as discussions, DiscussionList } from "./discussing.js";
export { Inbox as inbox } from "./inbox.js";
export { Keys } from "./keys.js";
export { Members as members } from "./members.js";
export { Search as search } from "./search.js";
/** @type {string} */
export declare const STYLE: string;
