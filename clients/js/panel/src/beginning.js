// How a discussion is begun: whom with, about what, and the first words.

import { change } from "./changing.js";
import { draftAt, keepDraft, NO_DRAFT } from "./drafts.js";
import { leaving } from "./going.js";
import { Head } from "./head.js";
import { inSentence } from "./parts.js";
import { Picker } from "./picker.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";

/** Where a discussion is named. @param {{id: string, value: string, onChange: (name: string) => void, isFirst?: boolean}} props */
export function NameField({ id, value, onChange, isFirst = false }) {
  return html`<input
    id=${id}
    data-first=${isFirst ? "" : null}
    type="text"
    dir="auto"
    maxlength="200"
    required
    autocomplete="off"
    value=${value}
    onInput=${(/** @type {any} */ event) => onChange(event.target.value)}
  />`;
}

/** Whom, about what, and the first words. @param {any} props */
export function NewDiscussion({ client, words, host, rooms }) {
  // Whoever only looks at something else in between finds what they wrote.
  const places = ["begin", "begin-name"].map((what) => [client.me?.id ?? "", rooms.home, what]);
  const [draft] = useState(() => places.map(draftAt));
  const [name, setName] = useState(draft[1].text);
  const [members, setMembers] = useState(/** @type {any[]} */ (draft[0].whom));
  const [text, setText] = useState(draft[0].text);
  const keep = () => [{ text, whom: members }, { text: name, whom: [] }].forEach((each, at) => keepDraft(places[at], each));
  const forget = () => places.forEach((place) => keepDraft(place, NO_DRAFT));
  const [isAbout, setAbout] = useState(true);
  const [isWaiting, setWaiting] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  useLayoutEffect(() => {
    if (!isWaiting) keep();
  }, [name, members, text, isWaiting]);
  const isThere = useRef(true);
  useEffect(
    () => () => {
      isThere.current = false;
    },
    [],
  );
  const [kind, projectId, objectId] = rooms.home.split(":");
  const canBeAbout = kind === "content";
  const [field] = (problem?.field ?? "").split(/[.[]/u);
  const begin = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (isWaiting || !name.trim() || !members.length) return;
    const hasGone = leaving(host);
    setWaiting(true);
    setProblem(null);
    forget(); // the outbox has it now: whoever comes back meanwhile is not to begin it twice
    try {
      const { discussion } = await change(client, "discussion.create", {
        name: name.trim(),
        members: members.map((/** @type {any} */ { kind, id }) => ({ kind, id })),
        ...(canBeAbout && isAbout && { about: { projectId, objectId } }),
        ...(text.trim() && { text: text.trim(), format: "markdown" }),
      });
      if (isThere.current) rooms.replace({ kind: "topic", topic: discussion.topic }, hasGone);
    } catch (refused) {
      if (places.every((place) => !draftAt(place).text)) keep(); // else somebody begins another one
      setProblem(refused);
      setWaiting(false);
    }
  };
  const wrong = (/** @type {string} */ each) =>
    problem && field === each && html`<p class="wrong" role="alert">${inSentence(words, problem)}</p>`;
  const { isLive } = client.connection;
  return html`
    <section class="panel" part="panel" aria-label=${words.say("discussion.new")}>
      <${Head} words=${words} rooms=${rooms} title=${words.say("discussion.new")} isFirst=${false} />
      <form class="form" onSubmit=${begin}>
        <p class="quiet">${words.say("discussion.private")}</p>
        <label for="discussion-name">${words.say("discussion.name")}</label>
        <${NameField} id="discussion-name" isFirst=${true} value=${name} onChange=${setName} />
        ${wrong("name")}
        <label for="discussion-people">${words.say("people")}</label>
        <${Picker} client=${client} words=${words} id="discussion-people" chosen=${members} onChange=${setMembers} />
        ${wrong("members")}
        <label for="discussion-text">${words.say("discussion.text")}</label>
        <textarea
          id="discussion-text"
          rows="3"
          dir="auto"
          maxlength="20000"
          value=${text}
          onInput=${(/** @type {any} */ event) => setText(event.target.value)}
        ></textarea>
        ${wrong("text")}
        ${canBeAbout &&
        html`<label class="check"
          ><input type="checkbox" checked=${isAbout} onChange=${() => setAbout(!isAbout)} />${words.say("discussion.about")}</label
        >`}
        ${problem && !["name", "members", "text"].includes(field) && html`<p class="wrong" role="alert">${inSentence(words, problem)}</p>`}
        <p class="quiet" role="status">${isWaiting && words.say(isLive ? "sending" : "waiting")}</p>
        <div class="row">
          <button type="button" class="plain" onClick=${() => (forget(), rooms.onBack())}>${words.say("cancel")}</button>
          <button type="submit" class="send" aria-disabled=${isWaiting || !name.trim() || !members.length}>
            ${words.say("discussion.begin")}
          </button>
        </div>
      </form>
    </section>
  `;
}
