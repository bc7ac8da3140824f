// The panel: a header, a list of threads, and a composer that never scrolls away.

import { lineOfComment, named } from "./body.js";
import { change, forgetRefused } from "./changing.js";
import { discussionsOf, marksOf, mentionsOf } from "./client.js";
import { Composer } from "./composer.js";
import { leaving } from "./going.js";
import { listen } from "./listening.js";
import { Avatar, Count, Icon, inSentence, listed, NO_DISCUSSIONS, Tabs, useRedraw, useStore } from "./parts.js";
import { isAt, placeOf } from "./places.js";
import { Popup } from "./popup.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./preact.js";
import { useReading } from "./reading.js";
import { bellOf, cut, membersOf, whereOf, whyOf } from "./telling.js";
import { Thread, Yours } from "./thread.js";
import { useLater } from "./undoing.js";

const MOST_THREADS = 60; // in the document
const STEP = 20;
const NEAR = 400; // pixels from an end, where more is shown
const END = 32;
const SHOWN_MS = 4000;
const MINUTE_MS = 60_000;
const MOST_AVATARS = 4;
const REPLIES = 50; // of a thread, that are shown at a time
const MOST_PAGES = 10; // that are loaded to find what is unread
const FILTERS = ["all", "unread", "mentions", "resolved", "discussions"];

