// Places of a dashboard: a page, a visualization, a data point.

/** @typedef {import("collab-client/wire").AnchorPayload} Anchor */

/**
 * What a new comment can have with it.
 * @typedef {object} Attachment
 * @property {string | null} [label] the view in words, for its chip
 * @property {{[key: string]: unknown} | null} [viewState] is attached when one wishes
 * @property {Anchor | null} [anchor] is attached unless one takes it away
 */

/** Whether something is at a place: what the place does not say may be anything. @param {any} anchor @param {any} place */
export function isAt(anchor, place) {
  return ["pageKey", "visualizationKey", "dataPoint"].every(
    (part) => place[part] === undefined || place[part] === null || isSame(anchor?.[part], place[part]),
  );
}

/** @param {any} one @param {any} other */
export function isSamePlace(one, other) {
  return one === other || Boolean(one && other && isAt(one, other) && isAt(other, one));
}

/** JSON that says the same, in whatever order. @param {any} one @param {any} other @returns {boolean} */
function isSame(one, other) {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => isSame(one[name], other[name]));
}

/** A place in words; null for none. @param {any} host @param {any} anchor @returns {string | null} */
export function placeOf(host, anchor) {
  return host.describePlace ? host.describePlace(anchor) : placeInWords(anchor);
}

/** @param {any} anchor */
function placeInWords({ pageKey, visualizationKey }) {
  return [pageKey, visualizationKey].filter((each) => typeof each === "string").join(" · ") || null;
}
