// What lies over what: the comments of the dashboard, and over them the inbox, the search, a discussion or another
// dashboard's comments, each with a way back.

import { focused, leaving } from "./going.js";
import { Panel } from "./panel.js";
import { keepFocus } from "./nearest.js";
import { inSentence } from "./parts.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";
import { Handle, raise } from "./sheet.js";
import { useLater } from "./undoing.js";

/**
 * @typedef {object} Wanted a comment to go to
 * @property {string} id
 * @property {boolean} [isFocused] whether the focus goes there, too
 */

/**
 * @typedef {object} Room
 * @property {"topic" | "inbox" | "search" | "discussions" | "begin" | "members"} kind
 * @property {string} [topic]
 * @property {Wanted | null} [wanted]
 * @property {any} [opener] what had the focus
 * @property {boolean} [isAside] of a search: one has gone on to what was found below it, and may come back
 * @property {any} [line] what had the focus in it then
 */

/** The other rooms, once they are there. @type {any} */
let known = null;
const TOAST = ""; // one is said at a time
const whenIdle = globalThis.requestIdleCallback ?? setTimeout;

/** How to go somewhere in an element, from without. @type {WeakMap<HTMLElement, (topic: string, commentId?: string | null) => void>} */
const doors = new WeakMap();

/** Show a topic in an element that has rooms. @param {HTMLElement} host @param {string} topic @param {string | null} [commentId] */
export function openIn(host, topic, commentId) {
  doors.get(host)?.(topic, commentId);
}

