// The search: what was said here, or anywhere that one may read.

import { pieces } from "./client.js";
import { Head } from "./head.js";
import { Avatar, inSentence, Tabs, useStore } from "./parts.js";
import { html, useEffect, useRef, useState } from "./preact.js";
import { whereOf } from "./telling.js";
import { useWindow } from "./window.js";

const ASK_MS = 300;
const MOST_PAGES = 5; // that may be empty, before somebody has to say that they want more
const AROUND = 60; // code points before what was found
const MOST_SHOWN = 280;
const HERE = "search.here";

/** @param {any} props */
export function Search({ client, words, host, name, rooms }) {
  const { state } = useStore(client.connection);
  const isLive = state === "live";
  const [query, setQuery] = useState("");
  const [isHere, setHere] = useState(true);
  /** @type {[{items: any[], next: string | null, isDone: boolean}, any]} */
  const [found, setFound] = useState(NOTHING);
  const [isAsking, setAsking] = useState(false);
  const [problem, setProblem] = useState("");
  const run = useRef(0);
  const list = useRef(/** @type {any} */ (null));
  const field = useRef(/** @type {any} */ (null));

  /** @param {any[]} items @param {string | null} cursor @param {number} number */
  const ask = async (items, cursor, number) => {
    setAsking(true);
    setProblem("");
    try {
      for (let page = 0, next = cursor; page < MOST_PAGES; page += 1) {
        const answer = await client.ask("comments.search", {
          q: query.trim(),
          ...(isHere && { topic: name }),
          ...(next && { cursor: next }),
        });
        if (number !== run.current) return;
        next = answer.next;
        if (answer.items.length || !next || page === MOST_PAGES - 1) {
          setFound({ items: [...items, ...answer.items], next, isDone: true });
          break;
        }
      }
    } catch (refused) {
      if (number !== run.current) return;
      setProblem(inSentence(words, refused));
    }
    setAsking(false);
  };

  useEffect(() => {
    const number = ++run.current;
    setFound(NOTHING);
    setProblem("");
    setAsking(false);
    if (!query.trim() || !isLive) return undefined; // it is looked for once the connection is back
    const timer = setTimeout(() => ask([], null, number), ASK_MS);
    return () => clearTimeout(timer);
  }, [query, isHere, name, isLive]);
  useEffect(
    () => () => {
      run.current += 1;
    },
    [],
  );

  const { items, next, isDone } = found;
  const more = () => {
    if (!isAsking && next) ask(items, next, run.current);
  };
  const { inSight, onScroll } = useWindow(list, items, ({ comment }) => comment.id, more);
  const now = Date.now();
  const step = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    const lines = [...list.current.querySelectorAll("button.line")];
    const at = lines.indexOf(host.shadowRoot.activeElement);
    const to = at < 0 ? (by > 0 ? lines[0] : null) : at + by < 0 ? field.current : lines[at + by];
    if (to) {
      event.preventDefault();
      to.focus();
    }
  };
  const title = words.say("search");
  return html`
    <section class="panel" part="panel search" role="search" aria-label=${title} onKeyDown=${step}>
      <${Head} words=${words} rooms=${rooms} isFirst=${false}>
        <input
          ref=${field}
          data-first
          type="search"
          dir="auto"
          maxlength="200"
          autocomplete="off"
          aria-label=${title}
          placeholder=${title}
          value=${query}
          onInput=${(/** @type {any} */ event) => setQuery(event.target.value)}
        />
      <//>
      <${Tabs}
        words=${words}
        label=${words.say("search.where")}
        keys=${[HERE, "search.everywhere"]}
        chosen=${isHere ? HERE : "search.everywhere"}
        onChoose=${(/** @type {string} */ key) => setHere(key === HERE)}
      />
      <div class="list" part="list" ref=${list} onScroll=${onScroll} aria-busy=${isAsking ? "true" : "false"}>
        ${problem && html`<p class="wrong" role="alert">${problem}</p>`}
        ${!isLive && html`<p class="empty quiet" role="status">${words.say("inbox.offline")}</p>`}
        ${isLive && !query.trim() && html`<p class="empty quiet">${words.say("search.hint")}</p>`}
        ${isAsking && !items.length && html`<p class="empty quiet">${words.say("searching")}</p>`}
        ${isDone &&
        !items.length &&
        !next &&
        html`<div class="empty" part="empty">
          <p>${words.say("search.nothing")}</p>
          ${isHere &&
          html`<button type="button" class="link" onClick=${() => (setHere(false), field.current.focus())}>
            ${words.say("search.elsewhere")}
          </button>`}
        </div>`}
        ${inSight.length > 0 &&
        html`<ol class="lines">
          ${inSight.map(
            ({ comment, highlights }) => html`<li key=${comment.id} data-key=${comment.id}>
              <button type="button" class="line" part="found" onClick=${() => rooms.open(comment.topic, comment.id)}>
                <${Avatar} person=${comment.author} />
                <span class="what">
                  <span class="first">
                    <bdi class="name">${comment.author.name}</bdi>
                    <time class="quiet" datetime=${comment.createdAt} title=${words.exact(comment.createdAt)}
                      >${words.ago(comment.createdAt, now)}</time
                    >
                  </span>
                  <span class="snippet" dir="auto">${marked(comment, highlights)}</span>
                  ${!isHere &&
                  html`<span class="quiet cut"
                    ><bdi>${comment.topic === rooms.home ? words.say("inbox.here") : whereOf(words, host, comment.topic)}</bdi></span
                  >`}
                </span>
              </button>
            </li>`,
          )}
        </ol>`}
        ${next &&
        isDone &&
        html`<button type="button" class="link earlier-all" disabled=${isAsking} onClick=${more}>
          ${words.say(isAsking ? "searching" : "search.more")}
        </button>`}
      </div>
      <p class="unseen" role="status">
        ${isAsking ? words.say("searching") : isDone && words.say("search.found", { count: items.length })}
      </p>
    </section>
  `;
}

