// Which threads of a topic one follows, and which one has muted.

import { Store } from "./store.js";

/** @import { Topic } from "./topic.js" */
/** @import { Client } from "./client.js" */
/** @import { ThreadMark } from "../types/wire.js" */

/**
 * @typedef {object} MarksState
 * @property {(threadId: string) => {readonly following: boolean, readonly muted: boolean}} of what is chosen for a
 *   thread, or is about to be; the same object while nothing changed there
 */

const NOTHING = Object.freeze({ following: false, muted: false });

/** @extends {Store<MarksState>} */
export class Marks extends Store {
  #client;
  #topic;
  /** @type {Map<string, {following: boolean, muted: boolean}>} */ #marks = new Map();
  /** What was told while they are being read: it may be newer. @type {ThreadMark[] | undefined} */ #told;
  /** @type {(() => void)[]} */ #ends = [];
  #isRead = false;

  /**
   * @internal
   * @param {Client} client
   * @param {Topic} topic
   */
  constructor(client, topic) {
    super();
    this.#client = client;
    this.#topic = topic;
  }

  /** @internal @param {number} count */
  watched(count) {
    if (count && !this.#ends.length) {
      this.#ends = [
        this.#topic.subscribe(() => this.#follow()),
        this.#client.outbox.subscribe(() => this.changed()),
        this.#client.on("thread.was_marked", ({ data }) => data.topic === this.#topic.name && this.#hear(data.thread)),
      ];
      this.#follow();
    } else if (!count) {
      this.#ends.forEach((end) => end());
      this.#ends = [];
      this.#isRead = false;
    }
  }

  /** They are read with every connection: what is told meanwhile comes to this device only while it is connected. */
  #follow() {
    const { state } = this.#topic.snapshot();
    if (state !== "live") this.#isRead = false;
    else if (!this.#isRead && !this.#told) this.#read();
  }

  async #read() {
    this.#isRead = true;
    this.#told = [];
    try {
      const found = new Map();
      /** @type {string | null} */ let cursor = null;
      do {
        /** @type {import("../types/wire.js").ThreadMarks} */
        const page = await this.#client.ask("thread.marks", { topic: this.#topic.name, cursor });
        for (const { threadId, following, muted } of page.items) found.set(threadId, Object.freeze({ following, muted }));
        cursor = page.next;
      } while (cursor);
      this.#marks = found;
    } catch {
      this.#isRead = false; // read with the next change, or the next connection
    }
    const told = this.#told;
    this.#told = undefined;
    told.forEach((mark) => this.#hear(mark));
    this.changed();
  }

  /** @param {ThreadMark} mark */
  #hear(mark) {
    this.#told?.push(mark);
    const { threadId, following, muted } = mark;
    this.#marks.set(threadId, Object.freeze({ following, muted }));
    this.changed();
  }

  /** Be told of every reply in a thread, or no more. @param {string} threadId @param {boolean} following */
  follow(threadId, following = true) {
    return this.#change("thread.follow", { commentId: threadId, following });
  }

  /** Be told nothing of a thread, or again. @param {string} threadId @param {boolean} muted */
  mute(threadId, muted = true) {
    return this.#change("thread.mute", { commentId: threadId, muted });
  }

  /**
   * @template {"thread.follow" | "thread.mute"} Name
   * @param {Name} name
   * @param {import("./connection.js").Payload<Name>} payload
   */
  async #change(name, payload) {
    const answer = await this.#client.change(name, payload, this.#topic.name);
    this.#hear(answer);
    return answer;
  }

  /** @internal @returns {MarksState} */
  look() {
    const marks = new Map(this.#marks);
    for (const { name, payload, state } of this.#client.outbox.snapshot()) {
      if (state === "refused" || (name !== "thread.follow" && name !== "thread.mute")) continue;
      const { commentId, following = false, muted = false } = payload;
      marks.set(commentId, Object.freeze({ following, muted }));
    }
    return { of: (threadId) => marks.get(threadId) ?? NOTHING };
  }
}

/** @type {WeakMap<Topic, Marks>} */
const all = new WeakMap();

/**
 * Which threads of a topic this person follows or has muted: one for all who want to know.
 * @param {Client} client
 * @param {Topic} topic
 */
export function marksOf(client, topic) {
  let marks = all.get(topic);
  if (!marks) all.set(topic, (marks = new Marks(client, topic)));
  return marks;
}
