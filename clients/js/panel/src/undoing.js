// What cannot be taken back is done a little later, so that it can be.

import { useEnd } from "./listening.js";
import { useRedraw } from "./parts.js";
import { useRef } from "./preact.js";

/** @typedef {{text?: string, act?: () => void}} Soon what is said until then, and what happens unless it is undone */

const UNDO_MS = 6000;

/** What happens soon, by what it is about; at the latest when what is shown goes. @param {any[]} of what is shown */
export function useLater(of) {
  const redraw = useRedraw();
  const due = useRef(/** @type {Map<string, Soon & {timer: any}>} */ (new Map())).current;
  /** It does not happen. @param {string} key */
  const undo = (key) => {
    clearTimeout(due.get(key)?.timer);
    if (due.delete(key)) redraw();
  };
  /** It happens now. @param {string} key */
  const finish = (key) => {
    const soon = due.get(key);
    undo(key);
    soon?.act?.();
  };
  /** It happens later; what was to happen to the same does now. @param {string} key @param {Soon} soon */
  const later = (key, soon) => {
    finish(key);
    due.set(key, { ...soon, timer: setTimeout(() => finish(key), UNDO_MS) });
    redraw();
  };
  useEnd(() => [...due.keys()].forEach(finish), of);
  return { due, undo, later };
}