/** @param {any} props */
export function Rooms({ host, client, words, home, wanted, sheet = null, inPlace = null, onClose = null, ...given }) {
  const [stack, setStack] = useState(/** @type {Room[]} */ ([{ ...home, wanted }]));
  const { due, later: soon, undo } = useLater([]); // what is said at the end, and happens soon unless it is undone
  const [going] = due.values();
  const [others, setOthers] = useState(known);
  const box = useRef(/** @type {any} */ (null));
  const isComing = !others && stack.some(({ kind }) => kind !== "topic");
  const before = useRef({ opener: /** @type {any} */ (null), isAsked: onClose && isComing, hasGone: leaving(host) }).current;
  const spelled = (/** @type {string} */ topic) => client.topic(topic).name;

  useEffect(() => {
    if (stack[0].wanted !== wanted) setStack([{ ...stack[0], wanted }]);
  }, [wanted]);

  useLayoutEffect(() => {
    if (!before.isAsked) return;
    before.isAsked = isComing; // the focus waits for a room that is still to come
    const top = box.current.querySelector(".room:not([inert])");
    const back = before.opener?.isConnected && before.opener;
    before.opener = null;
    const first = back || top.querySelector("[data-first]") || top.querySelector("button, input, textarea");
    if (!before.hasGone()) first?.focus();
  }, [stack, others]);

  useLayoutEffect(() => keepFocus(box.current), []);
  useLayoutEffect(() => others && host.wear(others.STYLE), [others]);
  const load = async () => {
    known = await import("./later.js");
    setOthers(known);
  };
  useEffect(() => {
    whenIdle(() => load().catch(() => {})); // it is asked for again by whoever goes there
  }, []);
  /** For somebody who wants to see what comes with it. */
  const want = () => load().catch(() => tell(words.say("room.failed")));
  useEffect(() => {
    if (isComing) load().catch(() => (tell(words.say("room.failed")), cut(1)));
  }, [isComing]);

  /** The focus goes along, unless whoever goes there `hasGone` elsewhere. */
  const ask = (hasGone = leaving(host)) => {
    before.hasGone = hasGone;
    before.isAsked = true;
  };
  const cut = (/** @type {number} */ depth) => {
    before.opener = stack[depth]?.opener;
    ask();
    setStack(stack.slice(0, depth));
  };

  /** @param {Room} room */
  const enter = (room) => {
    raise(host, { target: host });
    const at = stack.findIndex((/** @type {Room} */ each) => each.kind === room.kind && (!room.topic || each.topic === room.topic));
    ask();
    if (at >= 0) {
      before.opener = room.line ?? stack[at + 1]?.opener;
      const known = { ...stack[at], isAside: false, ...(room.wanted && { wanted: room.wanted }) };
      const last = stack.slice(at + 1).at(-1);
      const search = last?.kind === "search" ? [{ ...last, isAside: true, line: focused() }] : [];
      setStack([...stack.slice(0, at), known, ...search]);
    } else {
      setStack([...stack, { ...room, opener: focused() }]);
    }
  };

  /** Go on to a room in the place of this one. @param {Room} room @param {() => boolean} [hasGone] */
  const replace = (room, hasGone) => {
    ask(hasGone);
    setStack([...stack.slice(0, -1), { ...room, opener: stack[stack.length - 1].opener }]);
  };

  /** @param {string} topic @param {string | null} [commentId] */
  const show = (topic, commentId) =>
    enter({ kind: "topic", topic: spelled(topic), wanted: commentId ? { id: commentId, isFocused: true } : null });

  useEffect(() => {
    doors.set(host, show);
  });

  /** Somebody wants to see a topic: the page may show it, a panel of the page does, or else it is shown here. */
  const open = (/** @type {string} */ topic, /** @type {string | null} */ commentId = null) => {
    const detail = { topic, commentId };
    const said = new CustomEvent("collab-open", { bubbles: true, composed: true, cancelable: true, detail });
    const panel = host.localName === "collab-panel" ? null : document.querySelector("collab-panel");
    if (!host.dispatchEvent(said)) {
      cut(1);
      onClose?.();
    } else if (panel && /** @type {any} */ (panel).client === client) {
      onClose?.();
      openIn(/** @type {HTMLElement} */ (panel), topic, commentId);
    } else {
      show(topic, commentId);
    }
  };

  const tell = (/** @type {string} */ text) => soon(TOAST, { text });
  /** Load more, for somebody who has asked for it. */
  const more = async (/** @type {() => Promise<unknown>} */ load) => {
    const done = client.connection.isLive ? load() : Promise.reject({ code: "no_answer" });
    await done.catch((/** @type {any} */ problem) => {
      tell(problem.code === "no_answer" ? words.say("room.failed") : inSentence(words, problem));
    });
  };
  const later = (/** @type {string} */ text, /** @type {() => Promise<unknown>} */ act) => {
    soon(TOAST, { text, act: () => act().catch((/** @type {any} */ problem) => tell(inSentence(words, problem))) });
    const hasGone = leaving(host);
    requestAnimationFrame(() => hasGone() || host.shadowRoot.querySelector(".toast button")?.focus());
  };

  const top = stack.findLastIndex(({ isAside }) => !isAside);
  const onAct = (/** @type {any} */ event) => raise(host, event);
  return html`
    <div class="house" onfocusin=${onAct} onClick=${onAct}>
      <${Handle} words=${words} host=${host} sheet=${sheet} />
      <div class="rooms" ref=${box}>
        ${stack.map((/** @type {Room} */ room, /** @type {number} */ index) => {
          const { kind, topic, wanted } = room;
          const isTop = index === top;
          const isHome = index === 0;
          const next = stack[index + 1];
          const leave = isHome ? (kind === "topic" ? null : onClose) : () => cut(index);
          const onBack = next?.isAside ? () => enter(next) : leave;
          const { Keys, DiscussionList = Coming } = others ?? {};
          const about = home.topic ? spelled(home.topic) : "";
          const rooms = { open, enter, replace, want, later, tell, more, isHome, isTop, onBack, leave, Keys, DiscussionList, home: about };
          return html`<div
            key=${`${kind}:${topic ?? ""}`}
            class="room ${kind}-room"
            inert=${!isTop}
            onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
              if (event.key !== "Escape" || event.defaultPrevented || !onBack) return;
              event.preventDefault();
              event.stopPropagation();
              onBack();
            }}
          >
            <${kind === "topic" ? Panel : (others?.[kind] ?? Coming)}
              host=${host}
              client=${client}
              words=${words}
              name=${topic}
              wanted=${wanted ?? null}
              rooms=${rooms}
              ...${given}
              inPlace=${isHome ? inPlace : null}
              attachment=${isHome ? given.attachment : null}
            />
          </div>`;
        })}
        ${going &&
        html`<p class="toast" role="status">
          <span>${going.text}</span>
          ${going.act && html`<button type="button" class="link" onClick=${() => undo(TOAST)}>${words.say("undo")}</button>`}
        </p>`}
      </div>
    </div>
  `;
}

function Coming() {
  return html`<section class="panel" aria-busy="true"></section>`;
}
