// Where one writes: a new comment, a reply, a change; with people to mention.

import { named, Said } from "./body.js";
import { mention, mentionsOf, pieces } from "./client.js";
import { draftAt, keepDraft, NO_DRAFT, onDraft } from "./drafts.js";
import { Icon, inSentence } from "./parts.js";
import { People } from "./people.js";
import { isSamePlace, placeOf } from "./places.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";

/** @import { Draft, Whom } from "./drafts.js" */

const ASK_MS = 150; // after the last key
const SHUT_MS = 100; // after the press that took the focus away

let isPressed = false;
const press = (/** @type {Event} */ event) => {
  isPressed = event.type === "pointerdown";
};
for (const name of ["pointerdown", "pointerup", "pointercancel"]) globalThis.addEventListener?.(name, press, true);
const MOST_PEOPLE = 8;
const MOST_TYPED = 200; // lines
const MOST_GONE = 50; // who were meant, and may be again
const MOST_SENT = 10_000; // code points, with what a mention is written as
const WRITES = /(?:^|[\s(])@([^\s@\n][^@\n]{0,38}|)$/u;

/** A stored text as it is edited: names, and whom they mean. @param {any} comment @returns {Draft} */
export function draftOf({ text, mentions }) {
  const of = text;
  /** @type {Whom[]} */ const whom = [];
  const read = pieces(text, mentions).map((/** @type {any} */ piece) => {
    if (piece.mention) whom.push({ ...piece.mention });
    return piece.text;
  });
  return { text: read.join(""), whom, of };
}

/**
 * Whom the names in a draft mean, in order. Of several people of one name each is meant where they were chosen.
 * @param {Draft} draft
 * @returns {{at: number, end: number, whom: Whom}[]}
 */
function meantIn({ text, whom }) {
  // The longest first: "Ann" is not meant where "Ann Archer" is written.
  const names = [...new Set(whom.map(({ name }) => name))].sort((one, other) => other.length - one.length);
  const left = new Map(names.map((name) => [name, whom.filter((each) => each.name === name)]));
  const found = [];
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at)) {
    const name = names.find((each) => text.startsWith(each, at + 1));
    const end = at + 1 + (name?.length ?? 0);
    const people = left.get(name ?? "");
    if (people) found.push({ at, end, whom: /** @type {Whom} */ (people.length > 1 ? people.shift() : people[0]) });
    at = end;
  }
  return found;
}

/**
 * A draft after its text was changed: whoever was meant still is, and somebody of the same name in their own place.
 * @param {Draft} before
 * @param {string} text
 * @param {number} caret where the change ended
 * @param {{at: number, whom: Whom} | null} [chosen] who was chosen, and where
 * @returns {Draft}
 */
export function changedTo(before, text, caret, chosen = null) {
  const known = chosen ? [...before.whom, chosen.whom] : before.whom;
  const moved = text.length - before.text.length;
  let first = 0; // letters that are the same before what was changed; after it all are
  while (first < Math.min(caret, caret - moved) && text[first] === before.text[first]) first += 1;
  const stays = new Map();
  for (const { at, end, whom } of meantIn(before)) {
    if (end <= first) stays.set(at, whom);
    else if (at >= caret - moved) stays.set(at + moved, whom);
  }
  if (chosen) stays.set(chosen.at, chosen.whom);
  const free = known.filter((each) => ![...stays.values()].includes(each)); // those who went last are first
  const now = meantIn({ text, whom: known }).map(({ at, whom }) => {
    if (stays.get(at)?.name === whom.name) return stays.get(at);
    const back = free.findIndex(({ name }) => name === whom.name);
    return back < 0 ? whom : free.splice(back, 1)[0];
  });
  // Whom nothing names any more stays known: the change may be undone.
  return { ...before, text, whom: [...now, ...known.filter((each) => !now.includes(each)).slice(0, MOST_GONE)] };
}

