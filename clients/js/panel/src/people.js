// Whom one may choose among: a list at the field where one writes, on the side that has room, with the chosen one in sight.

import { Avatar } from "./parts.js";
import { html, useLayoutEffect, useRef } from "./preact.js";

const MOST = 260; // pixels
const LEAST = 96;
const GAP = 8;

/**
 * @param {object} props
 * @param {any} props.words
 * @param {string} props.id of the list; `{id}-{number}` are those of the people in it
 * @param {string} props.label
 * @param {readonly any[]} props.people
 * @param {number} props.chosen
 * @param {string} props.problem
 * @param {(person: any) => void} props.onTake
 * @param {boolean} [props.isBelow] where it stands if there is room on both sides
 */
export function People({ words, id, label, people, chosen, problem, onTake, isBelow = false }) {
  const box = useRef(/** @type {any} */ (null));

  useLayoutEffect(() => {
    const { current } = box;
    const { top, bottom } = current.parentElement.getBoundingClientRect();
    // What scrolls cuts off what stands beyond its edges.
    const around = (current.closest(".list") ?? current.closest("form.form, .room")).getBoundingClientRect();
    const sides = [top - around.top, around.bottom - bottom];
    const [own, other] = isBelow ? sides.reverse() : sides;
    const isTurned = own < MOST && other > own;
    current.classList.toggle("below", isBelow !== isTurned);
    current.style.maxHeight = `${Math.max(LEAST, Math.min(MOST, (isTurned ? other : own) - GAP))}px`;
    current.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [people, chosen]);

  return html`
    <div class="people" part="people" ref=${box}>
      ${people.length > 0 &&
      html`<ul role="listbox" id=${id} aria-label=${label}>
        ${people.map(
          (person, index) => html`
            <li
              key=${person.id}
              id="${id}-${index}"
              role="option"
              aria-selected=${index === chosen}
              onPointerDown=${(/** @type {Event} */ event) => {
                event.preventDefault(); // the focus, and the caret, stay where they are
                onTake(person);
              }}
            >
              <${Avatar} person=${person} />
              <bdi class="name">${person.name}</bdi>
              <span class="quiet">${person.why ? words.say(person.why) : person.kind === "group" ? words.say("group") : ""}</span>
            </li>
          `,
        )}
      </ul>`}
      ${problem && html`<p class="quiet none">${problem}</p>`}
    </div>
  `;
}
