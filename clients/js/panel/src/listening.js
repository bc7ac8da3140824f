// Events of a page, heard for as long as something is shown.

import { useEffect } from "./preact.js";

/**
 * Hear events of a target.
 * @param {any} target
 * @param {string} types parted by spaces
 * @param {(event: any) => void} act
 * @param {boolean} [isFirst] before those whom the event is for
 * @returns {() => void} to hear no more
 */
export function listen(target, types, act, isFirst = false) {
  const all = types.split(" ");
  all.forEach((type) => target.addEventListener(type, act, isFirst));
  return () => all.forEach((type) => target.removeEventListener(type, act, isFirst));
}

/**
 * Have something done when what is shown goes, and when the page does.
 * @param {() => void} act
 * @param {any[]} of what is shown
 */
export function useEnd(act, of) {
  useEffect(() => {
    const end = listen(window, "pagehide", act);
    return () => {
      end();
      act();
    };
  }, of);
}
