// What one topic shows: its threads as the server has them, with what is on its way there.

import { about, fold, foresee } from "./fold.js";
import { uuid7 } from "./ids.js";
import { Log } from "./log.js";
import { mentionsOf } from "./mentions.js";
import { Refused } from "./refused.js";

/** @import { Client } from "./client.js" */
/** @import { Comment } from "./fold.js" */
/** @import { Entry } from "./outbox.js" */
/** @import { AnchorPayload, Comment as Stored, Discussion, TopicSubscribeAnswer, User } from "../types/wire.js" */

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
 * @typedef {Pick<TopicState, "problem" | "muted" | "rights" | "commenting" | "present" | "discussion">} Said
 */

/**
 * @typedef {object} NewComment
 * @property {string} text
 * @property {"plain" | "markdown"} [format] how the text is to be read; without one it is plain
 * @property {string} [replyTo] the id of a comment
 * @property {AnchorPayload} [anchor]
 * @property {{[key: string]: unknown}} [viewState]
 */

/**
 * Comments that were read; `seq` is the last event that they hold. A node of a former version does not say, and they
 * may hold replies that are counted again.
 * @typedef {{items: Stored[], seq?: number}} Read
 */

const PAGE = 50;
const LINGER_MS = 5000; // so long it is followed when nobody looks any more
const COUNT_MS = 300;
const TYPING_MS = 7000; // the server ends it after 6 s
const SAY_TYPING_MS = 3000;
const AT_THE_END = 2 ** 53 - 1;

/** @type {Said} */
const NOTHING = { problem: null, muted: false, rights: [], commenting: true, present: [], discussion: null };

/** @extends {Log<TopicState>} */
export class Topic extends Log {
  /** @type {Map<string, Stored>} */ #comments = new Map();
  /** Their threads: the ids of those that are loaded. @type {Map<string, Set<string>>} */ #members = new Map();
  /** Made when they are looked at. @type {Map<string, Thread>} */ #threads = new Map();
  /** @type {Set<string>} */ #whole = new Set();
  /** Comments of this `seq` and later are all loaded. */ #from = AT_THE_END;
  /** @type {string | null} */ #olderCursor = null;
  /** @type {Entry[]} */ #waiting = [];
  /** Answered, but their events are not here yet. @type {{entry: Entry, seq: number}[]} */ #answered = [];
  #loads = 0;
  /** What was told while something is being read. @type {any[]} */ #told = [];
  /** What was read holds the events up to here. @type {Map<string, number>} */ #asOf = new Map();
  /** What is shown as it is. */ #now = NOTHING;
  #readSeq = 0;
  #reading = 0; // what is to be read, until the server knows
  #unread = 0; // as the server counts, for when not everything that is unread is loaded
  #isMarked = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #counting;
  /** @type {Map<string, {user: User, end: ReturnType<typeof setTimeout>}>} */ #typing = new Map();
  #saidTyping = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #leaving;
  #isOpen = false;
  #isPinned = false;

  /**
   * @internal
   * @param {Client} client
   * @param {string} name
   */
  constructor(client, name) {
    super(client, name);
    client.outbox.subscribe(() => this.#takeWaiting());
    this.#takeWaiting();
  }

  /** @internal @param {TopicSubscribeAnswer} answer */
  ready({ rights, commenting, present, readSeq, unread }) {
    this.#set({ problem: null, rights, commenting, present });
    this.#readSeq = readSeq;
    this.#unread = unread;
    this.#clearTyping();
    this.#threads.clear();
    this.#sendRead();
    this.#loadRoots();
    this.#count(this.#isMarked);
    this.#isMarked = false;
  }

  /** @internal @param {Refused} problem @param {boolean} isOver */
  trouble(problem, isOver) {
    if (isOver) this.#close(problem);
    else this.#set({ problem });
  }

  /**
   * @template {keyof import("../types/wire.js").CommandsByName} Name
   * @param {Name} name of a command on this topic
   * @param {Omit<import("./connection.js").Payload<Name>, "topic">} payload
   */
  #ask(name, payload) {
    return this.client.ask(name, /** @type {any} */ ({ topic: this.name, ...payload }));
  }

