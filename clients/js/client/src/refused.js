/** @import { ErrorsByName } from "../types/wire.js" */

/**
 * Why something was not done: what the server said, or, of the client itself, `no_answer` (nobody answered in time),
 * `outbox_full`, `expired` (not sent for seven days), `closed` (the client was) or `other` (an error of a newer server).
 *
 * @typedef {keyof ErrorsByName | "no_answer" | "outbox_full" | "expired" | "closed" | "other"} Code
 */

/**
 * A refusal without its class, as it can be kept.
 * @typedef {{code: Code, message: string, field?: string, retryAfter?: number, outcome?: string, ticketId?: string}} Problem
 */

/** @type {Record<Code, 0>} */
const KNOWN = {
  invalid: 0,
  unauthenticated: 0,
  forbidden: 0,
  not_found: 0,
  unknown_command: 0,
  conflict: 0,
  too_large: 0,
  rate_limited: 0,
  unavailable: 0,
  paused: 0,
  internal: 0,
  no_answer: 0,
  outbox_full: 0,
  expired: 0,
  closed: 0,
  other: 0,
};

/** A refusal. `code` is for programs, `message` a sentence for people. */
export class Refused extends Error {
  /** @type {Code} */ code;
  /** Where in the payload, such as `members[0].id`. @type {string | undefined} */ field;
  /** After how many seconds to try again. @type {number | undefined} */ retryAfter;
  /** Of a write: `none`, nothing was stored; `unknown`. @type {string | undefined} */ outcome;
  /** What to tell the administrator. @type {string | undefined} */ ticketId;

  /** @param {{code: string, message: string, field?: string, retryAfter?: number, outcome?: string, ticketId?: string}} error */
  constructor({ code, message, field, retryAfter, outcome, ticketId }) {
    super(message);
    this.code = code in KNOWN ? /** @type {Code} */ (code) : "other";
    Object.assign(this, { field, retryAfter, outcome, ticketId });
  }

  /** Whether the very same command may be sent again, and may be answered otherwise then. */
  get isPassing() {
    return this.code === "no_answer" || this.retryAfter !== undefined || this.outcome === "unknown";
  }
}