const NOTHING = { items: [], next: null, isDone: false };

/**
 * What was found in a text, marked, with what stands around the first of it.
 * @param {{text: string, mentions: any[]}} comment
 * @param {[number, number][]} highlights in code points of the text as it is stored
 */
export function marked({ text, mentions }, highlights) {
  // Where each mark begins and ends in the string, which counts in other units.
  const starts = [0];
  for (const character of text) starts.push(starts[starts.length - 1] + character.length);
  const spans = highlights.map(([at, count]) => [starts[at] ?? text.length, starts[at + count] ?? text.length]);
  /** @type {[text: string, isMarked: boolean][]} */ const parts = [];
  const add = (/** @type {string} */ piece, /** @type {boolean} */ isMarked) => piece && parts.push([piece, isMarked]);
  let at = 0;
  for (const piece of pieces(text, mentions)) {
    // What a mention is stored as is longer than what is read of it.
    const end = piece.mention ? text.indexOf(")", text.indexOf("](", at)) + 1 : at + piece.text.length;
    if (piece.mention) {
      add(piece.text, spans.some(([from, to]) => from < end && to > at));
    } else {
      let done = at;
      for (const [from, to] of spans) {
        if (to <= done || from >= end) continue;
        add(text.slice(done, Math.max(done, from)), false);
        add(text.slice(Math.max(done, from), Math.min(to, end)), true);
        done = Math.min(to, end);
      }
      add(text.slice(done, end), false);
    }
    at = end;
  }
  const first = parts.findIndex(([, isMarked]) => isMarked);
  const before = [...parts.slice(0, Math.max(0, first)).map(([part]) => part).join("")];
  const start = before.length > AROUND ? `…${before.slice(-AROUND).join("")}` : before.join("");
  /** @type {any[]} */ const shown = [start];
  let left = MOST_SHOWN;
  for (const [part, isMarked] of parts.slice(Math.max(0, first))) {
    let letters = [...part];
    if (letters.length > left) letters = [...letters.slice(0, left), "…"];
    left -= letters.length;
    shown.push(isMarked ? html`<mark>${letters.join("")}</mark>` : letters.join(""));
    if (left <= 0) break;
  }
  return shown;
}
