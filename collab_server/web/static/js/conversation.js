// The comments of one topic, kept true: a snapshot once, then the topic's log of events, each exactly once, in order.
//
// Whatever happens to the connection, `follow()` brings it up to date: with `after` and `epoch` it gets what it missed;
// where the log cannot be compared any more (another epoch) it starts afresh. A gap in `seq` is treated the same way.

const PAGE = 200;

export class Conversation extends EventTarget {
  comments = new Map(); // id → Comment of the wire
  rights = [];
  isLoading = true;
  problem = null; // an Error that keeps it from being followed
  closed = null; // why the server stopped sending it
  missed = 0; // how many events the last catching up brought

  #connection;
  #seq = null; // everything up to here is applied
  #epoch = null;
  #held = []; // live events that arrived before it was up to date, or null when it is
  #run = 0; // a newer follow() ends the older one

  constructor(connection, topic) {
    super();
    this.#connection = connection;
    this.topic = topic;
  }

  /** Subscribe, or subscribe again after a loss. Never throws: `problem` says what is wrong. */
  async follow() {
    const run = ++this.#run;
    const isStale = () => run !== this.#run;
    this.#held = [];
    try {
      const from = this.#seq === null ? {} : { after: this.#seq, epoch: this.#epoch };
      const ack = await this.#connection.ask("topic.subscribe", { topic: this.topic, ...from });
      if (isStale()) return;
      this.rights = ack.rights;
      this.problem = this.closed = null;
      if (this.#seq === null || ack.recovered === false) {
        await this.#startAfresh(ack, isStale);
      } else {
        await this.#catchUp(ack, isStale);
      }
      if (isStale()) return;
      const held = this.#held;
      this.#held = null;
      held.forEach((event) => this.apply(event));
    } catch (problem) {
      if (isStale()) return;
      // What is held now will be caught up with. A lost connection calls us again with its next hello; the rest, such
      // as a database that is away for a moment, is tried again.
      if (problem.code !== "no_answer") this.problem = problem;
      const seconds = problem.retryAfter ?? (problem.code === "no_answer" ? 1 : null);
      if (seconds !== null) setTimeout(() => isStale() || this.follow(), seconds * 1000);
    }
    this.isLoading = false;
    this.#changed();
  }

  async #startAfresh(ack, isStale) {
    const fresh = new Map();
    let cursor;
    do {
      const page = await this.#connection.ask("topic.comments", {
        topic: this.topic,
        limit: PAGE,
        ...(cursor && { cursor }),
      });
      if (isStale()) return;
      for (const comment of page.items) fresh.set(comment.id, comment);
      cursor = page.next;
    } while (cursor);
    // Only a complete snapshot counts. It may already hold what the held events say: `put` does not mind.
    this.comments = fresh;
    this.#seq = ack.seq;
    this.#epoch = ack.epoch;
    this.missed = 0;
  }

  async #catchUp(ack, isStale) {
    const before = this.#seq;
    let page = ack;
    for (;;) {
      page.events.forEach((event) => this.#take(event));
      if (!page.more || this.#seq >= ack.seq) break;
      page = await this.#connection.ask("topic.events", { topic: this.topic, after: this.#seq });
      if (isStale()) return;
    }
    this.missed = this.#seq - before;
  }

  /** A live event, of whatever topic. */
  apply(event) {
    if (event.topic !== this.topic) return;
    if (this.#held) {
      this.#held.push(event);
    } else if (event.seq === this.#seq + 1) {
      this.#take(event);
      this.#changed();
    } else if (event.seq > this.#seq) {
      this.follow();
    }
  }

  #take({ seq, type, at, data }) {
    if (seq <= this.#seq) return;
    this.#seq = seq;
    switch (type) {
      case "comment.added":
      case "comment.edited":
        this.put(data.comment);
        break;
      case "comment.deleted": {
        const comment = this.comments.get(data.commentId);
        if (comment) this.put({ ...comment, deletedAt: at, text: "", mentions: [], viewState: null });
        break;
      }
      default: // an event this page does not show
    }
  }

  /** Keep a comment unless a newer form of it is known: an answer and its event come in either order. */
  put(comment) {
    const known = this.comments.get(comment.id);
    if (known && (known.deletedAt || known.revision > comment.revision)) return;
    this.comments.set(comment.id, comment);
    this.#changed();
  }

  /** The server ended the subscription: rights lost, or the topic deleted. */
  close(reason) {
    this.closed = reason ?? "closed";
    this.#changed();
  }

  /** Stop following; nothing is told to the server when the connection is going anyway. */
  leave() {
    this.#run += 1;
    this.#connection.ask("topic.unsubscribe", { topic: this.topic }).catch(() => {});
  }

  may(command) {
    return this.rights.includes(command);
  }

  /** `[{root, replies}]`, in the order they were written. */
  get threads() {
    const threads = new Map();
    for (const comment of this.comments.values()) {
      if (comment.id === comment.threadId) threads.set(comment.id, { root: comment, replies: [] });
    }
    for (const comment of this.comments.values()) {
      if (comment.id !== comment.threadId) threads.get(comment.threadId)?.replies.push(comment);
    }
    return [...threads.values()];
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
