import { Log } from "./log.js";
import { Refused } from "./refused.js";
import type { Comment } from "./fold.js";
import type { AnchorPayload, Comment as Stored, Discussion, User } from "../types/wire.js";
export type Thread = {
    /**
     * that of its root
     */
    id: string;
    /**
     * undefined while only replies to it are loaded
     */
    root: Comment | undefined;
    /**
     * what is loaded, the root among it, by `seq`; what is not stored yet is last
     */
    comments: readonly Comment[];
    /**
     * whether all of it is loaded
     */
    isWhole: boolean;
    /**
     * how many of those that are loaded this person has not read
     */
    unread: number;
};
export type TopicState = {
    /**
     * its name
     */
    topic: string;
    /**
     * `behind`: what is shown may be old, because the
     * connection is lost or being caught up; `closed`: `problem` says why, `open()` tries again
     */
    state: "loading" | "live" | "behind" | "closed";
    /**
     * why it cannot be followed now, or not any more
     */
    problem: Refused | null;
    /**
     * by the `seq` of their roots
     */
    threads: readonly Thread[];
    /**
     * whether `older()` has more
     */
    hasOlder: boolean;
    /**
     * everything up to here is shown
     */
    seq: number;
    /**
     * what is up to here is read
     */
    readSeq: number;
    /**
     * how many comments of others this person has not read
     */
    unread: number;
    /**
     * whether this person has muted it
     */
    muted: boolean;
    /**
     * the commands that this person may use here
     */
    rights: readonly string[];
    /**
     * false where an administrator has switched comments off
     */
    commenting: boolean;
    /**
     * who has it open
     */
    present: readonly User[];
    /**
     * who is writing
     */
    typing: readonly User[];
    /**
     * of a discussion: its name, members, owner
     */
    discussion: Discussion | null;
};
export type Said = Pick<TopicState, "problem" | "muted" | "rights" | "commenting" | "present" | "discussion">;
export type NewComment = {
    text: string;
    /**
     * how the text is to be read; without one it is plain
     */
    format?: "plain" | "markdown";
    /**
     * the id of a comment
     */
    replyTo?: string;
    anchor?: AnchorPayload;
    viewState?: {
        [key: string]: unknown;
    };
};
export type Read = {
    items: Stored[];
    seq?: number;
};
/** @extends {Log<TopicState>} */
export declare class Topic extends Log<TopicState> {
    #private;
    /**
     * Follow it, though nobody subscribes; also after it was closed.
     * @returns {Promise<void>} when it is live; rejects with a `Refused` where it may not be followed
     */
    open(): Promise<void>;
    /** Follow it no more. */
    leave(): void;
    /** Load comments older than those that are there. Returns when they are. */
    older(): Promise<void>;
    /**
     * Load all of a thread.
     * @param {string} threadId
     */
    thread(threadId: string): Promise<void>;
    /**
     * Load a comment, with its thread, wherever it is.
     * @param {string} commentId
     * @returns {Promise<string>} the id of its thread
     */
    find(commentId: string): Promise<string>;
    /**
     * What is up to this `seq` is read.
     * @param {number} [seq] left out: everything that is shown
     */
    read(seq?: number): void;
    /**
     * What is said from this `seq` on is unread again.
     * @param {number} fromSeq
     */
    markUnread(fromSeq: number): Promise<import("../types/wire.js").Unread>;
    /**
     * Comment. It is shown at once, and sent when it can be.
     * @param {NewComment} comment
     */
    add(comment: NewComment): Promise<import("../types/wire.js").CommentAndSeq>;
    /**
     * Give one's own comment another text.
     * @param {string} commentId
     * @param {string} text
     * @param {"plain" | "markdown"} [format] how it is to be read; without one as the comment is
     * @param {number} [ofRevision] of which revision it was made; left out: of the one that is known. Where another one is
     *   stored, it is refused, with `comment` as that stands
     */
    edit(commentId: string, text: string, format?: "plain" | "markdown", ofRevision?: number): Promise<import("../types/wire.js").CommentAndSeq>;
    /**
     * Delete one's own comment.
     * @param {string} commentId
     * @param {number} [ofRevision] as with `edit`
     */
    delete(commentId: string, ofRevision?: number): Promise<import("../types/wire.js").Seq>;
    /** React to a comment. @param {string} commentId @param {string} emoji one */
    react(commentId: string, emoji: string): Promise<import("../types/wire.js").Seq>;
    /** Take one's reaction back. @param {string} commentId @param {string} emoji */
    unreact(commentId: string, emoji: string): Promise<import("../types/wire.js").Seq>;
    /** Mark a thread as resolved. @param {string} threadId */
    resolve(threadId: string): Promise<import("../types/wire.js").Seq>;
    /** Open a resolved thread again. @param {string} threadId */
    reopen(threadId: string): Promise<import("../types/wire.js").Seq>;
    /** Be told nothing of this topic, or again. @param {boolean} muted @param {string} [until] a time to come, RFC 3339 */
    mute(muted: boolean, until?: string): Promise<import("../types/wire.js").Empty>;
    /** Say that this person is writing here, as often as they press a key; or not any more. @param {boolean} isTyping */
    type(isTyping?: boolean): void;
    /** Whether this person may use a command here. @param {keyof import("../types/wire.js").CommandsByName} command */
    may(command: keyof import("../types/wire.js").CommandsByName): boolean;
}
