/** @import { Comment, Discussion, ErrorsByName } from "../types/wire.js" */
import type { Comment, Discussion, ErrorsByName } from "../types/wire.js";
export type Code = keyof ErrorsByName | "no_answer" | "outbox_full" | "expired" | "closed";
export type Problem = {
    code: Code;
    message: string;
    field?: string;
    retryAfter?: number;
    outcome?: string;
    ticketId?: string;
    comment?: Comment;
    discussion?: Discussion;
};
/**
 * Why something was not done: what the server said, or, of the client itself, `no_answer` (nobody answered in time),
 * `outbox_full`, `expired` (not sent for seven days), `closed` (the client was).
 *
 * @typedef {keyof ErrorsByName | "no_answer" | "outbox_full" | "expired" | "closed"} Code
 */
/**
 * A refusal without its class, as it can be kept.
 * @typedef {{code: Code, message: string, field?: string, retryAfter?: number, outcome?: string, ticketId?: string,
 *   comment?: Comment, discussion?: Discussion}} Problem
 */
/** A refusal. `code` is for programs, `message` a sentence for people. */
export declare class Refused extends Error {
    /** @type {Code} */ code: Code;
    /** Where in the payload, such as `members[0].id`. @type {string | undefined} */ field: string | undefined;
    /** After how many seconds to try again. @type {number | undefined} */ retryAfter: number | undefined;
    /** Of a write: `none`, nothing was stored; `unknown`. @type {string | undefined} */ outcome: string | undefined;
    /** What to tell the administrator. @type {string | undefined} */ ticketId: string | undefined;
    /** Of a change that was made of another revision: what stands. @type {Comment | undefined} */ comment: Comment | undefined;
    /** Of a name that was made of another name: what stands. @type {Discussion | undefined} */ discussion: Discussion | undefined;
    /** @param {Omit<Problem, "code"> & {code: string}} error */
    constructor(error: Omit<Problem, "code"> & {
        code: string;
    });
    /** Whether the very same command may be sent again, and may be answered otherwise then. */
    get isPassing(): boolean;
}