/** A draft as it is sent: every name of somebody who was chosen is a mention. @param {Draft} draft */
export function textOf({ text, whom }) {
  let made = "";
  let from = 0;
  for (const { at, end, whom: meant } of meantIn({ text, whom })) {
    made += text.slice(from, at) + mention(meant);
    from = end;
  }
  return (made + text.slice(from)).trim();
}

/**
 * What is marked in a text field, in another form. As if it was typed: it can be undone by the keys for that.
 * @param {any} area
 * @param {keyof typeof FORMS} form
 */
function reform(area, form) {
  const { value, selectionStart: from, selectionEnd: to } = area;
  const marked = value.slice(from, to);
  const sign = FORMS[form];
  area.focus();
  if (form === "list") {
    const begin = value.lastIndexOf("\n", from - 1) + 1;
    area.setSelectionRange(begin, to);
    insert(area, value.slice(begin, to).replace(/^(?!- )/gmu, sign));
    return;
  }
  const isFormed = value.slice(0, from).endsWith(sign) && value.startsWith(sign, to);
  // Twice is undone. In italic: one of the two stars of what is bold is no form of its own.
  if (isFormed && !(form === "italic" && value.slice(0, from).endsWith("**") && !value.slice(0, from).endsWith("***"))) {
    area.setSelectionRange(from - sign.length, to + sign.length);
    insert(area, marked);
    area.setSelectionRange(from - sign.length, to - sign.length);
  } else {
    insert(area, sign + marked + sign);
    area.setSelectionRange(from + sign.length, to + sign.length);
  }
}

