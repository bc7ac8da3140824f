// The head of what lies over the comments.

import { Icon } from "./parts.js";
import { html } from "./preact.js";

/** The head of a room: the way back, its title, and what stands beside. @param {any} props */
export function Head({ words, rooms, title, children, isFirst = true }) {
  const { onBack, isHome } = rooms;
  return html`
    <header class="head" part="header">
      ${onBack &&
      html`<button
        type="button"
        class="bare back"
        data-first=${isFirst ? "" : null}
        aria-label=${words.say(isHome ? "close" : "back")}
        onClick=${onBack}
      >
        <${Icon} name=${isHome ? "close" : "back"} />
      </button>`}
      ${title && html`<h2>${title}</h2>`}
      ${children}
    </header>
  `;
}
