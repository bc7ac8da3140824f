// What has the focus may go: a button whose work is done, a comment of somebody who is out. Then what was nearest to it
// gets it, so that keys still reach the panel.

import { focused } from "./going.js";

const FOCUSABLE = "button, textarea, input, [tabindex]";

/** Give the focus to the first that takes it: what is hidden does not. @param {any[]} elements */
const focusFirst = (elements) => elements.some((each) => (each.focus(), each.matches(":focus")));

/**
 * See to it in a box of rooms: what followed gets it, or what was before, rather a thread than the last button in it, of
 * the smallest part in which there is something.
 * @param {any} box @returns {() => void} what ends that
 */
export function keepFocus(box) {
  let at = box.getRootNode().activeElement; // what has the focus
  let last = box; // what had it until then
  const gap = new Range(); // where it is, also once it is gone
  const onFocus = (/** @type {any} */ { target }) => {
    last = at ?? last;
    gap.selectNode((at = target));
  };
  const onBlur = () => queueMicrotask(() => at?.isConnected && !at.matches(":focus") && (at = null));
  const look = () => {
    if (!at || at.isConnected) return;
    at = null;
    if (focused()) return;
    const room = box.querySelector(".room:not([inert])");
    const all = [...room.querySelectorAll(FOCUSABLE)];
    for (let near = /** @type {any} */ (gap.startContainer); room.contains(near); near = near.parentElement) {
      const around = all.filter((each) => near.contains(each));
      const isAfter = (/** @type {any} */ each) => gap.comparePoint(each, 0) > 0;
      const before = around.filter((each) => !isAfter(each)).reverse();
      if (focusFirst([...around.filter(isAfter), ...before.sort((one, other) => one.tabIndex - other.tabIndex)])) return;
    }
    focusFirst([last, ...all]); // what is gone lay over the rooms
  };
  if (at) gap.selectNode(at);
  const observer = new MutationObserver(look);
  observer.observe(box, { childList: true, subtree: true });
  box.addEventListener("focusin", onFocus);
  box.addEventListener("focusout", onBlur);
  return () => observer.disconnect(); // nobody hears of a box that is gone
}
