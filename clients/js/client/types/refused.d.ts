/** @import { ErrorsByName } from "../types/wire.js" */
import type { ErrorsByName } from "../types/wire.js";
export type Code = keyof ErrorsByName | "no_answer" | "outbox_full" | "expired" | "closed" | "other";
export type Problem = {
    code: Code;
    message: string;
    field?: string;
    retryAfter?: number;
    outcome?: string;
    ticketId?: string;
};
/** A refusal. `code` is for programs, `message` a sentence for people. */
export declare class Refused extends Error {
    /** @type {Code} */ code: Code;
    /** Where in the payload, such as `members[0].id`. @type {string | undefined} */ field: string | undefined;
    /** After how many seconds to try again. @type {number | undefined} */ retryAfter: number | undefined;
    /** Of a write: `none`, nothing was stored; `unknown`. @type {string | undefined} */ outcome: string | undefined;
    /** What to tell the administrator. @type {string | undefined} */ ticketId: string | undefined;
    /** @param {{code: string, message: string, field?: string, retryAfter?: number, outcome?: string, ticketId?: string}} error */
    constructor({ code, message, field, retryAfter, outcome, ticketId }: {
        code: string;
        message: string;
        field?: string;
        retryAfter?: number;
        outcome?: string;
        ticketId?: string;
    });
    /** Whether the very same command may be sent again, and may be answered otherwise then. */
    get isPassing(): boolean;
}
