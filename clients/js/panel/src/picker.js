// Whom to have in a discussion: a field with a list of whom Library finds, and those who are chosen.

import { Icon } from "./parts.js";
import { People } from "./people.js";
import { html, useEffect, useRef, useState } from "./preact.js";

const ASK_MS = 150;
const MOST = 8;

/** @typedef {{kind: "user" | "group", id: string, name: string}} Whom */

/**
 * @param {object} props
 * @param {any} props.client
 * @param {any} props.words
 * @param {string} props.id
 * @param {readonly Whom[]} props.chosen
 * @param {(chosen: Whom[]) => void} props.onChange
 * @param {readonly string[]} [props.known] ids of those who need not be offered
 */
export function Picker({ client, words, id, chosen, onChange, known = [] }) {
  const [query, setQuery] = useState("");
  const [found, setFound] = useState(/** @type {null | Whom[]} */ (null));
  const [problem, setProblem] = useState("");
  const [at, setAt] = useState(0);
  const asked = useRef({ number: 0, timer: /** @type {any} */ (0) }).current;
  const field = useRef(/** @type {any} */ (null));
  useEffect(() => () => clearTimeout(asked.timer), []);

  const shut = () => {
    clearTimeout(asked.timer);
    asked.number += 1;
    setFound(null);
    setProblem("");
  };
  const search = (/** @type {string} */ text) => {
    setQuery(text);
    clearTimeout(asked.timer);
    const number = ++asked.number;
    if (!text.trim()) {
      shut();
      return;
    }
    asked.timer = setTimeout(async () => {
      /** @type {any[]} */ let items = [];
      let why = "";
      try {
        if (!client.connection.isLive) throw new Error("offline");
        items = (await client.ask("recipients.find", { search: text.trim(), limit: 2 * MOST })).items;
      } catch {
        why = words.say("people.failed");
      }
      if (number !== asked.number) return;
      const not = new Set([client.me?.id, ...known, ...chosen.map((each) => each.id)]);
      const left = items.filter((each) => !not.has(each.id)).slice(0, MOST);
      setFound(left);
      setProblem(why || (left.length ? "" : words.say("people.none")));
      setAt(0);
    }, ASK_MS);
  };
  const take = (/** @type {Whom} */ { kind, id, name }) => {
    onChange([...chosen, { kind, id, name }]);
    setQuery("");
    shut();
    field.current.focus();
  };
  const drop = (/** @type {string} */ gone) => {
    onChange(chosen.filter((each) => each.id !== gone));
    field.current.focus();
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const count = found?.length ?? 0;
    if (count && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      setAt((at + (event.key === "ArrowDown" ? 1 : count - 1)) % count);
    } else if (count && event.key === "Enter") take(/** @type {Whom[]} */ (found)[at]);
    else if (event.key === "Enter") {
      // it would send the form, with a name that is half written
    } else if (event.key === "Escape" && (found || problem)) shut();
    else if (event.key === "Backspace" && !query && chosen.length) drop(chosen[chosen.length - 1].id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const isOpen = Boolean(found?.length);
  return html`
    <div class="picker">
      ${chosen.map(
        (each) =>
          html`<button
            key=${each.id}
            type="button"
            class="chip"
            aria-label=${words.say("people.drop", { name: each.name })}
            onClick=${() => drop(each.id)}
          >
            <bdi>${each.name}</bdi><${Icon} name="close" />
          </button>`,
      )}
      <input
        ref=${field}
        id=${id}
        type="text"
        dir="auto"
        maxlength="200"
        autocomplete="off"
        role="combobox"
        aria-autocomplete="list"
        aria-expanded=${isOpen}
        aria-controls=${isOpen ? `${id}-list` : null}
        aria-activedescendant=${isOpen ? `${id}-list-${at}` : null}
        placeholder=${chosen.length ? "" : words.say("people.search")}
        value=${query}
        onInput=${(/** @type {any} */ event) => search(event.target.value)}
        onKeyDown=${onKeyDown}
        onBlur=${shut}
      />
      ${(isOpen || problem) &&
      html`<${People}
        words=${words}
        id="${id}-list"
        label=${words.say("people")}
        people=${found ?? []}
        chosen=${at}
        problem=${problem}
        onTake=${take}
        isBelow=${true}
      />`}
      <p class="unseen" role="status">${problem || (isOpen && words.say("people.count", { count: found?.length ?? 0 }))}</p>
    </div>
  `;
}
