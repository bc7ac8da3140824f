// Mentions in texts.

/** @import { Mention } from "../types/wire.js" */

// The grammar of docs/protocol.md, as the server reads texts by.
const MENTION = /@\[((?:(?!\]\(|@\[)[^\n]){1,256})\]\((user|group):([A-Za-z0-9._~@+-]{1,64})\)/gu;

/**
 * A piece of a text: words, or somebody's name.
 * @typedef {{text: string, mention?: undefined} | {text: string, mention: Mention}} Piece
 */

/**
 * The mention of somebody, to be put into a text. What would end it early, or begin another one, in a name, is parted.
 * @param {{kind: string, id: string, name: string}} whom
 */
export const mention = ({ kind, id, name }) => `@[${name.replace(/](?=\()|@(?=\[)/g, "$& ")}](${kind}:${id})`;

/**
 * Whom a text mentions, each once, by the names that the text has for them.
 * @param {string} text
 * @returns {Mention[]}
 */
export function mentionsOf(text) {
  const found = new Map();
  for (const [, name, kind, id] of text.matchAll(MENTION)) found.set(kind + id, { kind, id, name });
  return [...found.values()];
}

/**
 * A comment's text as people read it. A mention that is not among the comment's is none.
 * @param {string} text
 * @param {readonly Mention[]} mentions the comment's
 * @returns {Piece[]} in order; put together, their `text` is what is read
 */
export function pieces(text, mentions) {
  const known = new Map(mentions.map((each) => [each.kind + each.id, each]));
  /** @type {Piece[]} */ const found = [];
  let end = 0;
  for (const { 0: whole, 2: kind, 3: id, index: at } of text.matchAll(MENTION)) {
    // Library's ids are in upper case there, and in any case in texts.
    const mention = known.get(kind + id) ?? known.get(kind + id.toUpperCase());
    if (!mention) continue;
    if (at > end) found.push({ text: text.slice(end, at) });
    found.push({ text: "@" + mention.name, mention });
    end = at + whole.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}
