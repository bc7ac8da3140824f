// What one reads of a comment where it was found: its words, without the signs that give them their form.

import { pieces } from "./client.js";

const AROUND = 60; // code points before what was found
const MOST_SHOWN = 280;
const SIGN = /^[\s!-/:-@[-`{-~]$/u; // what markdown has for signs, and may have been escaped or left out
const WORDS = /[^\s!-/:-@[-`{-~]+|./gsu;

/** @typedef {{shown: string, from: number, to: number}} Piece what is read, and where in the text it is written: in as
 *   many units, or in others, as a mention is */

/**
 * What was found in a comment, with what stands around the first of it.
 * @param {{text: string, body?: any[] | null, mentions: any[]}} comment
 * @param {readonly [number, number][]} highlights in code points of the text as it is stored
 * @returns {[text: string, isFound: boolean][]} not all of a long comment
 */
export function foundIn(comment, highlights) {
  const { text } = comment;
  // Where each mark begins and ends in the string, which counts in other units.
  const starts = [0];
  for (const character of text) starts.push(starts[starts.length - 1] + character.length);
  const spans = highlights.map(([at, count]) => [starts[at] ?? text.length, starts[at + count] ?? text.length]);
  /** @type {[text: string, isFound: boolean][]} */ const parts = [];
  const add = (/** @type {string} */ piece, /** @type {boolean} */ isFound) => {
    const last = parts[parts.length - 1];
    if (last && last[1] === isFound) last[0] += piece;
    else if (piece) parts.push([piece, isFound]);
  };
  for (const { shown, from, to } of readPieces(comment)) {
    const inside = spans.filter(([start, end]) => start < to && end > from);
    if (shown.length !== to - from) {
      add(shown, inside.length > 0);
      continue;
    }
    let done = from;
    for (const [start, end] of inside) {
      add(shown.slice(done - from, Math.max(done, start) - from), false);
      add(shown.slice(Math.max(done, start) - from, end - from), true);
      done = Math.min(end, to);
    }
    add(shown.slice(done - from), false);
  }
  return around(parts);
}

/** @param {[text: string, isFound: boolean][]} parts @returns {[text: string, isFound: boolean][]} */
function around(parts) {
  const first = Math.max(0, parts.findIndex(([, isFound]) => isFound));
  const before = [...parts.slice(0, first).map(([part]) => part).join("")];
  const start = before.length > AROUND ? `…${before.slice(-AROUND).join("")}` : before.join("");
  /** @type {[text: string, isFound: boolean][]} */ const shown = start ? [[start, false]] : [];
  let left = MOST_SHOWN;
  for (const [part, isFound] of parts.slice(first)) {
    let letters = [...part];
    if (letters.length > left) letters = [...letters.slice(0, left), "…"];
    left -= letters.length;
    shown.push([letters.join(""), isFound]);
    if (left <= 0) break;
  }
  return shown;
}

/** @param {{text: string, body?: any[] | null, mentions: any[]}} comment @returns {Iterable<Piece>} */
function* readPieces({ text, body, mentions }) {
  let at = 0;
  const end = () => text.indexOf(")", text.indexOf("](", at)) + 1; // of the mention that is written there
  if (!body) {
    for (const piece of pieces(text, mentions)) {
      const to = piece.mention ? end() : at + piece.text.length;
      yield { shown: piece.text, from: at, to };
      at = to;
    }
    return;
  }
  for (const { type, said } of leaves(body)) {
    if (type === "sign") {
      yield { shown: said, from: at, to: at };
    } else if (type === "url") {
      const to = at + 2 + said.length;
      if (text.slice(at, to) === `](${said}`) at = to;
    } else if (type === "mention") {
      at = Math.max(at, text.indexOf("@[", at));
      const [{ text: shown }] = pieces(said, mentions);
      yield { shown, from: at, to: Math.max(at, end()) };
      at = Math.max(at, end());
    } else {
      // Its words stand in the text as they are; signs may have been escaped there, and blocks are set in.
      for (const word of said.match(WORDS) ?? []) {
        const isSign = SIGN.test(word) && !text.startsWith(word, at);
        const from = isSign ? -1 : text.indexOf(word, at);
        yield { shown: word, from: Math.max(at, from), to: from < 0 ? at : (at = from + word.length) };
      }
    }
  }
}

/**
 * What of a body is read, in order. @param {readonly any[]} parts @param {number} [number] of the first item
 * @returns {Iterable<{type: string, said: string}>} `sign`: what stands so in no text; `url`: what is not read
 */
function* leaves(parts, number = 0) {
  for (const [place, { type, text, children = [], name, kind, id, url, start = 0 }] of parts.entries()) {
    if (type === "mention") yield { type, said: `@[${name}](${kind}:${id})` };
    else if (type === "break") yield { type: "sign", said: "\n" };
    else if (text) yield { type, said: text };
    if (type === "item") yield { type: "sign", said: number ? `${number + place}. ` : "- " };
    yield* leaves(children, start);
    if (type === "paragraph" || type === "codeBlock") yield { type: "sign", said: "\n" };
    if (type === "link") yield { type: "url", said: url };
  }
}
