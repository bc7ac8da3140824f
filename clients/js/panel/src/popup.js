// A button, and what it opens: a menu, or a few buttons in a grid. Arrow keys go about; Escape closes, and gives back the focus.

import { listen } from "./listening.js";
import { Icon } from "./parts.js";
import { html, useLayoutEffect, useRef, useState } from "./preact.js";

const COLUMNS = 4; // of a grid

/**
 * @typedef {object} Item
 * @property {string} key
 * @property {any} label what it says
 * @property {string} [name] the same for those who hear it, where that is not enough
 * @property {() => void} act
 */

/**
 * @param {object} props
 * @param {string} props.label of the button, and of what it opens
 * @param {any} props.icon
 * @param {(Item | false | null | undefined | 0)[]} props.items
 * @param {string} [props.name] a class of the button
 * @param {boolean} [props.isGrid] of emojis: no menu
 */
export function Popup({ label, icon, items, name = "", isGrid = false }) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef(/** @type {any} */ (null));
  useLayoutEffect(() => {
    if (!isOpen) return undefined;
    const popup = box.current.querySelector(".popup");
    popup.querySelector("button").focus();
    popup.scrollIntoView({ block: "nearest" });
    return listen(document, "pointerdown", (event) => event.composedPath().includes(box.current) || setOpen(false));
  }, [isOpen]);
  const close = () => {
    setOpen(false);
    box.current.querySelector("button").focus();
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (!isOpen) return;
    const buttons = [...box.current.querySelectorAll(".popup button")];
    const at = buttons.indexOf(box.current.getRootNode().activeElement);
    const on = getComputedStyle(box.current).direction === "rtl" ? -1 : 1; // where the next one is: to the right or left
    const down = isGrid ? COLUMNS : 1;
    const step = { ArrowDown: down, ArrowRight: on, ArrowUp: -down, ArrowLeft: -on }[event.key];
    if (event.key === "Escape") close();
    else if (event.key === "Tab") setOpen(false);
    else if (event.key === "Home" || event.key === "End") buttons.at(event.key === "Home" ? 0 : -1).focus();
    else if (step && at >= 0) buttons.at((at + step + buttons.length) % buttons.length).focus();
    else if (event.key === "Enter" || event.key === " ") return;
    else {
      event.stopPropagation(); // no key of the panel while it is open
      return;
    }
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  };
  return html`
    <span class="popup-box" ref=${box} onKeyDown=${onKeyDown}>
      <button
        type="button"
        class="bare ${name}"
        aria-haspopup=${isGrid ? null : "menu"}
        aria-label=${label}
        aria-expanded=${isOpen}
        onClick=${() => setOpen(!isOpen)}
      >
        <${Icon} name=${icon} />
      </button>
      ${isOpen &&
      html`<div class="popup ${isGrid ? "emojis" : "menu"}" role=${isGrid ? "group" : "menu"} aria-label=${label}>
        ${items.map(
          (item) =>
            item &&
            html`<button
              key=${item.key}
              type="button"
              role=${isGrid ? null : "menuitem"}
              class="${isGrid ? "bare" : ""} ${item.key}"
              aria-label=${item.name ?? null}
              onClick=${() => {
                close();
                item.act();
              }}
            >
              ${item.label}
            </button>`,
        )}
      </div>`}
    </span>
  `;
}
