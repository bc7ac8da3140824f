import type { Comment as Stored, User } from "../types/wire.js";
import type { Entry } from "./outbox.js";
export type Comment = Stored & {
    pending?: Entry;
};
/** @import { Comment as Stored, User } from "../types/wire.js" */
/** @import { Entry } from "./outbox.js" */
/**
 * A comment as it is shown. `pending` is the newest change of one's own that the server has not taken yet.
 * @typedef {Stored & {pending?: Entry}} Comment
 */
/**
 * The comment after an event of its topic; itself where that changes nothing.
 * @param {Stored} comment
 * @param {any} event
 * @returns {Stored}
 */
export declare function fold(comment: Stored, event: any): Stored;
/**
 * Whether one state of a comment is newer than another, or as new. Events of what was deleted since say that it is.
 * @param {Stored} one
 * @param {Stored} other
 */
export declare function isNewer(one: Stored, other: Stored): boolean;
/**
 * The comment as it will be once the server has taken a command.
 * @param {Comment} comment
 * @param {Entry} entry
 * @param {User} me
 * @returns {Comment}
 */
export declare function foresee(comment: Comment, entry: Entry, me: User): Comment;
