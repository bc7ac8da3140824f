// The private discussions that one is in, and what is new in them.

import { Store } from "./store.js";
import { summariesOf } from "./summaries.js";

/** @import { Client } from "./client.js" */
/** @import { Discussion } from "../types/wire.js" */

/**
 * @typedef {object} DiscussionsState
 * @property {boolean} isLoaded
 * @property {readonly Discussion[]} discussions those that are loaded, the latest active first
 * @property {boolean} hasOlder whether `older()` has more
 * @property {number} unread comments of others in those that are loaded
 */

const PAGE = 50;
const MOST_WATCHED = 200;
const PAUSE_MS = 300; // between what happens and the question
const SIGNS = [
  "discussion.renamed",
  "discussion.deleted",
  "member.added",
  "member.removed",
  "owner.changed",
  "notification.removed",
  "topic.was_muted",
];

/** @extends {Store<DiscussionsState>} */
export class Discussions extends Store {
  #client;
  #summaries;
  /** @type {Map<string, Discussion>} */ #known = new Map();
  /** @type {Map<string, () => void>} */ #watches = new Map();
  /** @type {string | null} */ #olderCursor = null;
  /** @type {(() => void)[]} */ #ends = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #later;
  /** @type {string | undefined} */ #whose;
  #isLoaded = false;
  #isLive = false;
  #isBeginning = false;
  #pages = 1;

  /** @internal @param {Client} client */
  constructor(client) {
    super();
    this.#client = client;
    this.#summaries = summariesOf(client);
  }

  /** @internal @param {number} count */
  watched(count) {
    if (count && !this.#ends.length) {
      const client = this.#client;
      this.#ends = [
        client.connection.subscribe(() => this.#follow()),
        this.#summaries.subscribe(() => this.#count()),
        client.on("topic.closed", ({ topic }) => this.#forget(topic)),
        client.on("notification.added", ({ data }) => data.notification.kind === "invited" && this.#soon()),
        client.on("topic.was_read", ({ data }) => this.#isNew(data.topic) && this.#soon()),
        client.outbox.subscribe(() => this.#begun()),
        ...SIGNS.map((name) => client.on(name, () => this.#soon())),
      ];
      this.#follow();
    } else if (!count) {
      this.#ends.forEach((end) => end());
      this.#watches.forEach((end) => end());
      this.#watches.clear();
      this.#ends = [];
      this.#isLive = false;
      clearTimeout(this.#later);
      this.#later = undefined;
    }
  }

  #follow() {
    const { isLive } = this.#client.connection;
    const { me } = this.#client;
    if (isLive && this.#whose !== me?.id) {
      // Somebody else is signed in.
      this.#whose = me?.id;
      this.#known = new Map();
      this.#olderCursor = null;
      this.#isLoaded = false;
      this.changed();
    }
    if (isLive && !this.#isLive) this.#soon();
    this.#isLive = isLive;
  }

  /** One that was begun on another device has been read there. @param {string} topic */
  #isNew(topic) {
    return topic.startsWith("discussion:") && !this.#known.has(topic);
  }

  /** A node of a former version tells nobody of a discussion that they have begun themselves. */
  #begun() {
    const isBeginning = this.#client.outbox.snapshot().some(({ name }) => name === "discussion.create");
    if (this.#isBeginning && !isBeginning) this.#soon();
    this.#isBeginning = isBeginning;
  }

  #soon() {
    this.#later ??= setTimeout(() => this.#read(), PAUSE_MS);
  }

  /** Read as many as are shown, anew. */
  async #read() {
    const found = new Map();
    /** @type {string | null} */ let cursor = null;
    try {
      for (let page = 0; page < this.#pages; page += 1) {
        cursor = await this.#page(cursor, found);
        if (cursor === null) break;
      }
    } catch {
      this.#later = undefined;
      return; // read with the next sign, or the next connection
    }
    this.#later = undefined;
    if (!this.#ends.length) return;
    this.#known = found;
    this.#olderCursor = cursor;
    this.#isLoaded = true;
    this.#watch();
    this.changed();
  }

  /** @param {string | null} cursor @param {Map<string, Discussion>} found */
  async #page(cursor, found) {
    const { items, next } = await this.#client.ask("discussion.list", { limit: PAGE, ...(cursor && { cursor }) });
    for (const discussion of items) found.set(discussion.topic, discussion);
    return next;
  }

  /** Load more of them. Returns when they are there. */
  async older() {
    const cursor = this.#olderCursor;
    if (cursor === null) return;
    const found = new Map();
    const next = await this.#page(cursor, found);
    if (this.#olderCursor !== cursor) return;
    this.#pages += 1;
    this.#known = new Map([...this.#known, ...found]);
    this.#olderCursor = next;
    this.#watch();
    this.changed();
  }

  #watch() {
    const wanted = new Set([...this.#known.keys()].slice(0, MOST_WATCHED));
    for (const [topic, end] of this.#watches) {
      if (wanted.has(topic)) continue;
      end();
      this.#watches.delete(topic);
    }
    for (const topic of wanted) {
      if (!this.#watches.has(topic)) this.#watches.set(topic, this.#summaries.watch(topic));
    }
  }

  /** @param {string} topic */
  #forget(topic) {
    if (this.#known.delete(topic)) this.changed();
  }

  #count() {
    const { of } = this.#summaries.snapshot();
    let isChanged = false;
    for (const [topic, discussion] of this.#known) {
      const summary = of(topic);
      if (!summary || (summary.seq === discussion.lastSeq && summary.unread === discussion.unread)) continue;
      this.#known.set(topic, { ...discussion, lastSeq: summary.seq, unread: summary.unread });
      isChanged = true;
    }
    if (isChanged) this.changed();
  }

  /** @internal @returns {DiscussionsState} */
  look() {
    const { of } = this.#summaries.snapshot();
    const at = (/** @type {Discussion} */ { topic, createdAt }) => of(topic)?.lastAt ?? createdAt;
    const discussions = [...this.#known.values()].sort((one, other) => Date.parse(at(other)) - Date.parse(at(one)));
    return {
      isLoaded: this.#isLoaded,
      discussions,
      hasOlder: this.#olderCursor !== null,
      unread: discussions.reduce((sum, { unread }) => sum + unread, 0),
    };
  }
}

/** @type {WeakMap<Client, Discussions>} */
const all = new WeakMap();

/**
 * The private discussions that this person is in: one for all who want to know.
 * @param {Client} client
 */
export function discussionsOf(client) {
  let discussions = all.get(client);
  if (!discussions) all.set(client, (discussions = new Discussions(client)));
  return discussions;
}
