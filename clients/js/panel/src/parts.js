// Small things that others are made of.

import { html, useLayoutEffect, useReducer, useRef } from "./preact.js";
import { apart } from "./words.js";

/** What has something drawn anew. @returns {() => void} */
export function useRedraw() {
  const [, redraw] = useReducer((/** @type {number} */ count) => count + 1, 0);
  return /** @type {any} */ (redraw);
}

/**
 * What a store of the client shows, or what is looked up in that, drawn anew when it changes.
 * @param {any} store @param {(snapshot: any) => any} [look]
 */
export function useStore(store, look = (snapshot) => snapshot) {
  const redraw = useRedraw();
  const found = look(store.snapshot());
  const shown = useRef(/** @type {any} */ (null));
  shown.current = { found, look };
  useLayoutEffect(() => {
    // In the turn that has drawn it: what changed before an effect would run is never shown.
    return store.subscribe(() => shown.current.look(store.snapshot()) === shown.current.found || redraw());
  }, [store]);
  return found;
}

/** In the place of the discussions of a client, where none are looked for. */
export const NO_DISCUSSIONS = { snapshot: () => ({ discussions: [], unread: 0 }), subscribe: () => () => {} };

const HUES = 8;

/** One of eight colours of one's own. @param {string} id */
export function hueOf(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + /** @type {number} */ (character.codePointAt(0))) % 9973;
  return sum % HUES;
}

/** @param {{person: {id: string, initials?: string, name?: string}, isTyping?: boolean}} props */
export function Avatar({ person, isTyping = false }) {
  const names = (person.name ?? "").replace(/(\s)[^\p{L}\p{N}]+/gu, "$1").split(" "); // of `Sales (Europe)` SE
  const initials = person.initials || [names[0], names.length > 1 ? names[names.length - 1] : ""].map(([first = ""]) => first).join("");
  return html`<span class="avatar hue${hueOf(person.id)} ${isTyping ? "writes" : ""}" part="avatar" aria-hidden="true"
    >${initials}</span
  >`;
}

const STROKES = {
  react: "M8 14s1.5 2 4 2 4-2 4-2M9 9h.01M15 9h.01M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  resolve: "m5 12.5 4.5 4.5L19 7.5",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  down: "M12 5v14m-6-6 6 6 6-6",
  place: "M12 21s7-6.2 7-11.5A7 7 0 0 0 5 9.5C5 14.8 12 21 12 21Zm0-9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  bold: "M7 5h6a3.5 3.5 0 0 1 0 7H7Zm0 7h7a3.5 3.5 0 0 1 0 7H7Z",
  italic: "M10 5h8M6 19h8M14 5l-4 14",
  list: "M9 6h11M9 12h11M9 18h11M4.5 6h.01M4.5 12h.01M4.5 18h.01",
  code: "m8 8-4 4 4 4m8-8 4 4-4 4",
  view: "M4 6h16M7 12h10M10 18h4",
  bell: "M6 16V11a6 6 0 1 1 12 0v5l1.5 2h-15L6 16Zm4 4.5h4",
  muted: "M6 16V11a6 6 0 0 1 9.5-4.9M18 11v5l1.5 2h-15L6 16M10 20.5h4M4 4l16 16",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Zm4.7-1.8L20 20",
  back: "M19 12H5m6-6-6 6 6 6",
  close: "M6 6l12 12M18 6 6 18",
  lock: "M7 11V8a5 5 0 0 1 10 0v3M6 11h12v9H6z",
  add: "M12 5v14M5 12h14",
};

/** @param {{name: keyof typeof STROKES}} props */
export function Icon({ name }) {
  return html`<svg class="icon icon-${name}" viewBox="0 0 24 24" aria-hidden="true"><path d=${STROKES[name]} /></svg>`;
}

/** A number as there is room for it. @param {number} count */
export const most = (count) => (count > 99 ? "99+" : count);

/** How many, where it is more than none. @param {{count: number, label?: string}} props */
export function Count({ count, label }) {
  if (!count) return null;
  return html`<span class="count" role=${label ? "img" : null} aria-label=${label} aria-hidden=${label ? null : "true"}
    >${most(count)}</span
  >`;
}

