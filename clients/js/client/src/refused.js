/** @import { Comment, Discussion, ErrorsByName } from "../types/wire.js" */

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
export class Refused extends Error {
  /** @type {Code} */ code = "internal";
  /** Where in the payload, such as `members[0].id`. @type {string | undefined} */ field;
  /** After how many seconds to try again. @type {number | undefined} */ retryAfter;
  /** Of a write: `none`, nothing was stored; `unknown`. @type {string | undefined} */ outcome;
  /** What to tell the administrator. @type {string | undefined} */ ticketId;
  /** Of a change that was made of another revision: what stands. @type {Comment | undefined} */ comment;
  /** Of a name that was made of another name: what stands. @type {Discussion | undefined} */ discussion;

  /** @param {Omit<Problem, "code"> & {code: string}} error */
  constructor(error) {
    super();
    Object.assign(this, error); // `message` among it, so that it is kept with the rest
  }

  /** Whether the very same command may be sent again, and may be answered otherwise then. */
  get isPassing() {
    return this.code === "no_answer" || this.retryAfter !== undefined || this.outcome === "unknown";
  }
}
