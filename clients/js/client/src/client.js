// Everything together: one connection, however many topics.

import { Connection } from "./connection.js";
import { randomId } from "./ids.js";
import { Inbox } from "./inbox.js";
import { indexedDb } from "./keeping.js";
import { Outbox } from "./outbox.js";
import { Topic } from "./topic.js";

/** @import { Answer, Credentials, Payload } from "./connection.js" */
/** @import { Keeping } from "./keeping.js" */
/** @import { CommandsByName, User } from "../types/wire.js" */

/**
 * @typedef {object} Options
 * @property {string | URL} [url] where the server is, such as `https://reports.example.com`; with a path where a proxy
 *   offers it under one; left out: where the page is from
 * @property {Credentials | (() => Promise<Credentials | null> | Credentials | null)} auth a token of Library, or better
 *   what gets one: it is asked again whenever a new one is needed; null when nobody is signed in
 * @property {Keeping | Promise<Keeping> | null} [keeping] where what is not sent yet waits; left out: in IndexedDB where
 *   there is one. Null: in memory
 * @property {object} [socket] options of socket.io-client
 */

/**
 * Connect. The client comes back by itself, and is there until it is closed.
 * @param {Options} options
 * @throws {TypeError} where there is no `auth` or it is a text, or there is no page and no `url`
 */
export function createClient(options) {
  return new Client(options);
}

export class Client {
  /** Whether one is connected, and as whom. */ connection;
  /** What is not sent yet, and what was refused. */ outbox;
  /** This person's notifications. */ inbox;
  /** @type {Map<string, Topic>} */ #topics = new Map();
  /** @type {Map<string, Set<(said: any) => void>>} */ #listeners = new Map();

  /** @internal @param {Options} options */
  constructor(options) {
    const { url, auth, keeping, socket } = Object(options); // whatever it is, the connection says what is expected
    this.connection = new Connection(
      url,
      auth,
      socket,
      (user) => this.#hello(user),
      (name, said) => this.#said(name, said),
    );
    // Node has no database, and some browsers keep nothing for some pages.
    const kept = keeping === undefined ? indexedDb(randomId()) : Promise.resolve(keeping);
    this.outbox = new Outbox(this.connection, kept.catch(() => null), (entry, answer) =>
      this.#topics.get(entry.topic)?.answered(entry, answer),
    );
    this.inbox = new Inbox(this);
    this.connection.subscribe(() => {
      if (!this.connection.isLive) [this.inbox, ...this.#topics.values()].forEach((log) => log.lost());
    });
  }

  /** Who is signed in; null before the first connection. @type {User | null} */ me = null;

  /**
   * A topic: `content:{projectId}:{objectId}` or `discussion:{id}`. It is followed while somebody subscribes to it.
   * @param {string} name in either case
   * @returns {Topic} the same one for the same name
   */
  topic(name) {
    // As the server spells it.
    const spelled = name.replace(/:.*/, (ids) => (name[0] === "d" ? ids.toLowerCase() : ids.toUpperCase()));
    const topic = this.#topics.get(spelled) ?? new Topic(this, spelled);
    this.#topics.set(spelled, topic);
    return topic;
  }

  /**
   * Send a command that only reads, once, and return what it answers.
   * @template {keyof CommandsByName} Name
   * @param {Name} name
   * @param {Payload<Name>} payload
   * @returns {Promise<Answer<Name>>}
   * @throws {import("./refused.js").Refused}
   */
  ask(name, payload) {
    return this.connection.ask(name, payload);
  }

  /**
   * Have a command that changes something take effect, once, however often it has to be sent.
   * @template {keyof CommandsByName} Name
   * @param {Name} name
   * @param {Payload<Name>} payload without a `requestId`
   * @param {string} [topic] what it is about: commands on one topic are sent one after the other
   * @returns {Promise<Answer<Name>>} what it answers
   * @throws {import("./refused.js").Refused}
   */
  change(name, payload, topic = "") {
    return this.outbox.add(name, payload, topic);
  }

  /**
   * Hear an event or a signal of the server, of whatever topic, by its name.
   * @param {string} name
   * @param {(said: any) => void} listener
   * @returns {() => void} ends it
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** End the sign-in, in all windows that share it. */
  signOut() {
    return this.connection.signOut();
  }

  /** Disconnect for good. What waits in the outbox is kept for the next client, where there is something to keep it in. */
  close() {
    this.outbox.close();
    this.connection.close();
  }

  /** @param {User} user */
  #hello(user) {
    if (this.me?.id !== user.id) this.#topics.forEach((topic) => topic.forget());
    this.me = user;
    this.outbox.hello(user.id);
    this.inbox.hello(`inbox:${user.id}`);
    this.#topics.forEach((topic) => topic.hello());
  }

  /**
   * @param {string} name
   * @param {any} said
   */
  #said(name, said) {
    const topic = said?.topic;
    (topic === this.inbox.name ? this.inbox : this.#topics.get(topic))?.said(name, said);
    // As those of a store: what one throws is not to keep the connection from what was said.
    this.#listeners.get(name)?.forEach((listener) => new Promise(() => listener(said)));
  }

  /** What the inbox tells of a topic. @internal @param {any} event */
  topicEvent(event) {
    this.#topics.get(event.data.topic)?.inboxEvent(event);
  }
}