  // --- following

  /**
   * Follow it, though nobody subscribes; also after it was closed.
   * @returns {Promise<void>} when it is live; rejects with a `Refused` where it may not be followed
   */
  open() {
    this.#isPinned = true;
    this.#follow();
    /** @type {Promise<void>} */ const isLive = new Promise((resolve, reject) => {
      const look = () => {
        if (this.state === "live") {
          end();
          resolve();
        }
        if (this.state === "closed") {
          end();
          reject(this.#now.problem);
        }
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
    if (this.state === "closed") super.forget();
    this.#set({ problem: null });
    this.hello();
  }

  /** Follow it no more. */
  leave() {
    this.#isPinned = false;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.stop();
    if (this.client.connection.isLive) this.#ask("topic.unsubscribe", {}).catch(() => {});
  }

  /** @internal @param {number} count */
  watched(count) {
    clearTimeout(this.#leaving);
    if (count) this.#follow();
    else if (!this.#isPinned) this.#leaving = setTimeout(() => this.leave(), LINGER_MS);
  }

  /** The connection is there. @internal */
  hello() {
    if (this.#isOpen && this.client.connection.isLive) this.start();
  }

  /** Throw everything away: somebody else is signed in. @internal */
  forget() {
    super.forget();
    this.#empty();
    this.#set(NOTHING);
    this.#waiting = [];
  }

  /** @param {Refused} problem */
  #close(problem) {
    this.#isOpen = false;
    this.stop();
    super.forget();
    this.#empty();
    this.state = "closed";
    this.#set({ problem, rights: [] });
  }

  /** @param {Partial<Said>} some */
  #set(some) {
    this.#now = { ...this.#now, ...some };
    this.changed();
  }

  #empty() {
    this.#comments.clear();
    this.#members.clear();
    this.#threads.clear();
    this.#whole.clear();
    this.#asOf.clear();
    this.#told = [];
    this.#answered = [];
    this.#from = AT_THE_END;
    this.#olderCursor = null;
    this.#readSeq = this.#reading = this.#unread = 0;
    this.#set({ present: [] });
    this.#clearTyping();
  }

  /** @internal @param {TopicSubscribeAnswer} answer */
  async begin(answer) {
    const [{ muted }, page] = await Promise.all([
      this.#ask("topic.get", {}),
      this.#ask("topic.comments", { order: "newest", limit: PAGE }),
      this.#readDiscussion(),
    ]);
    this.#empty();
    this.#set({ muted });
    this.#readSeq = answer.readSeq;
    this.#takePage(page);
    return page.seq !== undefined;
  }

  /** Of a discussion: its name, members and owner as they are now. */
  async #readDiscussion() {
    const [kind, discussionId] = this.name.split(":");
    if (kind !== "discussion") return;
    this.#set({ discussion: await this.client.ask("discussion.get", { discussionId }) });
  }

  // --- what is said

  /** @internal @param {any} event */
  event(event) {
    const { type, data, seq } = event;
    const id = about(event);
    if (this.#loads) this.#told.push(event);
    if (type === "comment.added") {
      if (!this.#comments.has(data.comment.id)) this.#put({ seq, ...data.comment });
      this.#endTyping(event.actor.id);
    }
    if (id) {
      const known = this.#comments.get(id);
      if (known && seq > (this.#asOf.get(id) ?? 0)) this.#put(fold(known, event)); // else it was read afterwards
    } else if (type === "topic.switched") {
      this.#set({ commenting: data.commenting });
    } else if (type !== "discussion.deleted") {
      this.#readDiscussion().catch(() => {}); // it is closed then, or comes with the next connection
    }
    this.#count();
    this.#answered = this.#answered.filter((each) => each.seq > seq || this.#stale(each.entry));
    this.changed();
  }

  /**
   * @internal
   * @param {string} name
   * @param {any} said
   */
  signal(name, said) {
    if (name === "topic.closed") {
      this.#close(new Refused({ code: "not_found", message: `Closed: ${said.reason}.` }));
    } else if (name === "presence") {
      const moved = new Set([...said.left, ...said.joined].map(({ id }) => id));
      this.#set({ present: [...this.#now.present.filter(({ id }) => !moved.has(id)), ...said.joined] });
    } else if (name === "topic.rights") {
      this.#set({ rights: said.rights });
    } else if (name === "typing") {
      const { user, typing } = said;
      this.#endTyping(user.id);
      if (typing) this.#typing.set(user.id, { user, end: setTimeout(() => this.#endTyping(user.id), TYPING_MS) });
      this.changed();
    }
  }

  /** @param {string} id */
  #endTyping(id) {
    clearTimeout(this.#typing.get(id)?.end);
    if (this.#typing.delete(id)) this.changed();
  }

  #clearTyping() {
    this.#typing.forEach((_user, id) => this.#endTyping(id));
  }

  /**
   * What the inbox says of this topic, on whatever device it was done.
   * @internal
   * @param {any} event
   */
  inboxEvent({ type, data }) {
    this.#isMarked ||= !this.isReady; // what is being asked for may be older
    if (type === "topic.was_muted") {
      this.#set({ muted: data.muted });
    } else if (type !== "thread.was_marked") {
      this.#readSeq = data.seq;
      if (this.#reading <= data.seq) this.#reading = 0;
      this.#unread = data.unread;
      this.#threads.clear();
      this.#count(); // of the events that are here
    }
    this.changed();
  }

  // --- comments

  /**
   * Keep a comment, in the place of what was known of it.
   * @param {Stored} comment
   */
  #put(comment) {
    const known = this.#comments.get(comment.id);
    if (known === comment) return;
    this.#comments.set(comment.id, { ...known, ...comment });
    this.#membersOf(comment.threadId).add(comment.id);
    this.#threads.delete(comment.threadId);
  }

  /** @param {string} threadId */
  #membersOf(threadId) {
    const members = this.#members.get(threadId) ?? new Set();
    this.#members.set(threadId, members);
    return members;
  }

  /**
   * Keep what was read.
   * @param {Read} page
   */
  #take({ items, seq = 0 }) {
    for (const comment of items) {
      const later = this.#told.filter((event) => event.seq > seq && about(event) === comment.id);
      this.#put(later.reduce(fold, comment));
      this.#asOf.set(comment.id, seq);
    }
  }

  /** @param {Read & {next: string | null}} page the newest first */
  #takePage(page) {
    this.#take(page);
    this.#olderCursor = page.next;
    this.#from = /** @type {number | null | undefined} */ (page.next && page.items.at(-1)?.seq) ?? 0;
  }

  /** Load comments older than those that are there. Returns when they are. */
  older() {
    return this.#load(async () => {
      const cursor = this.#olderCursor;
      if (!cursor) return;
      const page = await this.#ask("topic.comments", { order: "newest", limit: PAGE * 2, cursor });
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
        /** @type {import("../types/wire.js").Comments} */ const page = await this.#ask("topic.comments", { thread: threadId, limit: 200, cursor });
        this.#take(page);
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
    const comment = this.#comments.get(commentId) ?? (await this.client.ask("comment.get", { commentId }));
    if (comment.topic !== this.name) throw new Refused({ code: "not_found", message: "It is elsewhere." });
    const { threadId } = comment;
    await this.thread(threadId);
    return threadId;
  }

  /** Load something, then the roots that are missing. @param {() => Promise<void>} [load] */
  async #load(load) {
    this.#loads++;
    try {
      await load?.();
      const missing = [...this.#members.keys()].filter((id) => !this.#comments.has(id));
      while (missing.length) {
        const some = missing.splice(0, 8).map((thread) => this.#ask("topic.comments", { thread, limit: 1 }));
        for (const page of await Promise.all(some)) this.#take(page);
      }
    } finally {
      if (!--this.#loads) this.#told = [];
      this.changed();
    }
  }

  /** Load the roots that are missing, as soon as that can be. */
  #loadRoots() {
    this.#load().catch(({ retryAfter }) => retryAfter && setTimeout(() => this.#loadRoots(), retryAfter * 1000));
  }

  // --- what is unread

  #readUpTo() {
    return Math.max(this.#readSeq, this.#reading);
  }

  #coversUnread() {
    return this.#from <= this.#readUpTo() + 1;
  }

  /** Ask the server how many are unread, where not all that may be are loaded, until what it says is of now. */
  #count(isNeeded = false) {
    if (this.#counting || !this.isReady || (!isNeeded && this.#coversUnread())) return;
    this.#counting = setTimeout(async () => {
      const now = await this.#ask("topic.get", {}).catch(() => undefined);
      this.#counting = undefined;
      const isRight = now?.seq === this.seq && now.readSeq === this.#readSeq;
      if (now) {
        this.#readSeq = now.readSeq;
        this.#unread = now.unread;
        this.#threads.clear();
        this.#set({ muted: now.muted });
      }
      if (!isRight) this.#count(isNeeded);
    }, COUNT_MS);
  }

  /**
   * What is up to this `seq` is read.
   * @param {number} [seq] left out: everything that is shown
   */
  read(seq = this.seq) {
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
    if (!seq || !this.client.connection.isLive) return;
    const answer = await this.#ask("topic.read", { seq }).catch(() => {});
    if (!answer) return; // it is sent again with the next hello
    this.#readSeq = Math.max(this.#readSeq, seq);
    if (this.#reading === seq) {
      this.#reading = 0;
      this.#unread = answer.unread;
    }
    this.changed();
  }

  // --- what is written

  #takeWaiting() {
    const before = this.#waiting;
    const now = this.client.outbox.snapshot().filter((entry) => entry.topic === this.name);
    this.#waiting = now;
    for (const entry of [...before, ...now]) {
      if (before.includes(entry) && now.includes(entry)) continue;
      this.#stale(entry);
      this.changed();
    }
  }

  /**
   * A command was answered; its event comes before or after.
   * @internal
   * @param {Entry} entry
   * @param {any} answer
   */
  answered(entry, { comment, seq }) {
    if (seq > this.seq) {
      if (comment) this.#take({ items: [{ seq, ...comment }], seq });
      else this.#answered.push({ entry, seq });
    }
    this.changed();
  }

  /** The thread that an entry is shown in has to be made anew. @param {Entry} entry */
  #stale({ payload }) {
    this.#threads.delete(this.#threadOf(payload.replyTo ?? payload.commentId) ?? "");
  }