/** @param {any} props */
export function Panel(props) {
  const { host, client, name, words, attachment, inPlace, wanted, hasKeys, sendsByEnter, rooms } = props;
  const topic = useMemo(() => client.topic(name), [client, name]);
  const state = useStore(topic);
  const connection = useStore(client.connection);
  const inbox = useStore(client.inbox);
  const marks = useMemo(() => marksOf(client, topic), [client, topic]);
  const marked = useStore(marks);
  const outbox = useStore(client.outbox);
  const discussions = useStore(rooms.isHome ? discussionsOf(client) : NO_DISCUSSIONS);
  const [filter, setFilter] = useState("all");
  const [replying, setReplying] = useState(/** @type {string | null} */ (null));
  const [opened, setOpened] = useState(new Map()); // resolved threads, as somebody opened or folded them
  const kept = useRef(new Set()).current; // threads that stay open, for something in them was unread
  const [ranges, setRanges] = useState(/** @type {Map<string, [number, number]>} */ (new Map())); // of replies that are shown
  const { due: deleting, later, undo } = useLater([topic]); // comments, by their ids
  const [newFrom, setNewFrom] = useState(/** @type {string | null} */ (null));
  const [shown, setShown] = useState(/** @type {string | null} */ (null));
  const [isHelping, setHelping] = useState(false);
  const [said, setSaid] = useState("");
  const [isGone, setGone] = useState(false); // the comment that was asked for
  const [startId, setStartId] = useState(/** @type {string | null} */ (null)); // null: the last ones
  const [isAtEnd, setAtEnd] = useState(true);
  const redraw = useRedraw();
  const box = useRef(/** @type {any} */ (null));
  const list = useRef(/** @type {any} */ (null));
  const live = useRef({
    isOpen: false,
    isAtEnd: true,
    isLoading: false,
    scrolled: 0,
    size: "", // of the list
    onResize: () => {},
    anchor: /** @type {{id: string, top: number} | null} */ (null),
    goal: /** @type {string | null} */ (null), // a comment to scroll to, once it is there
    pointed: "",
    unread: 0,
    readSeq: 0,
    isHeld: false, // what was marked as unread is not read by being seen, until one comes back to it
    toFocus: /** @type {(() => void) | null} */ (null), // what is to be done then
  }).current;
  const isMe = (/** @type {any} */ user) => user.id === client.me?.id;

  useEffect(() => {
    const minutes = setInterval(redraw, MINUTE_MS);
    return () => clearInterval(minutes);
  }, []);

  // --- which threads are shown

  const isUnread = (/** @type {any} */ { seq, deletedAt, pending, author }) =>
    seq > topic.snapshot().readSeq && !deletedAt && !pending && !isMe(author);
  const sticky = useRef(new Set()).current; // what was unread stays in sight while one reads
  const isAll = filter === "all" && !inPlace; // there may be very many
  const threads = isAll ? state.threads : state.threads.filter((/** @type {any} */ thread) => {
    if (inPlace && !isAt(anchorOf(thread), inPlace)) return false;
    if (filter === "all") return true;
    if (filter === "resolved") return thread.root?.resolved;
    if (filter === "mentions") {
      return thread.comments.some((/** @type {any} */ { mentions }) => mentions.some((/** @type {any} */ each) => isMe(each)));
    }
    if (thread.unread) sticky.add(thread.id);
    return sticky.has(thread.id);
  });
  const last = Math.max(0, threads.length - MOST_THREADS);
  const found = startId ? threads.findIndex((/** @type {any} */ thread) => thread.id === startId) : -1;
  const start = found < 0 ? last : Math.min(found, last);
  const inSight = threads.slice(start, start + MOST_THREADS);
  const startAt = (/** @type {number} */ index) =>
    setStartId(index >= last ? null : threads[Math.max(0, index)].id);

  const names = useMemo(() => {
    /** @type {Map<string, string>} */ const found = new Map();
    const add = (/** @type {any} */ { id, name }) => found.set(id, name);
    for (const { comments } of state.threads) for (const { author } of comments) add(author);
    state.present.forEach(add);
    if (client.me) add(client.me);
    return found;
  }, [state.threads, state.present, client.me]);

  // --- opening: at the first unread comment, or at the one that is asked for, else at the end

  useEffect(() => {
    if (live.isOpen || state.state === "loading" || state.state === "closed") return;
    live.isOpen = true;
    open();
  }, [state.state]);

  const hasGone = useMemo(() => leaving(host), [wanted]); // whoever wants to be there
  async function open() {
    if (wanted && (await go(wanted, hasGone))) return;
    await loadWhile(() => {
      const { threads, unread } = topic.snapshot();
      return unread > threads.reduce((/** @type {number} */ sum, /** @type {any} */ thread) => sum + thread.unread, 0);
    });
    const first = firstUnread();
    setNewFrom(first);
    if (first) live.goal = first;
    redraw();
  }

  /** Load older comments while more of them are needed, as far as that can be. @param {() => boolean} isNeeded */
  async function loadWhile(isNeeded) {
    try {
      for (let page = 0; page < MOST_PAGES && topic.snapshot().hasOlder && isNeeded(); page += 1) await topic.older();
    } catch {} // what is there is shown
  }

  /** @returns {string | null} */
  const firstUnread = () =>
    topic.snapshot().threads.find((/** @type {any} */ { unread }) => unread)?.comments.find(isUnread)?.id ?? null;

  const focusOn = (/** @type {string} */ threadId, hasGone = leaving(host)) => () =>
    hasGone() || list.current.querySelector(`[data-thread="${threadId}"]`)?.focus({ preventScroll: true });

  /** Go to a comment. @param {import("./rooms.js").Wanted} wanted @returns {Promise<boolean>} whether it is there */
  async function go({ id, isFocused }, hasGone = leaving(host)) {
    const threadId = await topic.find(id).catch(() => null);
    setGone(!threadId);
    if (!threadId) return false;
    const anchor = anchorOf(threadWith(topic.snapshot().threads, id));
    if (anchor && rooms.isHome) host.goTo?.(anchor);
    if (inPlace && !isAt(anchor, inPlace)) host.place = null;
    setFilter("all");
    setOpened((/** @type {Map<string, boolean>} */ before) => new Map(before).set(threadId, true));
    live.goal = id;
    live.toFocus = isFocused ? focusOn(threadId, hasGone) : null;
    setShown(id);
    setTimeout(() => setShown(null), SHOWN_MS);
    return true;
  }

  useEffect(() => {
    if (live.isOpen && wanted) go(wanted, hasGone);
  }, [wanted]);

  // Of a place all threads are looked for: pins count them, however old they are.
  useEffect(() => {
    if (!inPlace || !live.isOpen) return undefined;
    let isOver = false;
    live.isAtEnd = true;
    setStartId(null);
    loadWhile(() => !isOver);
    return () => {
      isOver = true;
    };
  }, [inPlace, state.state === "live"]);

  // New ones after one had read everything: the line moves to them.
  useEffect(() => {
    const before = live.unread;
    live.unread = state.unread;
    if (live.isOpen && !before && state.unread && !(live.isAtEnd && document.hasFocus())) setNewFrom(firstUnread());
  }, [state.unread]);

  // What was refused is shown at its comment, which may be an older one.
  const unsent = outbox.find(
    (/** @type {any} */ { state: how, topic: where, payload: { commentId } }) =>
      how === "refused" && where === topic.name && commentId && live.isOpen && !threadWith(state.threads, commentId),
  );

  // What is shown nowhere, though nobody waits for its answer any more, as after a reload.
  useEffect(() => forgetRefused(client), [outbox, state.state]);

  // --- scrolling: nothing jumps, unless one is at the end, which one stays at

  const sizeOf = (/** @type {any} */ { clientWidth, clientHeight }) => `${clientWidth} ${clientHeight}`;

  /** Whether somebody has. Where it gets another size the browser moves it, too: nobody has left the end by that. */
  const isScrolled = () =>
    list.current && list.current.scrollTop !== live.scrolled && sizeOf(list.current) === live.size;

  const remember = () => {
    const scroller = list.current;
    if (!scroller) return;
    live.scrolled = scroller.scrollTop;
    live.size = sizeOf(scroller);
    const { top } = scroller.getBoundingClientRect();
    live.isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < END && start >= last;
    live.anchor = null;
    for (const element of scroller.querySelectorAll("[data-comment]")) {
      const place = element.getBoundingClientRect();
      if (place.bottom <= top) continue;
      live.anchor = { id: element.dataset.comment, top: place.top - top };
      break;
    }
  };

  // A browser tells of scrolling a frame later. What is drawn before that, from here on, would take it back.
  if (isScrolled()) remember();

  useLayoutEffect(() => {
    const scroller = list.current;
    if (!scroller) return;
    const goal = live.goal && scroller.querySelector(`[data-comment="${CSS.escape(live.goal)}"]`);
    if (goal) {
      live.goal = null;
      live.isAtEnd = false;
      live.toFocus?.();
      live.toFocus = null;
      const { top } = goal.getBoundingClientRect();
      scroller.scrollTop += top - scroller.getBoundingClientRect().top - scroller.clientHeight / 3;
    } else if (live.goal) {
      const thread = threadWith(state.threads, live.goal);
      const index = threads.indexOf(thread);
      if (!thread) live.goal = null;
      else if (inSight.includes(thread)) show(thread, live.goal);
      else if (index >= 0) startAt(index - STEP);
    } else if (live.isAtEnd) {
      scroller.scrollTop = scroller.scrollHeight;
    } else if (live.anchor) {
      const element = scroller.querySelector(`[data-comment="${CSS.escape(live.anchor.id)}"]`);
      if (element) {
        const { top } = scroller.getBoundingClientRect();
        scroller.scrollTop += element.getBoundingClientRect().top - top - live.anchor.top;
      }
    }
    remember();
    setAtEnd(live.isAtEnd);
    // Who is at the very top when older ones come cannot scroll up to them.
    if (live.isOpen && !live.goal && !live.isAtEnd && scroller.scrollTop < NEAR && start > 0) startAt(start - STEP);
  });

  /** Show the replies of a thread that are near one of them. @param {any} thread @param {string} goal */
  const show = ({ id, comments }, goal) => {
    const replies = comments.filter((/** @type {any} */ each) => each.id !== id);
    const at = replies.findIndex((/** @type {any} */ each) => each.id === goal);
    const [from, to] = ranges.get(id) ?? [-1, -1];
    if (at < 0 || (at >= from && at < to)) return;
    setRanges(new Map(ranges).set(id, [Math.max(0, at - REPLIES / 5), at + REPLIES]));
  };

  live.onResize = () => {
    // Where it gets smaller or larger one stays at the end, too.
    if (live.isAtEnd && list.current) list.current.scrollTop = list.current.scrollHeight;
    remember();
    setAtEnd(live.isAtEnd);
  };

  useEffect(() => {
    const observer = new ResizeObserver(() => live.onResize());
    if (list.current) observer.observe(list.current);
    return () => observer.disconnect();
  }, [state.state === "closed"]);

  const onScroll = async () => {
    const scroller = list.current;
    if (isScrolled()) remember();
    setAtEnd(live.isAtEnd);
    if (!live.isOpen || live.goal || live.isLoading) return;
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR && start < last) {
      startAt(start + STEP);
    } else if (scroller.scrollTop < NEAR && start > 0) {
      startAt(start - STEP);
    } else if (scroller.scrollTop < NEAR && state.hasOlder && filter === "all") {
      await earlier().catch(() => {});
    }
  };

  const earlier = async () => {
    live.isLoading = true;
    if (inSight.length) setStartId(inSight[0].id);
    await topic.older().finally(() => {
      live.isLoading = false;
    });
  };

  const toEnd = (/** @type {any} */ event) => {
    // The button goes once one is there: where it has the focus, that goes along.
    const isFocused = event.currentTarget.matches(":focus");
    const first = firstUnread();
    if (first) {
      setNewFrom(first);
      live.goal = first;
      live.toFocus = isFocused ? focusOn(threadWith(topic.snapshot().threads, first).id) : null;
    } else {
      live.isAtEnd = true;
      setStartId(null);
      if (isFocused) focus(`[data-thread="${threads.at(-1)?.id}"]`);
    }
    redraw();
  };

  useReading({ topic, state, list, isUnread, isPaused: () => live.isHeld || !rooms.isTop || filter === "discussions" });

  const release = () => {
    live.isHeld = false;
  };
  useEffect(() => listen(window, "focus", release), []);
  useEffect(release, [rooms.isTop]);
  // Whoever marks something as unread means all devices. At once: what is in sight would be read before an effect is run.
  if (state.readSeq < live.readSeq && live.isOpen && state.state !== "closed") live.isHeld = true;
  live.readSeq = state.readSeq;

  // --- said to those who do not see it

  const hear = (/** @type {string} */ key, /** @type {any} */ { name }, /** @type {string} */ text) => {
    const writing = host.shadowRoot.activeElement;
    if (writing?.localName !== "textarea" || !writing.value) setSaid(words.say(key, { name, text }));
  };
  useEffect(
    () =>
      client.on("comment.added", (/** @type {any} */ event) => {
        const { comment } = event.data;
        if (comment.topic !== topic.name || isMe(comment.author)) return;
        const key = comment.mentions.some(isMe) ? "said.mention" : "said";
        hear(key, comment.author, lineOfComment(comment).slice(0, 200));
      }),
    [client, topic, words],
  );
  useEffect(
    () =>
      client.on("notification.added", (/** @type {any} */ event) => {
        const { topic: where, by } = event.data.notification;
        if (where !== topic.name && rooms.isHome) hear("said", by, whyOf(words, event.data.notification));
      }),
    [client, topic, words],
  );

  // --- what one does

  /** Once it is drawn, unless one `hasGone` elsewhere meanwhile. */
  const focus = (/** @type {string} */ selector, hasGone = leaving(host)) => {
    requestAnimationFrame(() => {
      if (hasGone()) return;
      const element = box.current?.querySelector(selector) ?? box.current?.querySelector(".foot textarea");
      element?.focus();
    });
  };

  const add = (/** @type {any} */ comment) => {
    const done = topic.add({ format: "markdown", ...comment });
    live.isHeld = false;
    if (!comment.replyTo) {
      setFilter("all");
      if (inPlace && !isAt(comment.anchor, inPlace)) host.place = null;
      live.isAtEnd = true;
      setStartId(null);
    }
    return done;
  };

  /** Delete a comment, as it says now. @param {string} id @param {number} revision */
  const remove = (id, revision) => {
    const edits = client.outbox
      .snapshot()
      .filter(
        (/** @type {any} */ { name, payload, state }) => name === "comment.edit" && payload.commentId === id && state !== "refused",
      );
    const act = () => {
      // One's own edits that waited then, and that the server has taken since, are in what it said.
      const waiting = client.outbox.snapshot().map((/** @type {any} */ { key }) => key);
      const taken = edits.filter((/** @type {any} */ { key }) => !waiting.includes(key)).length;
      topic.delete(id, taken ? edits[0].payload.ofRevision + taken : revision).catch(() => {});
    };
    later(id, { act });
    focus(`[data-comment="${id}"] .undo`);
  };

  const point = (/** @type {any} */ event) => {
    const id = event?.target.closest("[data-thread]")?.dataset.thread ?? "";
    if (!rooms.isHome || id === live.pointed) return;
    live.pointed = id;
    const thread = threads.find((/** @type {any} */ each) => each.id === id);
    const detail = { threadId: id || null, anchor: anchorOf(thread) };
    host.dispatchEvent(new CustomEvent("collab-point", { bubbles: true, composed: true, detail }));
  };

  /** Say that something was done, or why not. @param {Promise<unknown>} done @param {string} key */
  const say = (done, key) =>
    done.then(
      () => setSaid(words.say(key)),
      (/** @type {any} */ problem) => {
        forgetRefused(client);
        rooms.tell(inSentence(words, problem));
      },
    );

  /** Leave a discussion, or delete it: in six seconds, unless one thinks again. @param {"leave" | "delete"} what */
  const end = (what) => {
    const { id: discussionId, name } = /** @type {any} */ (topic.snapshot().discussion);
    rooms.later(words.say(`said.${what}`, { name }), () =>
      change(client, `discussion.${what}`, { discussionId }, topic.name),
    );
    rooms.leave?.(); // and what was found there
  };

  /** Show where one replies to a thread, though it is folded; null: nowhere. @param {string | null} id */
  const reply = (id) => {
    if (id && opened.get(id) === false) setOpened(new Map(opened).set(id, true));
    setReplying(id);
  };

  const panel = {
    host,
    client,
    topic,
    state,
    words,
    attachment,
    inPlace,
    sendsByEnter,
    now: Date.now(),
    names,
    newFrom,
    shown,
    opened,
    kept,
    ranges,
    deleting,
    replying,
    isUnread,
    focus,
    add,
    tell: (/** @type {any} */ problem) => rooms.tell(inSentence(words, problem)),
    remove,
    undo,
    reply,
    placeOf: (/** @type {string} */ what) => [client.me?.id ?? "", topic.name, what],
    toggle: (/** @type {string} */ id, /** @type {boolean} */ isOpen) => {
      setOpened(new Map(opened).set(id, isOpen));
      focus(`[data-thread="${id}"]${isOpen ? "" : " .fold"}`);
    },
    /** Show other replies of a thread. @param {string} id @param {number} from @param {number} to */
    unfold: async (id, from, to) => {
      const hasGone = leaving(host);
      const thread = () => /** @type {any} */ (topic.snapshot().threads.find((/** @type {any} */ each) => each.id === id));
      const before = thread();
      if (!before.isWhole) await rooms.more(() => topic.thread(id));
      const more = thread().comments.length - before.comments.length; // older ones, that were loaded
      setRanges((/** @type {Map<string, [number, number]>} */ known) =>
        new Map(known).set(id, [Math.max(0, from + more), to + more]),
      );
      live.isAtEnd = false;
      focus(`[data-thread="${id}"]`, hasGone);
    },
    react: (/** @type {any} */ { id, reactions }, /** @type {string} */ emoji) => {
      const isMine = reactions[emoji]?.includes(client.me?.id);
      (isMine ? topic.unreact(id, emoji) : topic.react(id, emoji)).catch(() => {});
    },
    resolve: (/** @type {any} */ { id, root }) => {
      setOpened(new Map(opened).set(id, Boolean(root.resolved)));
      (root.resolved ? topic.reopen(id) : topic.resolve(id)).catch(() => {});
      focus(`[data-thread="${id}"]`);
    },
    marks: marked,
    follow: (/** @type {string} */ id, /** @type {boolean} */ isOn) => say(marks.follow(id, isOn), isOn ? "said.follow" : "said.unfollow"),
    mute: (/** @type {string} */ id, /** @type {boolean} */ isOn) => say(marks.mute(id, isOn), isOn ? "said.mute" : "said.unmute"),
    markUnread: (/** @type {any} */ comment) => {
      live.isHeld = true;
      setNewFrom(comment.id);
      say(topic.markUnread(comment.seq), "said.marked");
    },
    copyLink: async (/** @type {string} */ id) => {
      const address = new URL(location.href);
      address.searchParams.set("collab", `comment:${id}`);
      const link = host.linkTo?.(id) ?? address.href;
      // A page that is not secure has no clipboard, and one in a frame may not use it: then the link is there to be taken.
      const isCopied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
      rooms.tell(isCopied ? words.say("copied") : link);
    },
  };

  /** The keys, each with the words for it and what it does. @param {any} [at] where @returns {Record<string, [string, () => void]>} */
  const keysAt = (at) => {
    const all = [...(list.current?.querySelectorAll("[data-thread]") ?? [])];
    const index = all.indexOf(at?.closest("[data-thread]"));
    const thread = threads.find((/** @type {any} */ { id }) => id === all[index]?.dataset.thread);
    const mayEnd = thread?.root && topic.may(thread.root.resolved ? "thread.reopen" : "thread.resolve");
    return {
      c: ["write", () => box.current.querySelector(".foot textarea")?.focus()],
      j: ["keys.j", () => (all[index + 1] ?? all.at(-1))?.focus()],
      k: ["keys.k", () => (index < 0 ? all.at(-1) : (all[index - 1] ?? all[0]))?.focus()],
      r: ["reply", () => thread && topic.may("comment.add") && reply(thread.id)],
      e: ["keys.e", () => mayEnd && panel.resolve(thread)],
      "/": ["search", () => rooms.enter({ kind: "search", topic: topic.name })],
      "?": ["keys.help", () => setHelping(!isHelping)],
    };
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const { key } = event;
    const at = /** @type {any} */ (event.composedPath()[0]);
    if (key === "Escape" && isHelping) {
      event.preventDefault();
      setHelping(false);
      if (at.closest(".keys")) focus(".more-button");
      return;
    }
    if (key === "Enter" && at.dataset.thread) at.querySelector(".fold")?.click();
    const isWriting = ["TEXTAREA", "INPUT", "SELECT"].includes(at.tagName);
    if (!hasKeys || isWriting || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const act = keysAt(at)[key]?.[1];
    if (!act) return;
    event.preventDefault();
    act();
  };

  // --- what is shown

  const { discussion } = state;
  const title = rooms.isHome ? words.say("comments") : whereOf(words, host, topic.name, discussion);
  const back =
    rooms.onBack &&
    html`<button type="button" class="bare back" data-first aria-label=${words.say("back")} onClick=${rooms.onBack}>
      <${Icon} name="back" />
    </button>`;
  if (state.state === "closed") {
    const { code = "", message = "" } = state.problem ?? {};
    // What one has just read there is: that it is closed now is all that is known.
    const key = topic.name.startsWith("discussion:") ? "closed.discussion" : live.isOpen ? "closed" : `closed.${code}`;
    return html`
      <aside class="panel" part="panel" aria-label=${title} ref=${box}>
        ${back && html`<header class="head" part="header">${back}</header>`}
        <div class="closed" role="alert" part="closed">
          <h2>${words.say(words.has(key) ? key : "closed")}</h2>
          <p class="quiet">${words.has(`${key}.why`) ? words.say(`${key}.why`) : words.has(key) ? words.say("closed.why") : message}</p>
          <button type="button" class="plain" onClick=${() => topic.open()}>${words.say("retry")}</button>
          ${outbox
            .filter((/** @type {any} */ each) => each.topic === topic.name && each.state === "refused" && each.payload.text)
            .map(
              (/** @type {any} */ { key, payload }) => html`
                <${Yours} key=${key} words=${words} text=${payload.text} me=${client.me} />
                <button
                  type="button"
                  class="link"
                  aria-label=${named(words, words.say("discard"), { text: payload.text, mentions: mentionsOf(payload.text) })}
                  onClick=${() => client.outbox.discard(key)}
                >
                  ${words.say("discard")}
                </button>
              `,
            )}
        </div>
      </aside>
    `;
  }
  // What is slotted is the page's, and belongs to its own comments.
  const inSlot = (/** @type {string} */ name, /** @type {any} */ otherwise) =>
    rooms.isHome ? html`<slot name=${name}>${otherwise}</slot>` : otherwise;
  const isLoading = state.state === "loading";
  const mayWrite = topic.may("comment.add");
  const problem = notice(words, connection, state);
  return html`
    <aside class="panel" part="panel" aria-label=${title} ref=${box} onKeyDown=${onKeyDown}>
      <header class="head" part="header">
        ${back}
        ${rooms.isHome ? html`<slot name="header"><h2>${title}</h2></slot>` : html`<h2 dir="auto" title=${title}>${title}</h2>`}
        ${state.muted &&
        html`<span class="mark" role="img" aria-label=${words.say("muted")} title=${words.say("muted")}><${Icon} name="muted" /></span>`}
        <${Present} words=${words} state=${state} />
        <button
          type="button"
          class="bare"
          aria-label=${words.say("search")}
          onClick=${() => rooms.enter({ kind: "search", topic: topic.name })}
        >
          <${Icon} name="search" />
        </button>
        <button
          type="button"
          class="bare bell"
          part="bell"
          aria-label=${bellOf(words, inbox.unread)}
          onClick=${() => rooms.enter({ kind: "inbox" })}
        >
          <${Icon} name="bell" /><${Count} count=${inbox.unread} />
        </button>
        <${Popup}
          icon="more"
          name="more-button"
          label=${words.say("options")}
          items=${[
            discussion && {
              key: "members",
              label: words.say("members"),
              act: () => rooms.enter({ kind: "members", topic: topic.name }),
            },
            topic.may("topic.mute") && {
              key: "mute",
              label: words.say(state.muted ? "unmute" : "mute"),
              act: () => say(topic.mute(!state.muted), state.muted ? "said.unmute" : "said.mute"),
            },
            hasKeys && { key: "keys-item", label: words.say("keys"), act: () => setHelping(true) },
            topic.may("discussion.leave") && { key: "leave", label: words.say("leave"), act: () => end("leave") },
            topic.may("discussion.delete") && { key: "delete", label: words.say("discussion.delete"), act: () => end("delete") },
          ]}
        />
      </header>
      ${discussion &&
      html`<button type="button" class="link who quiet" onClick=${() => rooms.enter({ kind: "members", topic: topic.name })}>
        <${Icon} name="lock" /><span>${listed(words, membersOf(words, discussion, client.me))}</span>
      </button>`}
      <p class="notice" part="connection" role="status">
        ${problem && html`<span>${problem}</span>`}
        ${connection.state === "signed_out" &&
        html`<button type="button" class="link" onClick=${() => client.connection.signIn()}>${words.say("sign_in")}</button>`}
      </p>
      ${unsent &&
      html`<p class="notice" role="status">
        <span>${words.say("unsent")}</span>
        <button type="button" class="link" onClick=${() => go({ id: unsent.payload.commentId, isFocused: true })}>${words.say("unsent.show")}</button>
      </p>`}
      ${isGone &&
      html`<p class="notice" role="status">
        <span>${words.say("gone")}</span>
        <button type="button" class="link" onClick=${() => setGone(false)}>${words.say("close")}</button>
      </p>`}
      ${isHelping && rooms.Keys && html`<${rooms.Keys} words=${words} keys=${keysAt()} onClose=${() => (setHelping(false), focus(".more-button"))} />`}
      <${Tabs}
        words=${words}
        label=${words.say("filter")}
        keys=${FILTERS.filter((each) => rooms.isHome || each !== "discussions")}
        chosen=${filter}
        counts=${{ unread: state.unread, discussions: discussions.unread }}
        onChoose=${(/** @type {string} */ key) => {
          if (key === "discussions") rooms.want();
          sticky.clear();
          live.isAtEnd = true;
          live.goal = key === "unread" ? firstUnread() : null;
          setStartId(null);
          setFilter(key);
        }}
      />
      ${filter === "discussions" ? html`<${rooms.DiscussionList} client=${client} words=${words} rooms=${rooms} now=${panel.now} />` : html`
      ${inPlace &&
      html`<p class="in-place" part="in-place">
        <${Icon} name="place" /><bdi>${placeOf(host, inPlace) ?? words.say("place")}</bdi>
        <button type="button" class="link" onClick=${() => ((host.place = null), focus(".tab"))}>${words.say("place.all")}</button>
      </p>`}
      ${filter === "unread" &&
      state.unread > 0 &&
      html`<button type="button" class="link earlier-all" onClick=${() => (topic.read(), focus('.tab[aria-pressed="true"]'))}>${words.say("read.all")}</button>`}
      <div
        class="list"
        part="list"
        ref=${list}
        onScroll=${onScroll}
        onPointerOver=${point}
        onPointerLeave=${() => point(null)}
        onfocusin=${point}
        onfocusout=${() => point(null)}
        aria-busy=${isLoading}
      >
        ${!isLoading &&
        state.hasOlder &&
        start === 0 &&
        html`<button type="button" class="link earlier-all" onClick=${() => rooms.more(earlier)}>${words.say("earlier")}</button>`}
        ${isLoading && html`<p class="empty quiet" role="status">${problem ? "" : words.say("loading")}</p>`}
        ${!isLoading &&
        !threads.length &&
        html`<div class="empty" part="empty">
          ${inSlot(
            "empty",
            html`<p>${words.say(filter !== "all" ? `empty.${filter}` : inPlace ? "empty.place" : "empty")}</p>
              ${filter === "all" && mayWrite && html`<p class="quiet">${words.say("empty.invite")}</p>`}`,
          )}
        </div>`}
        ${inSight.length > 0 &&
        html`<ol class="threads">
          ${inSight.map(
            (/** @type {any} */ thread, /** @type {number} */ index) =>
              html`<li key=${thread.id}>
                <${Thread} panel=${panel} thread=${thread} index=${start + index} count=${threads.length} />
              </li>`,
          )}
        </ol>`}
      </div>
      <div class="foot" part="footer">
        ${!isAtEnd &&
        (state.unread > 0 || start < last || threads.length > 0) &&
        html`<button type="button" class="pill ${state.unread ? "fresh" : ""}" part="pill" onClick=${toEnd} aria-label=${state.unread ? null : words.say("new")}>
          ${state.unread > 0 && words.say("new.pill", { count: state.unread })}<${Icon} name="down" />
        </button>`}
        <p class="typing quiet" part="typing">
          ${state.typing.length > 0 &&
          words.say("typing", {
            count: state.typing.length,
            names: listed(words, state.typing.slice(0, 3).map((/** @type {any} */ { name }) => cut(name))),
          })}
        </p>
        ${!isLoading &&
        (mayWrite
          ? html`<${Composer}
              panel=${panel}
              isMain=${true}
              place=${panel.placeOf("new")}
              label=${words.say("write")}
              sendLabel=${words.say("send")}
              onSend=${(/** @type {string} */ text, /** @type {any} */ attached) => add({ text, ...attached })}
            />`
          : html`<p class="may-not quiet">${words.say(state.commenting ? "may.not" : "switched.off")}</p>`)}
        ${inSlot("footer", null)}
      </div>
      `}
      <p class="unseen" aria-live="polite">${said}</p>
    </aside>
  `;
}

