// What is to be changed, until the server has answered: sent again under the same requestId for as long as it takes,
// so that it takes effect once; in the order in which it was asked, topic by topic.

import { Refused } from "./refused.js";
import { randomId } from "./ids.js";
import { Store } from "./store.js";

/** @import { Answer, Connection, Payload } from "./connection.js" */
/** @import { Keeping } from "./keeping.js" */
/** @import { Problem } from "./refused.js" */
/** @import { CommandsByName } from "../types/wire.js" */

/**
 * A command that is not answered yet, or was refused. Never changed; another one takes its place.
 *
 * @typedef {object} Entry
 * @property {string} key stays the same whatever becomes of it
 * @property {string} space whose it is
 * @property {keyof CommandsByName} name
 * @property {any} payload
 * @property {string} requestId
 * @property {string} topic what it is about; commands on one topic are sent one after the other
 * @property {boolean} [isUnnamed] the server is to give the comment its id
 * @property {string} [after] the key of the change that the comment showed already when this one of it was made
 * @property {number} at when it was asked for, in milliseconds
 * @property {"waiting" | "sending" | "refused"} state `refused`: it waits for `retry` or `discard`
 * @property {Problem | null} problem why it is not sent, or was refused
 */

const ENTRIES = 200;
const DAYS_MS = 604_800_000; // seven: for so long the server knows a requestId
const ADOPT_MS = 30_000;

/** @extends {Store<readonly Entry[]>} */
export class Outbox extends Store {
  #connection;
  #keeping;
  #onAnswer;
  /** @type {Entry[]} */ #entries = [];
  /** @type {Map<string, {resolve: (answer: any) => void, reject: (problem: Refused) => void}>} */ #askers = new Map();
  #space = "";
  #lastAt = 0;
  /** @type {Refused | undefined} */ #closed;
  #isReady = false; // what was left is known: nothing goes before it
  /** @type {ReturnType<typeof setInterval> | undefined} */ #adopting;

  /**
   * @internal
   * @param {Connection} connection
   * @param {Promise<Keeping | null>} keeping null: what waits does so in memory
   * @param {(entry: Entry, answer: any) => void} onAnswer called with what was answered, before its entry goes
   */
  constructor(connection, keeping, onAnswer) {
    super();
    this.#onAnswer = onAnswer;
    this.#connection = connection;
    this.#keeping = keeping;
  }

  /**
   * The connection is there, for this person: send what waits, first what former windows have left.
   * @internal
   * @param {string} space
   */
  async hello(space) {
    // What somebody else has left waits until they are back; what nobody had is this person's.
    this.#entries = this.#entries.map((entry) => ({ ...entry, space: entry.space || space }));
    this.#space = space;
    this.#isReady = false;
    this.changed();
    await this.#adopt();
    this.#isReady = true;
    for (const entry of this.look()) if (entry.state !== "refused") this.#put({ ...entry, state: "waiting" });
    this.#adopting ??= setInterval(() => this.#adopt(), ADOPT_MS);
    this.#send();
  }