  /**
   * The thread of a comment, also of one that waits.
   * @param {string | undefined} id
   * @returns {string | undefined}
   */
  #threadOf(id) {
    const entry = this.#waiting.find(({ name, payload }) => name === "comment.add" && payload.commentId === id);
    return id && (this.#comments.get(id)?.threadId ?? this.#threadOf(entry?.payload.replyTo) ?? id);
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
   * @param {number} [ofRevision] of which revision it was made; left out: of the one that is known. Where another one is
   *   stored, it is refused, with `comment` as that stands
   */
  edit(commentId, text, format, ofRevision = this.#comments.get(commentId)?.revision) {
    return this.#change("comment.edit", { commentId, text, format, ofRevision });
  }

  /**
   * Delete one's own comment.
   * @param {string} commentId
   * @param {number} [ofRevision] as with `edit`
   */
  delete(commentId, ofRevision = this.#comments.get(commentId)?.revision) {
    return this.#change("comment.delete", { commentId, ofRevision });
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
    return this.client.outbox.add(name, payload, this.name);
  }

  /** Say that this person is writing here, as often as they press a key; or not any more. @param {boolean} isTyping */
  type(isTyping = true) {
    const now = isTyping ? Date.now() : 0;
    if (isTyping ? now - this.#saidTyping < SAY_TYPING_MS : !this.#saidTyping) return;
    this.#saidTyping = now;
    if (!this.isReady) return;
    this.#ask("typing", { typing: isTyping }).catch(() => {});
  }

  /** Whether this person may use a command here. @param {keyof import("../types/wire.js").CommandsByName} command */
  may(command) {
    return this.#now.rights.includes(command);
  }

  // --- what is shown

  /** @internal @returns {TopicState} */
  look() {
    const threads = this.#look();
    return {
      ...this.#now,
      state: this.state,
      topic: this.name,
      threads,
      hasOlder: !!this.#olderCursor,
      seq: this.seq,
      readSeq: this.#readUpTo(),
      unread: this.#coversUnread() ? threads.reduce((sum, { unread }) => sum + unread, 0) : this.#unread,
      typing: [...this.#typing.values()].map(({ user }) => user),
    };
  }

  #look() {
    const me = /** @type {User} */ (this.client.me); // nothing is shown as somebody's before it is known whose
    const waiting = [...this.#waiting, ...this.#answered.map(({ entry }) => entry)];
    const own = waiting.filter(
      ({ name, payload }) => me && (name !== "comment.add" || !this.#comments.has(payload.commentId)),
    );
    const added = own.filter(({ name }) => name === "comment.add").map((entry) => this.#foreseen(entry, me));
    added.forEach(({ threadId }) => this.#membersOf(threadId));
    const threads = [];
    for (const [id, members] of this.#members) {
      let thread = this.#threads.get(id);
      if (!thread) {
        const stored = [...members].map((member) => /** @type {Stored} */ (this.#comments.get(member)));
        const all = [...stored, ...added.filter(({ threadId }) => threadId === id)].sort((one, other) => one.seq - other.seq);
        thread = this.#thread(
          id,
          all.map((comment) => own.reduce((so, entry) => foresee(so, entry, me), comment)),
        );
        this.#threads.set(id, thread);
      }
      if (thread.comments.length) threads.push(thread);
      else this.#members.delete(id);
    }
    return threads.sort((one, other) => one.comments[0].seq - other.comments[0].seq);
  }

  /**
   * @param {string} id
   * @param {Comment[]} comments
   * @returns {Thread}
   */
  #thread(id, comments) {
    const root = comments.find((comment) => comment.id === id);
    return Object.freeze({
      id,
      root,
      comments: Object.freeze(comments),
      isWhole: this.#whole.has(id) || (!!root && comments.length > root.replyCount),
      unread: comments.filter(
        ({ pending, deletedAt, seq, author }) =>
          !pending && !deletedAt && seq > this.#readUpTo() && author.id !== this.client.me?.id,
      ).length,
    });
  }

  /**
   * A comment that is on its way.
   * @param {Entry} entry
   * @param {User} author
   * @returns {Comment}
   */
  #foreseen({ at, payload }, author) {
    const { commentId, replyTo, text = "", anchor = null, viewState = null } = payload;
    return {
      id: commentId,
      topic: this.name,
      threadId: this.#threadOf(replyTo) ?? commentId,
      author,
      text,
      mentions: mentionsOf(text),
      anchor,
      viewState,
      createdAt: new Date(at).toISOString(),
      editedAt: null,
      deletedAt: null,
      revision: 1,
      reactions: {},
      replyCount: 0,
      resolved: null,
      body: null,
      seq: AT_THE_END,
    };
  }
}
