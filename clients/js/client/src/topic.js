// What one topic shows: its threads as the server has them, with what is on its way there.

import { fold, foresee, isNewer } from "./fold.js";
import { uuid7 } from "./ids.js";
import { Log } from "./log.js";
import { mentionsOf } from "./mentions.js";
import { Refused } from "./refused.js";
import { Store } from "./store.js";

/** @import { Client } from "./client.js" */
/** @import { Comment } from "./fold.js" */
/** @import { Entry } from "./outbox.js" */
/** @import { AnchorPayload, Comment as Stored, Discussion, User } from "../types/wire.js" */

/**
 * @typedef {object} Thread
 * @property {string} id that of its root
 * @property {Comment | undefined} root undefined while only replies to it are loaded
 * @property {readonly Comment[]} comments what is loaded, the root among it, by `seq`; what is not stored yet is last
 * @property {boolean} isWhole whether all of it is loaded
 * @property {number} unread how many of those that are loaded this person has not read
 */

/**
 * @typedef {object} TopicState
 * @property {string} topic its name
 * @property {"loading" | "live" | "behind" | "closed"} state `behind`: what is shown may be old, because the
 *   connection is lost or being caught up; `closed`: `problem` says why, `open()` tries again
 * @property {Refused | null} problem why it cannot be followed now, or not any more
 * @property {readonly Thread[]} threads by the `seq` of their roots
 * @property {boolean} hasOlder whether `older()` has more
 * @property {number} seq everything up to here is shown
 * @property {number} readSeq what is up to here is read
 * @property {number} unread how many comments of others this person has not read
 * @property {boolean} muted whether this person has muted it
 * @property {readonly string[]} rights the commands that this person may use here
 * @property {boolean} commenting false where an administrator has switched comments off
 * @property {readonly User[]} present who has it open
 * @property {readonly User[]} typing who is writing
 * @property {Discussion | null} discussion of a discussion: its name, members, owner
 */

/**
 * @typedef {object} NewComment
 * @property {string} text
 * @property {"plain" | "markdown"} [format] how the text is to be read; without one it is plain
 * @property {string} [replyTo] the id of a comment
 * @property {AnchorPayload} [anchor]
 * @property {{[key: string]: unknown}} [viewState]
 */

const PAGE = 50;
const LINGER_MS = 5000; // so long it is followed when nobody looks any more
const LATE_MS = 2500; // so late an event may come after an answer that holds it
const COUNT_MS = 300;
const TYPING_MS = 7000; // the server ends it after 6 s
const SAY_TYPING_MS = 3000;
const AT_THE_END = Number.MAX_SAFE_INTEGER;

/** @extends {Store<TopicState>} */
export class Topic extends Store {
  #client;
  #ask;
  #log;
  /** @type {Map<string, Stored>} */ #comments = new Map();
  /** Their threads: the ids of those that are loaded. @type {Map<string, Set<string>>} */ #members = new Map();
  /** Made when they are looked at. @type {Map<string, Thread>} */ #threads = new Map();
  /** @type {Set<string>} */ #whole = new Set();
  /** Comments of this `seq` and later are all loaded. */ #from = AT_THE_END;
  /** @type {string | null} */ #olderCursor = null;
  /** @type {Entry[]} */ #waiting = [];
  /** Answered, but their events are not here yet. @type {{entry: Entry, seq: number}[]} */ #answered = [];
  #loads = 0;
  /** When a root was read: its count may hold replies that are told yet. @type {Map<string, number>} */ #readAt = new Map();
  /** @type {"loading" | "live" | "behind" | "closed"} */ #state = "loading";
  /** @type {Refused | null} */ #problem = null;
  /** @type {string[]} */ #rights = [];
  #commenting = true;
  #readSeq = 0;
  #reading = 0; // what is to be read, until the server knows
  #unread = 0; // as the server counts, for when not everything that is unread is loaded
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #counting;
  #muted = false;
  /** @type {User[]} */ #present = [];
  /** @type {Map<string, {user: User, end: ReturnType<typeof setTimeout>}>} */ #typing = new Map();
  #saidTyping = -Infinity;
  /** @type {Discussion | null} */ #discussion = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #leaving;
  #isOpen = false;
  #isPinned = false;

