// What keys there are.

import { FORM_KEYS } from "./composer.js";
import { html } from "./preact.js";

/** @param {{words: any, keys: Record<string, [string, () => void]>, onClose: () => void}} props those of the panel */
export function Keys({ words, keys, onClose }) {
  const all = [
    ...Object.entries(keys).map(([key, [name]]) => [key, name]),
    ...[...FORM_KEYS].map(([key, form]) => [`Ctrl ${key.toUpperCase()}`, `form.${form}`]),
    ["Ctrl Enter", "keys.send"],
    ["Esc", "keys.escape"],
  ];
  return html`
    <section class="keys" part="keys" aria-label=${words.say("keys")}>
      <dl>
        ${all.map(([key, name]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${words.say(name)}</dd></div>`)}
      </dl>
      <button type="button" class="plain" onClick=${onClose}>${words.say("close")}</button>
    </section>
  `;
}
