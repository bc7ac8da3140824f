import { Refused } from "./refused.js";
import { Store } from "./store.js";
import type { Client } from "./client.js";
import type { Comment } from "./fold.js";
import type { Entry } from "./outbox.js";
import type { AnchorPayload, Discussion, User } from "../types/wire.js";
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
    topic: string;
    /**
     * `behind`: what is shown may be old, because the
     * connection is lost or being caught up; `closed`: `problem` says why, `open()` tries again
     */
    state: "loading" | "live" | "behind" | "closed";
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
    unread: number;
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
    typing: readonly User[];
    /**
     * of a discussion: its name, members, owner
     */
    discussion: Discussion | null;
};
export type NewComment = {
    text: string;
    /**
     * the id of a comment
     */
    replyTo?: string;
    anchor?: AnchorPayload;
    viewState?: {
        [key: string]: unknown;
    };
};
/** @extends {Store<TopicState>} */
export declare class Topic extends Store<TopicState> {
    #private;
    name: string;
    /**
     * @param {Client} client
     * @param {string} name
     */
    constructor(client: Client, name: string);
    /**
     * Follow it, though nobody subscribes; also after it was closed.
     * @returns {Promise<void>} when it is live; rejects with a `Refused` where it may not be followed
     */
    open(): Promise<void>;
    /** Follow it no more. */
    leave(): void;
    /** @param {number} count */
    watched(count: number): void;
    /** The connection is there. */
    hello(): void;
    /** The connection is lost. */
    lost(): void;
    /** Throw everything away: somebody else is signed in. */
    forget(): void;
    /**
     * @param {string} name
     * @param {any} said
     */
    said(name: string, said: any): void;
    /**
     * What the inbox says of this topic, on whatever device it was done.
     * @param {any} event
     */
    inboxEvent({ type, data }: any): void;
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
     * What waits for this topic.
     * @param {readonly Entry[]} entries
     */
    setWaiting(entries: readonly Entry[]): void;
    /**
     * A command was answered; its event comes before or after.
     * @param {Entry} entry
     * @param {any} answer
     */
    answered(entry: Entry, { comment, seq }: any): void;
    /**
     * Comment. It is shown at once, and sent when it can be.
     * @param {NewComment} comment
     */
    add(comment: NewComment): Promise<import("../types/wire.js").CommentAndSeq>;
    /** @param {string} commentId @param {string} text */
    edit(commentId: string, text: string): Promise<import("../types/wire.js").CommentAndSeq>;
    /** @param {string} commentId */
    delete(commentId: string): Promise<import("../types/wire.js").Seq>;
    /** @param {string} commentId @param {string} emoji */
    react(commentId: string, emoji: string): Promise<import("../types/wire.js").Seq>;
    /** @param {string} commentId @param {string} emoji */
    unreact(commentId: string, emoji: string): Promise<import("../types/wire.js").Seq>;
    /** @param {string} threadId */
    resolve(threadId: string): Promise<import("../types/wire.js").Seq>;
    /** @param {string} threadId */
    reopen(threadId: string): Promise<import("../types/wire.js").Seq>;
    /** @param {boolean} muted @param {string} [until] a time to come, RFC 3339 */
    mute(muted: boolean, until?: string): Promise<import("../types/wire.js").Empty>;
    /** Say that this person is writing here, as often as they press a key; or not any more. @param {boolean} isTyping */
    type(isTyping?: boolean): void;
    /** Whether this person may use a command here. @param {keyof import("../types/wire.js").CommandsByName} command */
    may(command: keyof import("../types/wire.js").CommandsByName): boolean;
    /** @returns {TopicState} */
    look(): TopicState;
}
