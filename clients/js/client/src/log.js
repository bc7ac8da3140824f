// One topic's log, followed: whatever happens to the connection, whoever reads it gets every event, each once, in order.

import { Refused } from "./refused.js";
import { Store } from "./store.js";

/** @import { Client } from "./client.js" */
/** @import { TopicSubscribeAnswer } from "../types/wire.js" */

/**
 * A log, and what it has come to.
 * @template Snapshot
 * @extends {Store<Snapshot>}
 */
export class Log extends Store {
  /** The topic, as the server spells it. */ name;
  /** @internal */ client;
  /** @internal @type {"loading" | "live" | "behind" | "closed"} */ state = "loading";
  /** The last event that has taken effect. @internal */ seq = 0;
  /** @internal */ isReady = false;
  /** @type {string | undefined} */ #epoch;
  /** What is said while catching up. @type {(() => void)[] | undefined} */ #kept;
  #isFollowed = false;
  #run = 0; // a newer start ends the older one

  /** @internal @param {Client} client */
  constructor(client, name = "") {
    super();
    this.client = client;
    this.name = name;
  }

  /**
   * Nothing before `answer.seq` will be told: read what is to be shown. False has it begin afresh at the next start, too.
   * @internal
   * @param {TopicSubscribeAnswer} _answer
   * @returns {Promise<boolean>}
   */
  async begin(_answer) {
    return /** @type {any} */ (undefined);
  }

  /** After `begin`, or after what was missed: what is so by now beside the events. @internal @param {TopicSubscribeAnswer} _answer */
  ready(_answer) {}

  /** The next one. @internal @param {any} _event */
  event(_event) {}

  /** @internal @param {string} _name @param {any} _said */
  signal(_name, _said) {}

  /** It cannot be followed now, or not any more. @internal @param {Refused} _problem @param {boolean} _isOver */
  trouble(_problem, _isOver) {}

  /** Follow it, or go on after a loss. @internal */
  async start() {
    this.#isFollowed = true;
    const run = ++this.#run;
    const isOver = () => run !== this.#run;
    this.isReady = false;
    this.#kept = [];
    const { client, name: topic } = this;
    try {
      const from = this.#epoch && { after: this.seq, epoch: this.#epoch };
      const answer = await client.ask("topic.subscribe", { topic, ...from });
      if (isOver()) return;
      if (answer.recovered) {
        answer.events.forEach((event) => this.#apply(event));
        while (answer.more && this.seq < answer.seq) {
          const { events } = await client.ask("topic.events", { topic, after: this.seq });
          if (isOver()) return;
          events.forEach((event) => this.#apply(event));
        }
      } else {
        const isExact = await this.begin(answer);
        if (isOver()) return;
        this.seq = answer.seq;
        this.#epoch = isExact ? answer.epoch : undefined;
      }
      const kept = this.#kept;
      this.#kept = undefined;
      this.isReady = true;
      this.state = "live";
      this.ready(answer);
      this.changed();
      kept.forEach((say) => say());
    } catch (error) {
      if (isOver()) return;
      if (!(error instanceof Refused)) throw error;
      const { isPassing } = error;
      if (!isPassing) this.stop();
      this.trouble(error, !isPassing);
      // Without a connection it is started anew by the next hello.
      if (isPassing && client.connection.isLive) setTimeout(() => isOver() || this.start(), (error.retryAfter ?? 1) * 1000);
    }
  }

  /** Follow it no more. What is known of it is kept: `start` goes on from there. @internal */
  stop() {
    this.#isFollowed = false;
    this.#run++;
    this.lost();
  }

  /** The connection is lost. @internal */
  lost() {
    this.isReady = false;
    if (this.state === "live") this.state = "behind";
    this.changed();
  }

  /** Throw away where one is: the next start is the first, of this topic. @internal */
  forget(name = this.name) {
    this.name = name;
    this.#epoch = undefined;
    this.state = "loading";
    this.changed();
  }

  /**
   * Something that was said of this topic.
   * @internal
   * @param {string} name
   * @param {any} said
   */
  said(name, said) {
    if (!this.#isFollowed) return;
    if (this.#kept) this.#kept.push(() => this.said(name, said));
    else if (said.type) this.#apply(said);
    else this.signal(name, said);
  }

  /** @param {any} event */
  #apply(event) {
    if (event.seq > this.seq + 1) {
      this.start(); // a gap: never seen, but closed like this
    } else if (event.seq > this.seq) {
      this.seq = event.seq;
      this.event(event);
    }
  }
}
