// What one person is told: their notifications, and the badge.

import { Log } from "./log.js";
import { Store } from "./store.js";

/** @import { Client } from "./client.js" */
/** @import { Notification } from "../types/wire.js" */

/**
 * @typedef {object} InboxState
 * @property {"loading" | "live" | "behind"} state
 * @property {readonly Notification[]} notifications the newest first
 * @property {boolean} hasOlder whether `older()` has more
 * @property {number} unread the badge
 */

const PAGE = 50;
const COUNT_MS = 300;

/** @extends {Store<InboxState>} */
export class Inbox extends Store {
  #client;
  /** @type {Log | undefined} */ #log;
  /** @type {Map<string, Notification>} */ #notifications = new Map();
  /** @type {string | null} */ #olderCursor = null;
  #unread = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #counting;
  /** @type {InboxState["state"]} */ #state = "loading";

  /** @internal @param {Client} client */
  constructor(client) {
    super();
    this.#client = client;
  }

  /** Somebody is signed in; the same person as before, or another. @internal @param {string} topic theirs */
  hello(topic, isAnother = false) {
    if (!this.#log || isAnother) {
      this.#log?.stop();
      this.#state = "loading";
      this.#notifications.clear();
      this.#log = new Log(this.#client.connection, topic, {
        begin: () => this.#begin(),
        ready: () => {
          this.#state = "live";
          this.changed();
        },
        event: (event) => this.#event(event),
        signal: () => {},
        trouble: () => {},
      });
    }
    this.#log.start();
  }

  /** @internal */
  lost() {
    if (this.#state === "live") this.#state = "behind";
    this.changed();
  }

  /** @internal @param {string} name @param {any} said */
  said(name, said) {
    this.#log?.said(name, said);
  }

  async #begin() {
    const [page, { unread }] = await Promise.all([
      this.#client.connection.ask("notification.list", { limit: PAGE }),
      this.#client.connection.ask("notification.count", {}),
    ]);
    this.#notifications = new Map(page.items.map((notification) => [notification.id, notification]));
    this.#olderCursor = page.next;
    this.#unread = unread;
  }

  /** What was counted at the start may hold what is told after it: ask again. */
  #count() {
    clearTimeout(this.#counting);
    this.#counting = setTimeout(async () => {
      const seq = this.#log?.seq;
      const { unread } = await this.#client.ask("notification.count", {}).catch(() => ({ unread: undefined }));
      if (seq !== this.#log?.seq) this.#count();
      else this.#unread = unread ?? this.#unread;
      this.changed();
    }, COUNT_MS);
  }

  /** Load older notifications. Returns when they are there. */
  async older() {
    const cursor = this.#olderCursor;
    if (cursor === null) return;
    const page = await this.#client.connection.ask("notification.list", { limit: PAGE, cursor });
    if (this.#olderCursor !== cursor) return;
    for (const notification of page.items) {
      if (!this.#notifications.has(notification.id)) this.#notifications.set(notification.id, notification);
    }
    this.#olderCursor = page.next;
    this.changed();
  }

  /** @param {any} event */
  #event(event) {
    const { type, data, at } = event;
    if (type === "notification.added") {
      const { notification } = data;
      if (!this.#notifications.has(notification.id)) {
        this.#notifications = new Map([[notification.id, notification], ...this.#notifications]);
        if (!notification.readAt) this.#unread += 1;
        this.#count();
      }
    } else if (type === "notification.read") {
      for (const id of data.ids) {
        const notification = this.#notifications.get(id);
        if (notification && !notification.readAt) this.#notifications.set(id, { ...notification, readAt: at });
      }
      this.#unread = data.unread;
    } else if (type === "notification.removed") {
      for (const id of data.ids) this.#notifications.delete(id);
      this.#unread = data.unread;
    } else {
      this.#client.topicEvent(event);
    }
    this.changed();
  }

  /**
   * Mark notifications as read: these, or all up to now.
   * @param {readonly string[]} [ids]
   */
  read(ids) {
    return this.#client.change("notification.read", ids ? { ids: [...ids] } : { upTo: this.#log?.seq ?? 0 });
  }

  /** @internal @returns {InboxState} */
  look() {
    return {
      state: this.#state,
      notifications: [...this.#notifications.values()],
      hasOlder: this.#olderCursor !== null,
      unread: this.#unread,
    };
  }
}
