// One topic's log, followed: whatever happens to the connection, its reader gets every event, each once, in order.

import { Refused } from "./refused.js";

/** @import { Connection } from "./connection.js" */
/** @import { Event, TopicSubscribeAnswer } from "../types/wire.js" */

/**
 * Who reads a log.
 *
 * @typedef {object} Reader
 * @property {(answer: TopicSubscribeAnswer) => Promise<void>} begin nothing before `answer.seq` will be told: read what
 *   is to be shown
 * @property {(answer: TopicSubscribeAnswer) => void} ready after `begin`, or after what was missed: what is so by now
 *   beside the events
 * @property {(event: any) => void} event the next one
 * @property {(name: string, said: any) => void} signal
 * @property {(problem: Refused, isOver: boolean) => void} trouble it cannot be followed now, or not any more
 */

export class Log {
  seq = 0;
  isReady = false;
  #connection;
  #topic;
  #reader;
  /** @type {string | undefined} */ #epoch;
  /** What is said while catching up. @type {[name: string, said: any][] | undefined} */ #kept;
  #isFollowed = false;
  #run = 0; // a newer start ends the older one

  /**
   * @param {Connection} connection
   * @param {string} topic as the server spells it
   * @param {Reader} reader
   */
  constructor(connection, topic, reader) {
    this.#connection = connection;
    this.#topic = topic;
    this.#reader = reader;
  }

  /** Follow it, or go on after a loss. */
  async start() {
    this.#isFollowed = true;
    const run = ++this.#run;
    const isOver = () => run !== this.#run;
    this.isReady = false;
    this.#kept = [];
    const topic = this.#topic;
    try {
      const from = this.#epoch === undefined ? {} : { after: this.seq, epoch: this.#epoch };
      const answer = await this.#connection.ask("topic.subscribe", { topic, ...from });
      if (isOver()) return;
      if (!answer.recovered) {
        await this.#reader.begin(answer);
        if (isOver()) return;
        this.seq = answer.seq;
        this.#epoch = answer.epoch;
      } else {
        answer.events.forEach((event) => this.#apply(event));
        while (answer.more && this.seq < answer.seq) {
          const { events } = await this.#connection.ask("topic.events", { topic, after: this.seq });
          if (isOver()) return;
          events.forEach((event) => this.#apply(event));
        }
      }
      const kept = this.#kept;
      this.#kept = undefined;
      this.isReady = true;
      this.#reader.ready(answer);
      for (const [name, said] of kept) this.said(name, said);
    } catch (error) {
      if (isOver()) return;
      if (!(error instanceof Refused)) throw error;
      if (!error.isPassing) this.stop();
      this.#reader.trouble(error, !error.isPassing);
      // Without a connection it is started anew by the next hello.
      if (error.isPassing && this.#connection.isLive) setTimeout(() => isOver() || this.start(), (error.retryAfter ?? 1) * 1000);
    }
  }

  /** Follow it no more. What is known of it is kept: `start` goes on from there. */
  stop() {
    this.#isFollowed = false;
    this.#run += 1;
    this.isReady = false;
    this.#kept = undefined;
  }

  /** Throw away where one is: the next start is the first. */
  forget() {
    this.#epoch = undefined;
  }

  /**
   * Something that was said of this topic.
   * @param {string} name
   * @param {any} said
   */
  said(name, said) {
    if (!this.#isFollowed) return;
    if (this.#kept) this.#kept.push([name, said]);
    else if (said.type && Number.isInteger(said.seq)) this.#apply(said);
    else this.#reader.signal(name, said);
  }

  /** @param {Event} event */
  #apply(event) {
    if (event.seq <= this.seq) return;
    if (event.seq > this.seq + 1) {
      this.start(); // a gap: never seen, but closed like this
      return;
    }
    this.seq = event.seq;
    this.#reader.event(event);
  }
}
