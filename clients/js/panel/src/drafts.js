// What is written and not sent: kept in this browser for the person who wrote it, over reloads and sign-outs.

import { listen } from "./listening.js";

const MOST = 20_000; // characters, twice what a comment may have

/**
 * @typedef {{kind: string, id: string, name: string}} Whom
 * @typedef {{text: string, whom: Whom[], of?: string}} Draft whom the text mentions, by the names that it has; of a change,
 *   what the comment said before it
 */

/** @type {Draft} */
export const NO_DRAFT = Object.freeze({ text: "", whom: [] });

const keyOf = (/** @type {string[]} */ place) => `collab-draft:${place.join(":")}`;

/** @param {() => string | null} get @returns {Draft} */
function read(get) {
  try {
    const { text, whom, of } = JSON.parse(get() ?? "");
    const isOne = typeof text === "string" && whom.every((/** @type {Whom} */ each) => typeof each.name === "string");
    return isOne ? { text, whom, of } : NO_DRAFT;
  } catch {
    return NO_DRAFT; // none, or it is no draft, or some pages may keep nothing
  }
}

/** @param {string[]} place whose, of which topic, and of which thread */
export const draftAt = (place) => read(() => localStorage.getItem(keyOf(place)));

/**
 * Hear when another window writes there, or has sent it.
 * @param {string[]} place
 * @param {(before: string, now: Draft) => void} act is told which text was kept until then
 * @returns {() => void} to hear no more
 */
export function onDraft(place, act) {
  return listen(globalThis, "storage", ({ key, oldValue, newValue }) => {
    if (key === keyOf(place)) act(read(() => oldValue).text, read(() => newValue));
  });
}

/** @param {string[]} place @param {Draft} draft */
export function keepDraft(place, { text, whom, of }) {
  try {
    if (text.trim()) localStorage.setItem(keyOf(place), JSON.stringify({ text: text.slice(0, MOST), whom, of }));
    else localStorage.removeItem(keyOf(place));
  } catch {
    // it lives as long as the page, then
  }
}
