// What is read: a comment that was in sight for a second while the window had the focus.

import { useEffect, useRef } from "./preact.js";

const TICK_MS = 250;
const READ_MS = 1000;

/**
 * Mark as read what is seen. What is read is one number, so it goes as far as there is nothing before it that was not seen.
 * @param {{topic: any, state: any, list: {current: any}, isUnread: (comment: any) => boolean, isPaused: () => boolean}} of
 */
export function useReading({ topic, state, list, isUnread, isPaused }) {
  const seen = useRef(/** @type {Map<string, number>} */ (new Map())).current; // for how long
  const hasUnread = state.unread > 0 && state.state !== "closed";
  const now = useRef({ state, isUnread, isPaused });
  now.current = { state, isUnread, isPaused };

  useEffect(() => {
    if (!hasUnread) return undefined;
    const look = () => {
      if (!list.current || now.current.isPaused() || document.visibilityState !== "visible" || !document.hasFocus()) return;
      const { top, bottom, height } = list.current.getBoundingClientRect();
      for (const element of list.current.querySelectorAll("[data-unread]")) {
        const place = element.getBoundingClientRect();
        const shown = Math.min(place.bottom, bottom) - Math.max(place.top, top);
        if (shown < Math.min(place.height, height) / 2) continue;
        const before = seen.get(element.dataset.comment) ?? 0;
        seen.set(element.dataset.comment, before + TICK_MS);
      }
      mark();
    };
    const mark = () => {
      const { state, isUnread } = now.current;
      const unread = state.threads
        .filter((/** @type {any} */ thread) => thread.unread)
        .flatMap((/** @type {any} */ { comments }) => comments.filter(isUnread))
        .sort((/** @type {any} */ one, /** @type {any} */ other) => one.seq - other.seq);
      if (unread.length < state.unread) return; // older ones are not loaded: nobody has seen them
      let seq = 0;
      for (const comment of unread) {
        if ((seen.get(comment.id) ?? 0) < READ_MS) break;
        seq = comment.seq;
      }
      if (seq) topic.read(seq);
    };
    const timer = setInterval(look, TICK_MS);
    return () => clearInterval(timer);
  }, [hasUnread, topic]);
}