  /**
   * @internal
   * @param {Client} client
   * @param {string} name
   */
  constructor(client, name) {
    super();
    this.#client = client;
    this.name = name;
    this.#ask = client.ask.bind(client);
    this.#log = new Log(client.connection, name, {
      begin: (answer) => this.#begin(answer),
      ready: (answer) => {
        this.#state = "live";
        this.#problem = null;
        this.#rights = answer.rights;
        this.#commenting = answer.commenting;
        this.#present = answer.present;
        this.#readSeq = answer.readSeq;
        this.#unread = answer.unread;
        this.#clearTyping();
        this.#threads.clear();
        this.#sendRead();
        this.#readAgain();
        this.#count();
        this.changed();
      },
      event: (event) => this.#event(event),
      signal: (name, said) => this.#signal(name, said),
      trouble: (problem, isOver) => {
        this.#problem = problem;
        if (isOver) this.#close();
        this.changed();
      },
    });
  }

  // --- following

  /**
   * Follow it, though nobody subscribes; also after it was closed.
   * @returns {Promise<void>} when it is live; rejects with a `Refused` where it may not be followed
   */
  open() {
    this.#isPinned = true;
    this.#follow();
    const isLive = new Promise((resolve, reject) => {
      const look = () => {
        if (this.#state === "live") resolve(undefined);
        else if (this.#state === "closed") reject(this.#problem);
        else return;
        end();
      };
      const end = this.subscribe(look);
      look();
    });
    isLive.catch(() => {}); // not every caller waits for it
    return isLive;
  }

  #follow() {
    clearTimeout(this.#leaving);
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#state = this.#state === "closed" ? "loading" : this.#state;
    this.#problem = null;
    if (this.#client.connection.isLive) this.#log.start();
    this.changed();
  }

  /** Follow it no more. */
  leave() {
    this.#isPinned = false;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#log.stop();
    if (this.#state === "live") this.#state = "behind";
    if (this.#client.connection.isLive) {
      this.#ask("topic.unsubscribe", { topic: this.name }).catch(() => {});
    }
    this.changed();
  }

  /** @internal @param {number} count */
  watched(count) {
    clearTimeout(this.#leaving);
    if (count) this.#follow();
    else if (!this.#isPinned) this.#leaving = setTimeout(() => this.leave(), LINGER_MS);
  }

  /** The connection is there. @internal */
  hello() {
    if (this.#isOpen) this.#log.start();
  }

  /** The connection is lost. @internal */
  lost() {
    if (this.#state === "live") this.#state = "behind";
    this.#log.isReady = false;
    this.changed();
  }

  /** Throw everything away: somebody else is signed in. @internal */
  forget() {
    this.#log.forget();
    this.#empty();
    this.#waiting = [];
    this.#answered = [];
    this.#state = "loading";
    this.changed();
  }

  /**
   * @internal
   * @param {string} name
   * @param {any} said
   */
  said(name, said) {
    this.#log.said(name, said);
  }

  #close() {
    this.#isOpen = false;
    this.#log.stop();
    this.#log.forget();
    this.#empty();
    this.#state = "closed";
    this.#rights = [];
  }

  #empty() {
    this.#comments.clear();
    this.#members.clear();
    this.#threads.clear();
    this.#whole.clear();
    this.#readAt.clear();
    this.#uncertain.clear();
    this.#from = AT_THE_END;
    this.#olderCursor = null;
    this.#readSeq = this.#reading = this.#unread = 0;
    this.#present = [];
    this.#clearTyping();
  }

  /** @param {import("../types/wire.js").TopicSubscribeAnswer} answer */
  async #begin(answer) {
    const [{ muted }, page] = await Promise.all([
      this.#ask("topic.get", { topic: this.name }),
      this.#ask("topic.comments", { topic: this.name, order: "newest", limit: PAGE }),
      this.#readDiscussion(),
    ]);
    this.#empty();
    this.#muted = muted;
    this.#readSeq = answer.readSeq;
    this.#takePage(page);
    void this.#load(async () => {}).catch(() => {});
  }

  /** Of a discussion: its name, members and owner as they are now. */
  async #readDiscussion() {
    const [kind, discussionId] = this.name.split(":");
    if (kind !== "discussion") return;
    this.#discussion = await this.#ask("discussion.get", { discussionId });
    this.changed();
  }

  // --- what is said

  /** @param {any} event */
  #event(event) {
    const { type, data, seq } = event;
    if (type === "comment.added") {
      const { comment } = data;
      const isNew = !this.#comments.has(comment.id);
      if (isNew && comment.threadId !== comment.id) this.#replied(comment.threadId);
      this.#put({ seq, ...comment });
      this.#endTyping(event.actor.id);
    } else if (type.startsWith("comment.") || type.startsWith("reaction.") || type.startsWith("thread.")) {
      const id = data.commentId ?? data.comment.id;
      const known = this.#comments.get(id);
      if (!known || this.#loads) this.#uncertain.add(id); // what is being read may hold it, or not
      if (known) this.#put(fold(known, event));
    } else if (type === "topic.switched") {
      this.#commenting = data.commenting;
    } else if (type !== "discussion.deleted") {
      this.#readDiscussion().catch(() => {}); // it is closed then, or comes with the next connection
    }
    this.#readAgain();
    this.#count();
    this.#answered = this.#answered.filter((each) => each.seq > seq || void this.#stale(each.entry));
    this.changed();
  }

  /**
   * @param {string} name
   * @param {any} said
   */
  #signal(name, said) {
    if (name === "topic.closed") {
      this.#close();
      this.#problem = new Refused({ code: "not_found", message: `Closed: ${said.reason}.` });
    } else if (name === "presence") {
      const left = new Set(said.left.map((/** @type {User} */ { id }) => id));
      const joined = said.joined.filter((/** @type {User} */ { id }) => !this.#present.some((user) => user.id === id));
      this.#present = [...this.#present.filter(({ id }) => !left.has(id)), ...joined];
    } else if (name === "topic.rights") {
      this.#rights = said.rights;
    } else if (name === "typing") {
      this.#endTyping(said.user.id);
      if (said.typing) {
        const end = setTimeout(() => this.#endTyping(said.user.id), TYPING_MS);
        this.#typing.set(said.user.id, { user: said.user, end });
      }
    } else {
      return;
    }
    this.changed();
  }

  /** @param {string} id */
  #endTyping(id) {
    const typing = this.#typing.get(id);
    if (!typing) return;
    clearTimeout(typing.end);
    this.#typing.delete(id);
    this.changed();
  }

  #clearTyping() {
    for (const { end } of this.#typing.values()) clearTimeout(end);
    this.#typing.clear();
  }

  /**
   * What the inbox says of this topic, on whatever device it was done.
   * @internal
   * @param {any} event
   */
  inboxEvent({ type, data }) {
    if (type === "topic.was_muted") {
      this.#muted = data.muted;
    } else if (type !== "thread.was_marked") {
      this.#readSeq = data.seq;
      if (this.#reading <= data.seq) this.#reading = 0;
      this.#unread = data.unread;
      this.#threads.clear();
    }
    this.changed();
  }

  // --- comments

  /**
   * Keep a comment, unless what is known of it is newer.
   * @param {Stored} comment
   */
  #put(comment) {
    const known = this.#comments.get(comment.id);
    if (known === comment) return;
    this.#comments.set(comment.id, { ...known, ...comment });
    const members = this.#members.get(comment.threadId);
    if (members) members.add(comment.id);
    else this.#members.set(comment.threadId, new Set([comment.id]));
    this.#threads.delete(comment.threadId);
  }

  /**
   * A root has one reply more.
   * @param {string} threadId
   */
  #replied(threadId) {
    const root = this.#comments.get(threadId);
    if (!root) return;
    if (Date.now() - (this.#readAt.get(threadId) ?? 0) > LATE_MS) {
      this.#put({ ...root, replyCount: root.replyCount + 1 });
    } else {
      this.#uncertain.add(threadId);
      this.#readAgain();
    }
  }

  /** What was read may hold what was told of these, or not. @type {Set<string>} */ #uncertain = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #again;

  /** Read them again, once nothing can be told any more that is counted in them. */
  #readAgain() {
    if (this.#again || !this.#uncertain.size) return;
    this.#again = setTimeout(() => {
      this.#again = undefined;
      if (!this.#log.isReady || this.#loads) return; // when it is
      const ids = [...this.#uncertain].filter((id) => this.#comments.has(id));
      this.#uncertain.clear();
      this.#fetch(ids);
    }, LATE_MS);
  }

  /** @param {{items: Stored[], next: string | null}} page the newest first */
  #takePage({ items, next }) {
    for (const comment of items) {
      this.#putRead(comment);
      this.#from = Math.min(this.#from, comment.seq);
    }
    this.#olderCursor = next;
    if (next === null) this.#from = 0;
  }

  /**
   * Keep what was read just now.
   * @param {Stored} comment
   */
  #putRead(comment) {
    const known = this.#comments.get(comment.id);
    if (known && !isNewer(comment, known)) return;
    this.#readAt.set(comment.id, Date.now());
    this.#put(comment);
  }

  /** Load comments older than those that are there. Returns when they are. */
  older() {
    return this.#load(async () => {
      const cursor = this.#olderCursor;
      if (cursor === null) return;
      const page = await this.#ask("topic.comments", {
        topic: this.name,
        order: "newest",
        limit: PAGE * 2,
        cursor,
      });
      if (this.#olderCursor === cursor) this.#takePage(page);
    });
  }

  /**
   * Load all of a thread.
   * @param {string} threadId
   */
  async thread(threadId) {
    if (this.#whole.has(threadId)) return;
    await this.#load(async () => {
      /** @type {string | null} */ let cursor = null;
      do {
        /** @type {import("../types/wire.js").Comments} */ const page = await this.#ask("topic.comments", {
          topic: this.name,
          thread: threadId,
          limit: 200,
          cursor,
        });
        page.items.forEach((comment) => this.#putRead(comment));
        cursor = page.next;
      } while (cursor);
      this.#whole.add(threadId);
      this.#threads.delete(threadId);
    });
  }

  /**
   * Load a comment, with its thread, wherever it is.
   * @param {string} commentId
   * @returns {Promise<string>} the id of its thread
   */
  async find(commentId) {
    const comment = this.#comments.get(commentId) ?? (await this.#ask("comment.get", { commentId }));
    if (comment.topic !== this.name) throw new Refused({ code: "not_found", message: "This comment is elsewhere." });
    await this.thread(comment.threadId);
    return comment.threadId;
  }

  /** @param {() => Promise<void>} load */
  async #load(load) {
    this.#loads += 1;
    try {
      await load();
      await this.#fetch([...this.#members.keys()].filter((id) => !this.#comments.has(id)));
    } finally {
      this.#loads -= 1;
      this.#readAgain();
      this.changed();
    }
  }

  /** @param {string[]} ids */
  async #fetch(ids) {
    while (ids.length) {
      const some = ids.splice(0, 8);
      const answers = await Promise.allSettled(some.map((commentId) => this.#ask("comment.get", { commentId })));
      answers.forEach((answer, index) => {
        if (answer.status === "fulfilled") this.#putRead(answer.value);
        else if (answer.reason.isPassing) this.#uncertain.add(some[index]);
      });
    }
    this.changed();
  }

  // --- what is unread

  /** @param {Stored} comment */
  #isOthers(comment) {
    return comment.author.id !== this.#client.me?.id;
  }

  /** @param {Stored} comment */
  #isUnread(comment) {
    return !comment.deletedAt && comment.seq > this.#readUpTo() && this.#isOthers(comment);
  }

  #readUpTo() {
    return Math.max(this.#readSeq, this.#reading);
  }

  #coversUnread() {
    return this.#from <= this.#readUpTo() + 1;
  }

  /** Ask the server how many are unread where not all that may be are loaded. */
  #count() {
    if (this.#counting || this.#coversUnread() || !this.#log.isReady) return;
    this.#counting = setTimeout(async () => {
      const { unread, seq } = await this.#ask("topic.get", { topic: this.name }).catch(() => ({ unread: 0, seq: 0 }));
      this.#counting = undefined;
      if (!seq) return;
      this.#unread = unread;
      this.changed();
      if (seq !== this.#log.seq) this.#count();
    }, COUNT_MS);
  }

  /**
   * What is up to this `seq` is read.
   * @param {number} [seq] left out: everything that is shown
   */
  read(seq = this.#log.seq) {
    if (seq <= this.#readUpTo()) return;
    this.#reading = seq;
    this.#threads.clear();
    this.changed();
    this.#sendRead();
  }

  /**
   * What is said from this `seq` on is unread again.
   * @param {number} fromSeq
   */
  markUnread(fromSeq) {
    this.#reading = 0;
    return this.#change("topic.unread", { topic: this.name, fromSeq });
  }

  async #sendRead() {
    const seq = this.#reading;
    if (!seq || !this.#client.connection.isLive) return;
    try {
      const { unread } = await this.#ask("topic.read", { topic: this.name, seq });
      this.#readSeq = Math.max(this.#readSeq, seq);
      if (this.#reading === seq) this.#reading = 0;
      if (this.#reading === 0) this.#unread = unread;
    } catch {
      return; // it is sent again with the next hello
    }
    this.changed();
  }

  // --- what is written

  /**
   * What waits for this topic.
   * @internal
   * @param {readonly Entry[]} entries
   */
  setWaiting(entries) {
    const before = this.#waiting;
    this.#waiting = [...entries];
    const stale = [...before, ...entries].filter((entry) => !before.includes(entry) || !entries.includes(entry));
    if (!stale.length) return;
    stale.forEach((entry) => this.#stale(entry));
    this.changed();
  }

  /**
   * A command was answered; its event comes before or after.
   * @internal
   * @param {Entry} entry
   * @param {any} answer
   */
  answered(entry, { comment, seq }) {
    if (comment) {
      const known = this.#comments.get(comment.id);
      if (!known) {
        if (comment.threadId !== comment.id) this.#replied(comment.threadId);
        this.#put({ seq, ...comment });
      } else if (known.revision < comment.revision) {
        this.#put(comment);
      }
    } else if (seq > this.#log.seq) {
      this.#answered.push({ entry, seq });
    }
    this.changed();
  }

  /** The thread that an entry is shown in has to be made anew. @param {Entry} entry */
  #stale({ payload }) {
    const id = payload.commentId;
    const threadId = this.#comments.get(id)?.threadId ?? this.#threadOf(payload.replyTo) ?? id;
    this.#threads.delete(threadId);
  }

  /**
   * The thread of a comment, also of one that waits.
   * @param {string | undefined} id
   * @returns {string | undefined}
   */
  #threadOf(id) {
    if (!id) return undefined;
    const entry = this.#waiting.find(({ name, payload }) => name === "comment.add" && payload.commentId === id);
    return this.#comments.get(id)?.threadId ?? this.#threadOf(entry?.payload.replyTo) ?? id;
  }

  /**
   * Comment. It is shown at once, and sent when it can be.
   * @param {NewComment} comment
   */
  add(comment) {
    return this.#change("comment.add", { topic: this.name, commentId: uuid7(Date.now()), ...comment });
  }

  /**
   * Give one's own comment another text.
   * @param {string} commentId
   * @param {string} text
   * @param {"plain" | "markdown"} [format] how it is to be read; without one as the comment is
   */
  edit(commentId, text, format) {
    return this.#change("comment.edit", { commentId, text, format });
  }

  /** Delete one's own comment. @param {string} commentId */
  delete(commentId) {
    return this.#change("comment.delete", { commentId });
  }

  /** React to a comment. @param {string} commentId @param {string} emoji one */
  react(commentId, emoji) {
    return this.#change("comment.react", { commentId, emoji });
  }

  /** Take one's reaction back. @param {string} commentId @param {string} emoji */
  unreact(commentId, emoji) {
    return this.#change("comment.unreact", { commentId, emoji });
  }

  /** Mark a thread as resolved. @param {string} threadId */
  resolve(threadId) {
    return this.#change("thread.resolve", { commentId: threadId });
  }

  /** Open a resolved thread again. @param {string} threadId */
  reopen(threadId) {
    return this.#change("thread.reopen", { commentId: threadId });
  }

  /** Be told nothing of this topic, or again. @param {boolean} muted @param {string} [until] a time to come, RFC 3339 */
  mute(muted, until) {
    return this.#change("topic.mute", { topic: this.name, muted, until });
  }

  /**
   * @template {keyof import("../types/wire.js").CommandsByName} Name
   * @param {Name} name
   * @param {import("./connection.js").Payload<Name>} payload
   */
  #change(name, payload) {
    return this.#client.outbox.add(name, payload, this.name);
  }

  /** Say that this person is writing here, as often as they press a key; or not any more. @param {boolean} isTyping */
  type(isTyping = true) {
    const now = Date.now();
    if (isTyping ? now - this.#saidTyping < SAY_TYPING_MS : this.#saidTyping === -Infinity) return;
    this.#saidTyping = isTyping ? now : -Infinity;
    if (!this.#log.isReady) return;
    this.#ask("typing", { topic: this.name, typing: isTyping }).catch(() => {});
  }

  /** Whether this person may use a command here. @param {keyof import("../types/wire.js").CommandsByName} command */
  may(command) {
    return this.#rights.includes(command);
  }

  // --- what is shown

  /** @internal @returns {TopicState} */
  look() {
    const threads = this.#look();
    const isCovered = this.#coversUnread();
    return {
      topic: this.name,
      state: this.#state,
      problem: this.#problem,
      threads,
      hasOlder: this.#olderCursor !== null,
      seq: this.#log.seq,
      readSeq: this.#readUpTo(),
      unread: isCovered ? threads.reduce((sum, { unread }) => sum + unread, 0) : this.#unread,
      muted: this.#muted,
      rights: this.#rights,
      commenting: this.#commenting,
      present: this.#present,
      typing: [...this.#typing.values()].map(({ user }) => user),
      discussion: this.#discussion,
    };
  }

  #look() {
    const own = [...this.#waiting, ...this.#answered.map(({ entry }) => entry)];
    const added = own.filter(({ name, payload }) => name === "comment.add" && !this.#comments.has(payload.commentId));
    for (const entry of added) {
      const threadId = this.#threadOf(entry.payload.replyTo) ?? entry.payload.commentId;
      if (!this.#members.has(threadId)) this.#members.set(threadId, new Set());
    }
    const threads = [];
    for (const [id, members] of this.#members) {
      let thread = this.#threads.get(id);
      if (!thread) {
        thread = this.#thread(id, members, own, added);
        this.#threads.set(id, thread);
      }
      if (thread.comments.length) threads.push(thread);
      else this.#members.delete(id);
    }
    return threads.sort((one, other) => place(one) - place(other) || 0);
  }

  /**
   * @param {string} id
   * @param {Set<string>} members
   * @param {Entry[]} own
   * @param {Entry[]} added
   * @returns {Thread}
   */
  #thread(id, members, own, added) {
    const me = this.#client.me;
    /** @type {Comment[]} */
    const comments = [...members]
      .map((member) => {
        /** @type {Comment} */ let comment = /** @type {Stored} */ (this.#comments.get(member));
        for (const entry of own) {
          if (me && entry.payload.commentId === member && entry.name !== "comment.add") comment = foresee(comment, entry, me);
        }
        return comment;
      })
      .sort((one, other) => one.seq - other.seq);
    for (const entry of added) {
      if (me && (this.#threadOf(entry.payload.replyTo) ?? entry.payload.commentId) === id) {
        comments.push(this.#foreseen(entry, id, me));
      }
    }
    const root = comments.find((comment) => comment.id === id);
    return Object.freeze({
      id,
      root,
      comments: Object.freeze(comments),
      isWhole: this.#whole.has(id) || (root !== undefined && comments.length > root.replyCount),
      unread: comments.filter((comment) => !comment.pending && this.#isUnread(comment)).length,
    });
  }

  /**
   * A comment that is on its way.
   * @param {Entry} entry
   * @param {string} threadId
   * @param {User} me
   * @returns {Comment}
   */
  #foreseen(entry, threadId, me) {
    const { commentId, text, anchor, viewState } = entry.payload;
    return {
      id: commentId,
      topic: this.name,
      threadId,
      author: me,
      text,
      mentions: mentionsOf(text),
      anchor: anchor ?? null,
      viewState: viewState ?? null,
      createdAt: new Date(entry.at).toISOString(),
      editedAt: null,
      deletedAt: null,
      revision: 1,
      reactions: {},
      replyCount: 0,
      resolved: null,
      body: null,
      seq: AT_THE_END,
      pending: entry,
    };
  }
}

/** @param {Thread} thread */
const place = ({ root, comments }) => (root ?? comments[0]).seq;