  /**
   * Have a command take effect, once. The promise may be left alone: what becomes of it is in the snapshot too.
   *
   * @template {keyof CommandsByName} Name
   * @param {Name} name
   * @param {Payload<Name>} payload
   * @param {string} topic
   * @returns {Promise<Answer<Name>>} rejects with `Refused`; an entry that is refused stays until it is discarded
   */
  add(name, payload, topic) {
    const promise = new Promise((resolve, reject) => {
      if (this.#closed) throw this.#closed;
      if (this.look().length >= ENTRIES) throw new Refused({ code: "outbox_full", message: ENTRIES + " changes wait." });
      /** @type {Entry} */
      const entry = {
        key: randomId(),
        space: this.#connection.look().user ? this.#space : "", // who comes may be another
        name,
        payload: JSON.parse(JSON.stringify(payload)), // what cannot be sent is an error now, and not for ever
        requestId: randomId(),
        topic,
        after: this.#entries.findLast(
          (each) => each.name === "comment.edit" && each.payload.commentId === /** @type {any} */ (payload).commentId && each.state !== "refused",
        )?.key,
        at: (this.#lastAt = Math.max(Date.now(), this.#lastAt + 1)), // what is kept is put in order by it
        state: "waiting",
        problem: null,
      };
      this.#askers.set(entry.key, { resolve, reject });
      this.#entries = [...this.#entries, entry];
      this.#put(entry);
      this.#send();
    });
    promise.catch(() => {}); // not every caller waits for it
    return promise;
  }

  /**
   * Send a refused command again, perhaps with another payload.
   * @param {string} key
   * @param {any} [payload]
   */
  retry(key, payload) {
    const entry = this.#refused(key);
    if (!entry) return;
    this.#put({
      ...entry,
      payload: JSON.parse(JSON.stringify(payload ?? entry.payload)),
      requestId: randomId(),
      at: Date.now(),
      state: "waiting",
      problem: null,
    });
    this.#send();
  }

  /** Forget a refused command. @param {string} key */
  discard(key) {
    if (this.#refused(key)) this.#drop(key);
  }

  /** @param {string} key */
  #refused(key) {
    return this.#entries.find((entry) => entry.key === key && entry.state === "refused");
  }

  /** @internal */
  close() {
    clearInterval(this.#adopting);
    this.#closed = new Refused({ code: "closed", message: "The client is closed." });
    this.#askers.forEach(({ reject }) => reject(/** @type {Refused} */ (this.#closed)));
  }

  /** @internal */
  look() {
    return this.#entries.filter(({ space }) => space === this.#space);
  }

  async #adopt() {
    const left = (await this.#kept((keeping) => keeping.adopt(this.#space))) ?? [];
    if (!left.length) return;
    this.#entries = [...this.#entries, ...left].sort((one, other) => one.at - other.at);
    this.#send();
  }

  /** Something is to be sent: the first of each topic that is not under way. */
  #send() {
    this.changed();
    if (!this.#connection.isLive || !this.#isReady) return;
    const busy = new Set();
    for (const entry of this.look()) {
      if (entry.state === "refused" || busy.has(entry.topic)) continue;
      busy.add(entry.topic);
      if (entry.state === "waiting") this.#sendOne(entry);
    }
  }

  /** @param {Entry} entry */
  async #sendOne(entry) {
    const sending = this.#put({ ...entry, state: "sending", problem: null });
    try {
      if (Date.now() - entry.at > DAYS_MS) throw new Refused({ code: "expired", message: "Not sent for a week." });
      const answer = await this.#connection.ask(sending.name, {
        ...sending.payload,
        ...(sending.isUnnamed && { commentId: undefined }),
        requestId: sending.requestId,
      });
      if (!this.#entries.includes(sending)) return; // something else has become of it
      this.#followed(sending, answer);
      this.#onAnswer(sending, answer);
      this.#askers.get(entry.key)?.resolve(answer);
      this.#drop(entry.key);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (!this.#entries.includes(sending)) return;
      this.#trouble(sending, error);
    }
    this.#send();
  }

  /**
   * @param {Entry} entry
   * @param {Refused} problem
   */
  #trouble(entry, problem) {
    if (problem.code === "closed") return;
    if (problem.isPassing) {
      const waits = this.#put({ ...entry, problem: { ...problem } });
      setTimeout(() => {
        if (!this.#entries.includes(waits)) return;
        this.#put({ ...waits, state: "waiting" });
        this.#send();
      }, (problem.retryAfter ?? 1) * 1000);
    } else if (problem.field === "commentId" && entry.name === "comment.add" && !entry.isUnnamed) {
      // It has waited for longer than an id may be old, or this clock is wrong. It was never stored: its requestId would
      // have been answered. The server gives it an id.
      this.#put({ ...entry, isUnnamed: true, requestId: randomId(), state: "waiting" });
    } else {
      this.#put({ ...entry, state: "refused", problem: { ...problem } });
      this.#askers.get(entry.key)?.reject(problem);
    }
  }

  /**
   * What waits for a comment that the server has given another id goes by that, and what was made of one's own change
   * is of the revision that this has become.
   * @param {Entry} entry
   * @param {any} answer
   */
  #followed({ key, isUnnamed, payload: { commentId } }, { comment }) {
    for (const each of this.#entries) {
      if (each.state !== "waiting" || !(isUnnamed || each.after === key)) continue;
      const payload = JSON.parse(JSON.stringify(each.payload).replaceAll(commentId, comment.id));
      if (each.after === key) payload.ofRevision &&= comment.revision;
      this.#put({ ...each, payload });
    }
  }

  /** Put it in the place of what it was. @param {Entry} entry */
  #put(entry) {
    this.#entries = this.#entries.map((each) => (each.key === entry.key ? entry : each));
    // Whoever is not signed in yet has no space of their own. What is being sent waits, for whoever finds it.
    if (entry.space && entry.state !== "sending") this.#kept((keeping) => keeping.put(entry));
    this.changed();
    return entry;
  }

  /** @param {string} key */
  #drop(key) {
    this.#entries = this.#entries.filter((entry) => entry.key !== key);
    this.#askers.delete(key);
    this.#kept((keeping) => keeping.remove(key));
    this.changed();
  }

  /**
   * What cannot be kept waits all the same.
   * @template Result
   * @param {(keeping: Keeping) => Promise<Result>} act
   */
  #kept(act) {
    return this.#keeping.then((keeping) => keeping && act(keeping)).catch(() => {});
  }
}