/** @param {any} area @param {string} text in place of what is marked */
function insert(area, text) {
  // A browser types line by line, each slower than the one before: a thousand would stop it for seconds.
  if (text.split("\n").length < MOST_TYPED && document.execCommand("insertText", false, text)) return;
  area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

const FORMS = { bold: "**", italic: "*", code: "`", list: "- " };
/** With Ctrl or Cmd. */
export const FORM_KEYS = new Map([
  ["b", "bold"],
  ["i", "italic"],
  ["e", "code"],
]);

/**
 * @param {object} props
 * @param {any} props.panel
 * @param {string[]} props.place where its draft is kept
 * @param {string} props.label
 * @param {any} [props.at] the comment at which one writes
 * @param {string} props.sendLabel
 * @param {(text: string, attached: {viewState?: any, anchor?: any}) => Promise<unknown> | undefined} props.onSend what
 *   rejects with `outbox_full` is there to be sent again
 * @param {() => void} [props.onCancel]
 * @param {any} [props.comment] what is edited
 * @param {{text: string, ofRevision?: number} | null} [props.own] what it was to say, and was refused
 * @param {any[]} [props.people] who takes part
 * @param {boolean} [props.isMain]
 */
export function Composer({ panel, place, label, at, sendLabel, onSend, onCancel, comment, people = [], own, isMain = false }) {
  const { words, client, topic, attachment, sendsByEnter } = panel;
  const orComment = (/** @type {Draft} */ kept) => {
    if (kept.text || !comment) return kept;
    return own ? { ...draftOf({ text: own.text, mentions: mentionsOf(own.text) }), of: comment.text } : draftOf(comment);
  };
  const [draft, setDraft] = useState(() => orComment(draftAt(place)));
  // What is edited was edited elsewhere meanwhile, and who wants to replace that may.
  const [isOther, setOther] = useState(() => (own?.ofRevision ?? comment?.revision) !== comment?.revision);
  const { viewState, anchor } = (isMain && attachment) || {};
  const [isIn, setIn] = useState(false);
  const [hasView, setView] = useState(false);
  const [hasPlace, setPlace] = useState(true);
  const [placed, setPlaced] = useState(anchor);
  if (!isSamePlace(placed, anchor)) {
    // Somebody who chooses a place wants to speak of it.
    setPlaced(anchor);
    setPlace(true);
  }
  const [picking, setPicking] = useState(/** @type {null | {from: number, found: any[], problem: string}} */ (null));
  const [chosen, setChosen] = useState(0);
  const area = useRef(/** @type {any} */ (null));
  const asked = useRef({ number: 0, timer: /** @type {any} */ (0), caret: -1 });
  const newest = useRef(draft); // the draft, also where it is not drawn yet
  const listId = `people-${place.at(-1)}`;

  useEffect(() => () => clearTimeout(asked.current.timer), []);
  // Windows that show the same go on to do so: what was sent in one is not sent again in another.
  const follow = (/** @type {string} */ before, /** @type {Draft} */ now) => {
    // Of a change nothing is kept until somebody types: all of them show what the comment says then.
    if (newest.current.text === (before || orComment(NO_DRAFT).text)) show(orComment(now));
  };
  useLayoutEffect(() => onDraft(place, follow)); // by what the comment says now
  useLayoutEffect(() => {
    const { text, of } = newest.current;
    if (!comment || of === undefined || of === comment.text) return;
    if (text !== draftOf({ text: of, mentions: mentionsOf(of) }).text) return;
    // Nobody has changed a word here: no word of theirs would be taken away.
    keepDraft(place, NO_DRAFT);
    show(draftOf(comment));
  }, [comment?.text]);
  // At once: the next letter would be a key of the panel, and some of those change something.
  useLayoutEffect(() => {
    if (!isMain) {
      area.current.focus();
      area.current.setSelectionRange(draft.text.length, draft.text.length);
      area.current.closest(".composer").scrollIntoView({ block: "nearest" });
    }
  }, []);
  useEffect(() => {
    // On a short screen what stands below the text would not be in sight, nor where it grows.
    if (isIn) area.current.closest(".composer").scrollIntoView({ block: "nearest" });
  }, [isIn, draft]);
  useLayoutEffect(() => {
    const { caret } = asked.current;
    if (caret >= 0) area.current.setSelectionRange(caret, caret);
    asked.current.caret = -1;
    if (!window.CSS?.supports("field-sizing: content")) {
      area.current.style.height = "auto";
      area.current.style.height = `${area.current.scrollHeight}px`;
    }
  }, [draft]);

  const show = (/** @type {Draft} */ next) => {
    newest.current = next;
    setDraft(next);
  };
  const keep = (/** @type {Draft} */ next) => {
    show({ ...next }); // drawn, though it may be what was drawn last
    keepDraft(place, next);
  };

  const search = (/** @type {string} */ text, /** @type {number} */ caret) => {
    const match = WRITES.exec(text.slice(0, caret));
    clearTimeout(asked.current.timer);
    const number = ++asked.current.number;
    const [, query = ""] = match ?? [];
    const from = caret - query.length - 1;
    const wanted = query.trim();
    // Nobody is looked for in the place of whom one has chosen.
    if (!match || meantIn(newest.current).some(({ at, whom }) => at === from && whom.name === wanted)) {
      setPicking(null);
      return;
    }
    const near = nearby(panel, people, query);
    setChosen(0);
    if (near.length) setPicking({ from, found: near, problem: "" });
    else if (!wanted) setPicking(null);
    if (!wanted) return;
    asked.current.timer = setTimeout(async () => {
      let found = /** @type {any[]} */ ([]);
      let problem = "";
      try {
        found = (await client.ask("recipients.find", { search: wanted, limit: MOST_PEOPLE })).items;
      } catch {
        problem = words.say("people.failed");
      }
      if (number !== asked.current.number) return;
      const known = new Set(near.map(({ id }) => id));
      const all = [...near, ...found.filter(({ id }) => !known.has(id) && id !== client.me?.id)].slice(0, MOST_PEOPLE);
      // Whoever writes on after a name that nobody has does not look for anybody.
      if (!all.length && query.includes(" ") && !problem) setPicking(null);
      else setPicking({ from, found: all, problem: problem || (all.length ? "" : words.say("people.none")) });
    }, ASK_MS);
  };

  const onInput = (/** @type {any} */ event) => {
    const { value, selectionStart } = event.target;
    keep(changedTo(newest.current, value, selectionStart));
    topic.type(value.trim() !== "");
    search(value, selectionStart);
  };

  const take = (/** @type {any} */ person) => {
    const { kind, id, name } = person;
    const { text } = newest.current;
    const before = text.slice(0, picking?.from);
    const after = text.slice(area.current.selectionStart).replace(/^ /u, "");
    const isWritable = mentionsOf(mention(person)).length > 0;
    asked.current.caret = before.length + name.length + 2;
    asked.current.number += 1;
    const chosen = isWritable ? { at: before.length, whom: { kind, id, name } } : null;
    keep(changedTo(newest.current, `${before}@${name} ${after}`, asked.current.caret, chosen));
    setPicking(null);
    area.current.focus();
  };

  const hasText = draft.text.trim() !== "";
  const isTooLong = (/** @type {string} */ text) => [...text].length > MOST_SENT; // nothing is cut off of what somebody pastes
  const isLong = isTooLong(textOf(draft));
  const isChanged = comment && comment.text !== (draft.of ?? comment.text);

  const send = () => {
    const written = newest.current;
    const { of } = written;
    const text = textOf(written);
    if (!text || isTooLong(text)) return;
    if (comment && comment.text !== (of ?? comment.text)) {
      // Whoever has read that may replace it.
      setOther(true);
      keep({ ...written, of: comment.text });
      return;
    }
    clearTimeout(asked.current.timer);
    asked.current.number += 1;
    setPicking(null);
    topic.type(false);
    keep(NO_DRAFT);
    onSend(text, { ...(hasView && viewState && { viewState }), ...(hasPlace && anchor && { anchor }) })?.catch((problem) => {
      // Else what becomes of it is shown at the comment.
      if (problem.code !== "outbox_full") return;
      keep(written);
      panel.tell(problem);
    });
    setView(false);
    setPlace(Boolean(panel.inPlace)); // what is said next may be of something else
    if (isMain) area.current.focus();
  };

  const cancel = () => {
    // A reply that is only closed is there when it is opened again; a change that is given up is not.
    if (comment) keepDraft(place, NO_DRAFT);
    topic.type(false);
    onCancel?.();
  };

  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const count = picking?.found.length ?? 0;
    if (picking && count && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      setChosen((chosen + (event.key === "ArrowDown" ? 1 : count - 1)) % count);
    } else if (picking && count && (event.key === "Tab" || (event.key === "Enter" && !event.ctrlKey && !event.metaKey))) {
      take(picking.found[chosen]);
    } else if (event.key === "Escape" && picking) {
      asked.current.number += 1;
      setPicking(null);
    } else if (event.key === "Escape" && onCancel) {
      cancel();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey || (sendsByEnter && !event.shiftKey))) {
      send();
    } else if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && FORM_KEYS.has(event.key)) {
      reform(area.current, /** @type {any} */ (FORM_KEYS.get(event.key)));
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  // What stands below the text goes when one leaves, but not under a press: what is pressed would move away from it.
  const onFocusOut = (/** @type {any} */ event) => {
    const form = event.currentTarget;
    if (form.contains(event.relatedTarget)) return;
    const shut = () => setTimeout(() => setIn(form.contains(form.getRootNode().activeElement)), SHUT_MS);
    if (isPressed) addEventListener("pointerup", shut, { once: true });
    else shut();
  };
  const about = anchor && placeOf(panel.host, anchor);
  // Of several in which one writes each is told from the others.
  const name = at ? named(words, label, at) : label;
  const of = (/** @type {string} */ what) => (at ? words.say("at", { label: what, text: name }) : what);
  /**
   * What goes with it while it is pressed.
   * @param {"place" | "view"} icon @param {boolean} isOn @param {(isOn: boolean) => void} set @param {string} label
   */
  const chip = (icon, isOn, set, label) => html`
    <button type="button" class="chip" part="attach" aria-pressed=${isOn} onClick=${() => set(!isOn)}>
      <${Icon} name=${isOn ? "resolve" : icon} /><span>${label}</span>
    </button>
  `;
  return html`
    <form
      class="composer ${hasText || onCancel || isIn ? "open" : ""}"
      part="composer"
      onfocusin=${() => setIn(true)}
      onfocusout=${onFocusOut}
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        send();
      }}
    >
      ${picking &&
      html`
        <${People}
          words=${words}
          id=${listId}
          label=${words.say("people")}
          people=${picking.found}
          chosen=${chosen}
          problem=${picking.problem}
          onTake=${take}
        />
      `}
      <textarea
        ref=${area}
        part="input"
        rows="1"
        dir="auto"
        maxlength="20000"
        placeholder=${label}
        aria-label=${name}
        aria-autocomplete="list"
        aria-controls=${picking?.found.length ? listId : null}
        aria-activedescendant=${picking?.found.length ? `${listId}-${chosen}` : null}
        value=${draft.text}
        onInput=${onInput}
        onKeyDown=${onKeyDown}
        onBlur=${() => {
          asked.current.number += 1;
          setPicking(null);
          topic.type(false);
        }}
      ></textarea>
      <p class="unseen" role="status">
        ${picking && (picking.problem || words.say("people.count", { count: picking.found.length }))}
      </p>
      ${isLong && html`<p class="wrong" role="alert">${inSentence(words, { code: "too_large" })}</p>`}
      ${(isOther || isChanged) &&
      html`<p class="wrong" role="alert">${words.say(isChanged ? "edit.changed" : "edit.other")}</p>
        <div class="text quiet" dir="auto">${Said(comment, client.me?.id)}</div>`}
      <div class="row">
        ${(about || viewState) &&
        html`<div class="chips">
          ${about && chip("place", hasPlace, setPlace, words.say("attach.place", { place: about }))}
          ${viewState && chip("view", hasView, setView, words.say("attach", { view: attachment.label }))}
        </div>`}
        <span class="forms" role="group" aria-label=${words.say("form")}>
          ${Object.keys(FORMS).map(
            (form) => html`
              <button
                type="button"
                class="bare"
                aria-label=${of(words.say(`form.${form}`))}
                title=${words.say(`form.${form}`)}
                onPointerDown=${(/** @type {Event} */ event) => event.preventDefault()}
                onClick=${() => reform(area.current, /** @type {any} */ (form))}
              >
                <${Icon} name=${form} />
              </button>
            `,
          )}
        </span>
        <span class="end">
          ${onCancel && html`<button type="button" class="plain" aria-label=${of(words.say("cancel"))} onClick=${cancel}>${words.say("cancel")}</button>`}
          <button type="submit" class="send" part="send" aria-label=${of(sendLabel)} aria-disabled=${!hasText || isLong}>
            ${sendLabel}
          </button>
        </span>
      </div>
    </form>
  `;
}

/** Who is here or takes part, and has such a name. @param {any} panel @param {any[]} people @param {string} query */
function nearby({ state, client }, people, query) {
  const here = state.present.map((/** @type {any} */ person) => ({ ...person, kind: "user", why: "here" }));
  const others = people.map((person) => ({ ...person, kind: "user", why: "in.thread" }));
  const known = new Set([client.me?.id]);
  const wanted = query.trim().toLocaleLowerCase();
  return [...here, ...others]
    .filter(({ id, name }) => {
      const isNew = !known.has(id);
      known.add(id);
      return isNew && name.toLocaleLowerCase().includes(wanted);
    })
    .slice(0, MOST_PEOPLE);
}