/** The thread that has a comment. @param {readonly any[]} threads @param {string} commentId @returns {any} */
const threadWith = (threads, commentId) =>
  threads.find(({ comments }) => comments.some((/** @type {any} */ { id }) => id === commentId));

/** Where a thread belongs; null for nowhere. @param {any} thread */
const anchorOf = (thread) => thread?.comments[0].anchor ?? null;

/** The connection in words; empty while all is well. @param {any} words @param {any} connection @param {any} state */
function notice(words, connection, state) {
  if (connection.state === "signed_out" || connection.state === "offline" || connection.state === "connecting") {
    return words.say(connection.state);
  }
  if (connection.serving && !connection.serving.reads) return words.say("unreadable");
  if (connection.serving && !connection.serving.writes) return words.say("readonly");
  return state.state === "behind" ? words.say("behind") : "";
}

/** Who has it open; not shown while one does not hear who leaves, also not while that is caught up with.
 * @param {{words: any, state: any}} props */
export function Present({ words, state }) {
  const { present, typing } = state;
  const isSure = state.state === "live";
  if (!present.length) return null;
  const writes = new Set(typing.map((/** @type {any} */ { id }) => id));
  const names = listed(
    words,
    present.map((/** @type {any} */ { name }) => name),
  );
  return html`
    <div class="present ${isSure ? "" : "unsure"}" part="presence" role="img" aria-label=${words.say("present", { names })} title=${names}>
      ${present
        .slice(0, MOST_AVATARS)
        .map((/** @type {any} */ person) => html`<${Avatar} key=${person.id} person=${person} isTyping=${writes.has(person.id)} />`)}
      ${present.length > MOST_AVATARS && html`<span class="quiet">+${present.length - MOST_AVATARS}</span>`}
    </div>
  `;
}
