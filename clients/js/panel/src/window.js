// A long list of which only what is near is in the document. It begins at its top; nothing moves under the pointer.

import { useLayoutEffect, useRef, useState } from "./preact.js";

const MOST = 60; // in the document
const STEP = 20;
const NEAR = 400; // pixels from an end, where more is shown

/**
 * @template Item
 * @param {{current: any}} list what scrolls; each item in it has its key as `data-key`
 * @param {Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {() => void} [onEnd] the last of them is near
 */
export function useWindow(list, items, keyOf, onEnd) {
  const [first, setFirst] = useState(/** @type {string | null} */ (null));
  const anchor = useRef(/** @type {{key: string, top: number} | null} */ (null));
  const scrolled = useRef(0);
  const last = Math.max(0, items.length - MOST);
  const found = first === null ? 0 : items.findIndex((item) => keyOf(item) === first);
  const start = Math.min(Math.max(0, found), last);

  const remember = () => {
    const scroller = list.current;
    anchor.current = null;
    scrolled.current = scroller?.scrollTop;
    if (!scroller || scroller.scrollTop < 1) return; // at the top one stays there
    const { top } = scroller.getBoundingClientRect();
    for (const element of scroller.querySelectorAll("[data-key]")) {
      const place = element.getBoundingClientRect();
      if (place.bottom <= top) continue;
      anchor.current = { key: element.dataset.key, top: place.top - top };
      break;
    }
  };

  // A browser tells of scrolling a frame later. What is drawn before that, from here on, would take it back.
  if (list.current && list.current.scrollTop !== scrolled.current) remember();

  useLayoutEffect(() => {
    const scroller = list.current;
    if (!scroller) return;
    if (anchor.current) {
      const { key, top } = anchor.current;
      const element = scroller.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (element) scroller.scrollTop += element.getBoundingClientRect().top - scroller.getBoundingClientRect().top - top;
    }
    remember();
  });

  const onScroll = () => {
    const scroller = list.current;
    remember();
    const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    const at = (/** @type {number} */ index) => setFirst(index <= 0 ? null : keyOf(items[Math.min(index, last)]));
    if (below < NEAR && start < last) at(start + STEP);
    else if (scroller.scrollTop < NEAR && start > 0) at(start - STEP);
    else if (below < NEAR) onEnd?.();
  };

  return { inSight: items.slice(start, start + MOST), start, onScroll };
}
