// The search: what was said here, or anywhere that one may read.

import { foundIn } from "./found.js";
import { Head } from "./head.js";
import { Avatar, inSentence, Tabs, useStore } from "./parts.js";
import { html, useEffect, useRef, useState } from "./preact.js";
import { whereOf } from "./telling.js";
import { useWindow } from "./window.js";

const ASK_MS = 300;
const MOST_PAGES = 5; // that may be empty, before somebody has to say that they want more
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
      const { code } = /** @type {any} */ (refused);
      // Of a query all that can be wrong is that it has no word.
      setProblem(code === "invalid" ? words.say("search.words") : inSentence(words, refused));
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
      <div class="list" part="list" ref=${list} onScroll=${onScroll} aria-busy=${isAsking}>
        ${problem && html`<p class="wrong" role="alert">${problem}</p>`}
        ${!isLive && html`<p class="empty quiet" role="status">${words.say("offline.later")}</p>`}
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
                    <bdi class="name" title=${comment.author.name}>${comment.author.name}</bdi>
                    <time class="quiet" datetime=${comment.createdAt} title=${words.exact(comment.createdAt)}
                      >${words.ago(comment.createdAt, now)}</time
                    >
                  </span>
                  <span class="snippet" dir="auto">${foundIn(comment, highlights).map(([part, isFound]) => (isFound ? html`<mark>${part}</mark>` : part))}</span>
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
        html`<button type="button" class="link earlier-all" aria-disabled=${isAsking} onClick=${more}>
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
