// What is new in topics that are not open: for lists of dashboards, however many, over the one connection.

import { Store } from "./store.js";

/** @import { Client } from "./client.js" */
/** @import { Summary } from "../types/wire.js" */

/**
 * @typedef {object} SummariesState
 * @property {(topic: string) => Summary | undefined} of what a topic has; undefined while that is not known, or where it
 *   may not be opened
 */

const MOST = 500; // topics, which the server takes
const PAUSE_MS = 300; // so long names are gathered before they are asked for

/** @extends {Store<SummariesState>} */
export class Summaries extends Store {
  #client;
  /** How often each name is wanted. @type {Map<string, number>} */ #wanted = new Map();
  /** @type {Map<string, Summary>} */ #known = new Map();
  #isLive = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #later;

  /** @internal @param {Client} client */
  constructor(client) {
    super();
    this.#client = client;
    client.on("topic.summary", (summary) => this.#take(summary));
    client.on("topic.closed", ({ topic }) => this.#known.delete(topic) && this.changed());
    client.connection.subscribe(() => {
      const { isLive } = client.connection;
      if (isLive && !this.#isLive) this.#ask();
      this.#isLive = isLive;
    });
    this.#isLive = client.connection.isLive;
  }

  /**
   * Have a topic watched, as the server spells it; up to 500 at a time.
   * @param {string} topic
   * @returns {() => void} ends it
   */
  watch(topic) {
    this.#count(topic, 1);
    let isOver = false;
    return () => {
      if (!isOver) this.#count(topic, -1);
      isOver = true;
    };
  }

  /**
   * @param {string} topic
   * @param {number} more
   */
  #count(topic, more) {
    const wanted = (this.#wanted.get(topic) ?? 0) + more;
    if (wanted) this.#wanted.set(topic, wanted);
    else this.#wanted.delete(topic);
    this.#later ??= setTimeout(() => this.#ask(), PAUSE_MS);
  }

  async #ask() {
    clearTimeout(this.#later);
    this.#later = undefined;
    if (!this.#client.connection.isLive) return; // with the next connection
    try {
      const { items } = await this.#client.ask("topic.watch", { topics: [...this.#wanted.keys()].slice(0, MOST) });
      const known = new Set(items.map(({ topic }) => topic));
      for (const topic of this.#known.keys()) if (!known.has(topic)) this.#known.delete(topic);
      items.forEach((summary) => this.#take(summary));
      this.changed();
    } catch {
      this.#later ??= setTimeout(() => this.#ask(), 10 * PAUSE_MS);
    }
  }

  /** @param {Summary} summary */
  #take(summary) {
    this.#known.set(summary.topic, summary);
    this.changed();
  }

  /** @internal */
  look() {
    const known = new Map(this.#known);
    return { of: (/** @type {string} */ topic) => known.get(topic) };
  }
}

/** @type {WeakMap<Client, Summaries>} */
const all = new WeakMap();

/**
 * What is new in topics that are not open: one for all who want to know.
 * @param {Client} client
 */
export function summariesOf(client) {
  let summaries = all.get(client);
  if (!summaries) all.set(client, (summaries = new Summaries(client)));
  return summaries;
}
