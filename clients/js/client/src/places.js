// How much there is at each place of a topic: for badges on tiles and charts, however many, with one subscription.

import { Store } from "./store.js";

/** @import { Topic } from "./topic.js" */
/** @import { Client } from "./client.js" */

/**
 * @typedef {object} Counts
 * @property {number} open threads that are not resolved
 * @property {number} unread comments of others that this person has not read
 * @property {number} total all comments
 */

/**
 * @typedef {object} PlacesState
 * @property {boolean} isLoaded
 * @property {(anchor: {pageKey?: string | null, visualizationKey?: string | null}) => Counts} at what there is at a
 *   place; the same object while nothing changed there
 */

const PAUSE_MS = 1000; // between two questions, however much happens

/** @type {Counts} */
const NOTHING = Object.freeze({ open: 0, unread: 0, total: 0 });

/** @extends {Store<PlacesState>} */
export class Places extends Store {
  #client;
  #topic;
  /** @type {Map<string, Counts>} */ #counts = new Map();
  #isLoaded = false;
  #askedFor = "";
  /** @type {(() => void) | undefined} */ #leave;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #pause;

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
    if (count && !this.#leave) this.#leave = this.#topic.subscribe(() => this.#follow());
    else if (!count) {
      this.#leave?.();
      this.#leave = undefined;
    }
    if (count) this.#follow();
  }

  #follow() {
    const { state, seq, readSeq } = this.#topic.snapshot();
    if (state === "live" && !this.#pause && this.#askedFor !== `${seq} ${readSeq}`) this.#ask(`${seq} ${readSeq}`);
  }

  /** @param {string} what */
  async #ask(what) {
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      if (this.#leave) this.#follow();
    }, PAUSE_MS);
    const counts = new Map();
    try {
      /** @type {string | null} */ let cursor = null;
      do {
        /** @type {import("../types/wire.js").Anchors} */
        const page = await this.#client.ask("topic.anchors", { topic: this.#topic.name, cursor });
        for (const { pageKey, visualizationKey, open, unread, total } of page.items) {
          const key = keyOf({ pageKey, visualizationKey });
          const known = this.#counts.get(key);
          const isSame = known?.open === open && known.unread === unread && known.total === total;
          counts.set(key, isSame ? known : Object.freeze({ open, unread, total }));
        }
        cursor = page.next;
      } while (cursor);
    } catch {
      return; // asked again with the next change, or the next connection
    }
    this.#askedFor = what;
    this.#counts = counts;
    this.#isLoaded = true;
    this.changed();
  }

  /** @internal */
  look() {
    const counts = this.#counts;
    return {
      isLoaded: this.#isLoaded,
      at: (/** @type {any} */ anchor) => counts.get(keyOf(anchor)) ?? NOTHING,
    };
  }
}

/** @param {{pageKey?: string | null, visualizationKey?: string | null}} anchor */
const keyOf = ({ pageKey, visualizationKey }) => JSON.stringify([pageKey ?? null, visualizationKey ?? null]);

/** @type {WeakMap<Topic, Places>} */
const all = new WeakMap();

/**
 * What there is at each place of a topic: one for all badges.
 * @param {Client} client
 * @param {Topic} topic
 */
export function placesOf(client, topic) {
  let places = all.get(topic);
  if (!places) all.set(topic, (places = new Places(client, topic)));
  return places;
}
