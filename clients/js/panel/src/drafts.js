// What is written and not sent: kept in this browser for the person who wrote it, over reloads and sign-outs.

const MOST = 20_000; // characters, twice what a comment may have

/**
 * @typedef {{kind: string, id: string, name: string}} Whom
 * @typedef {{text: string, whom: Whom[]}} Draft whom the text mentions, by the names that it has
 */

/** @type {Draft} */
export const NO_DRAFT = Object.freeze({ text: "", whom: [] });

const keyOf = (/** @type {string[]} */ place) => `collab-draft:${place.join(":")}`;

/** @param {string[]} place whose, of which topic, and of which thread @returns {Draft} */
export function draftAt(place) {
  try {
    const { text, whom } = JSON.parse(localStorage.getItem(keyOf(place)) ?? "");
    return typeof text === "string" && Array.isArray(whom) ? { text, whom } : NO_DRAFT;
  } catch {
    return NO_DRAFT; // none, or some pages may keep nothing
  }
}

/** @param {string[]} place @param {Draft} draft */
export function keepDraft(place, { text, whom }) {
  try {
    if (text.trim()) localStorage.setItem(keyOf(place), JSON.stringify({ text: text.slice(0, MOST), whom }));
    else localStorage.removeItem(keyOf(place));
  } catch {
    // it lives as long as the page, then
  }
}
