// What a comment says: its text or, where it was written as markdown, the elements of its body.

import { pieces } from "./client.js";
import { addressOf, linkTo, withLinks } from "./parts.js";
import { html } from "./preact.js";

/** @typedef {{mentions: readonly any[], meId: string | undefined, isLink?: boolean}} Known whom the comment mentions, and
 *   who reads it */

const LEVELS = 12; // deeper than any body that a server makes

/** @type {{[type: string]: string}} */
const ELEMENTS = { paragraph: "p", quote: "blockquote", item: "li", bold: "strong", italic: "em", strike: "s" };

/** A comment as elements. @param {any} comment @param {string | undefined} meId */
export function Said({ text, body, mentions }, meId) {
  const known = { mentions, meId };
  return body ? body.map((/** @type {any} */ part) => shown(part, known, LEVELS)) : written(text, known);
}

/** A text as it is written, with its mentions and addresses. @param {string} text @param {Known} known */
function written(text, { mentions, meId }) {
  return pieces(text, mentions).map((/** @type {any} */ piece) =>
    piece.mention
      ? html`<bdi class="mention ${piece.mention.id === meId ? "mine" : ""}" part="mention">${piece.text}</bdi>`
      : withLinks(piece.text),
  );
}

/** @param {any} part of a body @param {Known} known @param {number} levels that are left @returns {any} */
function shown(part, known, levels) {
  const { type, children = [], text = "" } = part;
  if (levels < 0) return null;
  const inner = () => children.map((/** @type {any} */ child) => shown(child, known, levels - 1));
  switch (type) {
    case "text":
      return known.isLink ? text : withLinks(text);
    case "break":
      return html`<br />`;
    case "code":
      return html`<code dir="ltr">${text}</code>`;
    case "codeBlock":
      return html`<pre dir="ltr" tabindex="0"><code>${text}</code></pre>`;
    case "mention":
      return written(`@[${part.name}](${part.kind}:${part.id})`, known);
    case "list":
      return part.start === undefined ? html`<ul>${inner()}</ul>` : html`<ol start=${part.start}>${inner()}</ol>`;
    case "link":
      return link(part, children.map((/** @type {any} */ child) => shown(child, { ...known, isLink: true }, levels - 1)));
    default:
      return ELEMENTS[type] ? html`<${ELEMENTS[type]} dir=${type === "paragraph" ? "auto" : null}>${inner()}<//>` : text || inner();
  }
}

/** @param {any} part @param {any} words */
function link({ url, title, children }, words) {
  const address = addressOf(url);
  if (!address || !/^(?:https?|mailto):$/u.test(address.protocol)) return words;
  return linkTo(address, words, plain(children), title);
}

/** @param {readonly any[]} parts @returns {string} */
const plain = (parts = []) => parts.map(({ text, children }) => text ?? plain(children)).join("");

/** @param {any} part of a body @returns {string} */
const inLine = ({ type, text, name, children = [] }) =>
  type === "mention" ? `@${name}` : type === "break" ? " " : (text ?? lineOf(children, /list|quote/u.test(type) ? " " : ""));

const lineOf = (/** @type {readonly any[]} */ parts, /** @type {string} */ between) => parts.map(inLine).join(between);

const MOST_NAMED = 40; // characters

/**
 * The name of a control that stands at a comment, for those who do not see at which: with how that begins.
 * @param {any} words @param {string} label @param {any} comment @param {string} [name] whose it is, where that is not said yet
 */
export function named(words, label, comment, name) {
  const letters = [...lineOfComment(comment)];
  const line = letters.slice(0, MOST_NAMED).join("") + (letters.length > MOST_NAMED ? "…" : "");
  const text = name && line ? words.say("said", { name, text: line }) : name || line;
  return text ? words.say("at", { label, text }) : label;
}

/** What a comment says as words of one line. @param {any} comment @returns {string} */
export function lineOfComment({ text, body, mentions }) {
  return body ? lineOf(body, " ") : lineOf(pieces(text, mentions), "");
}
