// What one person is told: their notifications, and the badge.

import { Log } from "./log.js";

/** @import { Notification } from "../types/wire.js" */

/**
 * @typedef {object} InboxState
 * @property {"loading" | "live" | "behind"} state
 * @property {readonly Notification[]} notifications the newest first
 * @property {boolean} hasOlder whether `older()` has more
 * @property {number} unread the badge
 */

const PAGE = 50;

/** @extends {Log<InboxState>} */
export class Inbox extends Log {
  /** @type {Map<string, Notification>} */ #notifications = new Map();
  /** @type {string | null} */ #olderCursor = null;
  #unread = 0;
  /** The badge holds the events up to here; a node of a former version does not say. @type {number | undefined} */ #countedTo;

  /** Somebody is signed in; the same person as before, or another. @internal @param {string} name their inbox */
  hello(name) {
    if (this.name !== name) {
      this.#notifications.clear();
      this.#olderCursor = null;
      this.#unread = 0;
      this.forget(name);
    }
    this.start();
  }

  /** @internal */
  async begin() {
    const [page, { unread, seq }] = await Promise.all([
      this.client.ask("notification.list", { limit: PAGE }),
      this.client.ask("notification.count", {}),
    ]);
    this.#notifications = new Map(page.items.map((notification) => [notification.id, notification]));
    this.#olderCursor = page.next;
    this.#unread = unread;
    this.#countedTo = seq;
    return seq !== undefined;
  }

  /** Load older notifications. @returns {Promise<void>} when they are there */
  async older() {
    const cursor = this.#olderCursor;
    if (!cursor) return;
    const page = await this.client.ask("notification.list", { limit: PAGE, cursor });
    if (this.#olderCursor !== cursor) return;
    if (page.seq < this.seq) return this.older(); // something has happened meanwhile
    for (const notification of page.items) {
      if (!this.#notifications.has(notification.id)) this.#notifications.set(notification.id, notification);
    }
    this.#olderCursor = page.next;
    this.changed();
  }

  /** @internal @param {any} event */
  event(event) {
    const { type, data, at, seq } = event;
    if (!type.startsWith("notification.")) return this.client.topicEvent(event);
    const { notification, ids = [], unread } = data; // of one that is added the first, else the others
    const isNew = !this.#notifications.has(notification?.id);
    if (notification && isNew) {
      this.#notifications = new Map([[notification.id, notification], ...this.#notifications]);
    }
    for (const id of ids) {
      const known = this.#notifications.get(id);
      if (type === "notification.removed") this.#notifications.delete(id);
      else if (known) this.#notifications.set(id, { ...known, readAt: known.readAt ?? at });
    }
    if (this.#countedTo === undefined ? isNew : seq > this.#countedTo) this.#unread = unread ?? this.#unread + (notification.readAt ? 0 : 1);
    this.changed();
  }

  /**
   * Mark notifications as read: these, or all up to now.
   * @param {readonly string[]} [ids]
   */
  read(ids) {
    return this.client.change("notification.read", ids ? { ids: /** @type {string[]} */ (ids) } : { upTo: this.seq });
  }

  /** @internal @returns {InboxState} */
  look() {
    return {
      state: /** @type {InboxState["state"]} */ (this.state),
      notifications: [...this.#notifications.values()],
      hasOlder: !!this.#olderCursor,
      unread: this.#unread,
    };
  }
}
