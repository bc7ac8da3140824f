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
 * The id of the comment that an event changes: of a reply that is added, its root.
 * @param {any} event
 * @returns {string | undefined} undefined where it is about no comment
 */
export declare const about: ({ type, data: { comment, commentId } }: any) => string | undefined;
/**
 * The comment after an event that is `about` it; itself where that changes nothing. A command does what its event does.
 * @template {Comment} Shown
 * @param {Shown} comment
 * @param {any} event
 * @returns {Shown}
 */
export declare function fold<Shown extends Comment>(comment: Shown, { type, data, at, actor }: any): Shown;
/**
 * The comment as it will be once the server has taken a command, if that is about it.
 * @param {Comment} comment
 * @param {Entry} pending
 * @param {User} me
 * @returns {Comment}
 */
export declare function foresee(comment: Comment, pending: Entry, me: User): Comment;
