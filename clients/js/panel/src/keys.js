// What keys there are.

import { html } from "./preact.js";

/** @param {{words: any, onClose: () => void}} props */
export function Keys({ words, onClose }) {
  const keys = { c: "c", j: "j", k: "k", r: "r", e: "e", search: "/", send: "Ctrl Enter", escape: "Esc", help: "?" };
  return html`
    <section class="keys" part="keys" aria-label=${words.say("keys")}>
      <dl>
        ${Object.entries(keys).map(([name, key]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${words.say(`keys.${name}`)}</dd></div>`)}
      </dl>
      <button type="button" class="plain" onClick=${onClose}>${words.say("close")}</button>
    </section>
  `;
}
