// On a narrow screen the panel is a sheet from below: only its title, half of the screen, or all of it.

import { html, useRef } from "./preact.js";

const HEIGHTS = ["low", "half", "full"];
const FAR = 48; // pixels that one draws to mean it

/**
 * What makes the sheet higher and lower, by a key, a touch, or by drawing at it.
 * @param {{words: any, host: any, sheet: string | null}} props
 */
export function Handle({ words, host, sheet }) {
  const drawn = useRef({ from: 0, isDrawn: false }).current;
  const at = Math.max(0, HEIGHTS.indexOf(sheet || "half"));
  const next = HEIGHTS[(at + 1) % HEIGHTS.length];
  const set = (/** @type {string} */ height) => host.setAttribute("sheet", height);

  if (sheet === null) return null;
  return html`<button
    type="button"
    class="handle"
    part="handle"
    aria-label=${words.say(`sheet.${next}`)}
    onClick=${(/** @type {MouseEvent} */ event) => {
      // One that ends drawing is none; that of a key has no place.
      if (!drawn.isDrawn || event.detail === 0) set(next);
    }}
    onPointerDown=${(/** @type {PointerEvent} */ event) => {
      drawn.from = event.clientY;
      drawn.isDrawn = false;
      /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    }}
    onPointerUp=${(/** @type {PointerEvent} */ event) => {
      const way = event.clientY - drawn.from;
      if (Math.abs(way) < FAR) return;
      drawn.isDrawn = true;
      set(HEIGHTS[Math.min(2, Math.max(0, at + (way < 0 ? 1 : -1)))]);
    }}
  ></button>`;
}

export const NARROW = "(max-width: 719px)";

/** Make the sheet as high as somebody needs it who does something in it. @param {any} host @param {any} event */
export function raise(host, { type, target }) {
  const sheet = host.getAttribute("sheet");
  if (sheet === null || !matchMedia(NARROW).matches) return;
  // Where a keyboard takes half of the screen, who writes needs the rest.
  if (target.localName === "textarea") host.setAttribute("sheet", "full");
  // What is pressed does not move away before it is.
  else if (sheet === "low" && type !== "focusin" && target.className !== "handle") host.setAttribute("sheet", "half");
}