/**
 * A row of buttons, one of which is chosen: what a list shows.
 * @param {object} props
 * @param {import("./words.js").Words} props.words
 * @param {string} props.label
 * @param {readonly string[]} props.keys of the words that they say
 * @param {string} props.chosen
 * @param {(key: string) => void} props.onChoose
 * @param {Record<string, number>} [props.counts] what stands beside some of them
 * @param {string} [props.counted] the words for such a count
 */
export function Tabs({ words, label, keys, chosen, onChoose, counts = {}, counted = "unread" }) {
  return html`<div class="filters" role="group" aria-label=${label}>
    ${keys.map(
      (key) => html`<button
        key=${key}
        type="button"
        class="tab"
        part="tab"
        aria-pressed=${key === chosen}
        onClick=${() => onChoose(key)}
      >
        ${words.say(key)}
        ${counts[key] > 0 && html`<${Count} count=${counts[key]} label=${words.say(counted, { count: counts[key] })} />`}
      </button>`,
    )}
  </div>`;
}

/**
 * The chip of a view that somebody's words came with; null where there is none, or nothing to say of it.
 * @param {any} host @param {import("./words.js").Words} words @param {string} whose words, for those who hear it
 * @param {{viewState?: any, topic?: string, comment?: any}} detail what is wanted when it is pressed
 */
export function viewChip(host, words, whose, detail) {
  const { viewState } = detail;
  const view = viewState && (host.describeView ? host.describeView(viewState) : words.say("view"));
  if (!view) return null;
  const apply = () => host.dispatchEvent(new CustomEvent("collab-apply", { bubbles: true, composed: true, detail }));
  return html`<button type="button" class="chip" part="view" onClick=${apply}>
    <${Icon} name="view" /><bdi>${view}</bdi><strong>${words.say("apply")}</strong>
    <span class="unseen">${whose}</span>
  </button>`;
}

const LINK = /https?:\/\/[^\s<>"\u202a-\u202e\u2066-\u2069]+/gu;

/** An address; null where the text is none. @param {string} text */
export function addressOf(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** Words with their links. @param {string} text */
export function withLinks(text) {
  const found = [];
  let end = 0;
  for (const { 0: whole, index } of text.matchAll(LINK)) {
    const address = whole.replace(/[.,;:!?)\]}'»”]+$/u, "");
    const place = addressOf(address);
    if (!place) continue;
    found.push(text.slice(end, index));
    found.push(linkTo(place, address, address));
    end = index + address.length;
  }
  found.push(text.slice(end));
  return found;
}

/**
 * A link. Where it leads is said after it, if its words are like an address and do not begin with that place: of the
 * server's name, since letters of two scripts may look the same, and what stands before an `@` is no place.
 * @param {URL} address @param {any} words as elements @param {string} said the same as a text @param {string} [title]
 */
export function linkTo(address, words, said, title) {
  const where = address.host || address.pathname;
  const read = said
    .replace(/[\p{DI}\p{M}\u2000-\u200a\u202f\u205f]/gu, "")
    .normalize("NFKC")
    .trim()
    .toLowerCase()
    .replace(/^(?:https?:\/\/|mailto:)/u, "");
  const isOpen = !PLACE.test(read) || (read.startsWith(where.toLowerCase()) && /^(?:[/?#:]|$)/u.test(read.slice(where.length)));
  return html`<a href=${address.href} title=${title || address.href} target="_blank" rel="noopener noreferrer nofollow ugc"
      >${words}</a
    >${!isOpen && html` <span class="quiet">(<bdi>${where}</bdi>)</span>`}`;
}

const PLACE = /[\p{L}\p{N}][.@\u3002\u00b7\u2027\u2219\u22c5\ua4f8][\p{L}\p{N}]/u; // and what looks like the dot of an address

/** Names as a list of the language. @param {import("./words.js").Words} words @param {string[]} names */
export function listed(words, names) {
  const list = new Intl.ListFormat(words.language, { type: "conjunction" });
  const whole = list.format(names);
  return list.format(names.map((name) => apart(name, whole)));
}

/** The refusal of a command in words. @param {import("./words.js").Words} words @param {any} problem */
export function inWords(words, problem) {
  const key = `refused.${problem?.code}`;
  return words.has(key) ? words.say(key) : (problem?.message ?? "");
}

/** The same as a sentence of its own. @param {import("./words.js").Words} words @param {any} problem */
export function inSentence(words, problem) {
  const [first = "", ...rest] = inWords(words, problem);
  return first.toLocaleUpperCase(words.language) + rest.join("");
}
