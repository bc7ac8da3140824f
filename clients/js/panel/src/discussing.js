// Private discussions: those one is in, and how to begin one.

import { change } from "./changing.js";
import { discussionsOf, summariesOf } from "./client.js";
import { draftAt, keepDraft, NO_DRAFT } from "./drafts.js";
import { Head } from "./head.js";
import { Avatar, Count, Icon, inSentence, listed, useStore } from "./parts.js";
import { Picker } from "./picker.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";
import { useWindow } from "./window.js";

const MOST_NAMES = 3;

/** In the place of what a client has, where none are looked for. */
export const NO_DISCUSSIONS = { snapshot: () => ({ discussions: [], unread: 0 }), subscribe: () => () => {} };

/** Who is in it, in words, oneself last. @param {any} words @param {any} discussion @param {any} me @returns {string[]} */
export function membersOf(words, { members }, me) {
  const others = members.filter((/** @type {any} */ { id }) => id !== me?.id);
  const names = others.slice(0, MOST_NAMES).map((/** @type {any} */ { name }) => name);
  if (others.length > MOST_NAMES) names.push(words.say("more.people", { count: others.length - MOST_NAMES }));
  if (others.length < members.length) names.push(words.say("you"));
  return names;
}

/** All of them, those about the dashboard first. @param {any} props */
export function DiscussionList({ client, words, rooms, now }) {
  const store = discussionsOf(client);
  const { isLoaded, discussions, hasOlder } = useStore(store);
  const summaries = useStore(summariesOf(client));
  const here = discussions.filter((/** @type {any} */ { about }) => isAbout(about, rooms.home));
  const all = [...here, ...discussions.filter((/** @type {any} */ each) => !here.includes(each))];
  const list = useRef(/** @type {any} */ (null));
  const { inSight, start, onScroll } = useWindow(list, all, (/** @type {any} */ { topic }) => topic);
  const earlier = () => store.older().catch(() => {});
  return html`
    <div class="list" part="list" ref=${list} onScroll=${onScroll} aria-busy=${isLoaded ? "false" : "true"}>
      ${!isLoaded && html`<p class="empty quiet" role="status">${words.say("loading.discussions")}</p>`}
      ${isLoaded &&
      !all.length &&
      html`<div class="empty" part="empty">
        <p>${words.say("empty.discussions")}</p>
        <p class="quiet">${words.say("empty.discussions.invite")}</p>
      </div>`}
      ${inSight.length > 0 &&
      html`<ol class="lines">
        ${inSight.map((/** @type {any} */ discussion, /** @type {number} */ index) => {
          const { topic, name, members, unread, muted, createdAt } = discussion;
          const others = members.filter((/** @type {any} */ { id }) => id !== client.me?.id);
          const at = summaries.of(topic)?.lastAt ?? createdAt;
          const isFirst = (/** @type {number} */ place) => here.length > 0 && here.length < all.length && start + index === place;
          return html`<li key=${topic} data-key=${topic}>
            ${isFirst(0) && html`<h3 class="quiet">${words.say("discussions.here")}</h3>`}
            ${isFirst(here.length) && html`<h3 class="quiet">${words.say("discussions.others")}</h3>`}
            <button type="button" class="line" part="discussion" onClick=${() => rooms.open(topic)}>
              <span class="faces">
                ${(others.length ? others : members)
                  .slice(0, 2)
                  .map((/** @type {any} */ person) => html`<${Avatar} key=${person.id} person=${person} />`)}
              </span>
              <span class="what">
                <span class="first">
                  <bdi class="name" title=${name}>${name}</bdi>
                  ${muted &&
                  html`<span class="mark" role="img" aria-label=${words.say("muted")}><${Icon} name="muted" /></span>`}
                  <time class="quiet" datetime=${at} title=${words.exact(at)}>${words.ago(at, now)}</time>
                </span>
                <span class="quiet cut">${listed(words, membersOf(words, discussion, client.me))}</span>
              </span>
              <${Count} count=${unread} label=${words.say("unread", { count: unread })} />
            </button>
          </li>`;
        })}
      </ol>`}
      ${hasOlder && html`<button type="button" class="link earlier-all" onClick=${earlier}>${words.say("discussions.earlier")}</button>`}
    </div>
    <div class="foot" part="footer">
      <button type="button" class="plain wide" onClick=${() => rooms.enter({ kind: "begin" })}>
        <${Icon} name="add" />${words.say("discussion.new")}
      </button>
    </div>
  `;
}

/** @param {{projectId: string, objectId: string} | null} about @param {string} topic */
const isAbout = (about, topic) => about !== null && topic === `content:${about.projectId}:${about.objectId}`;

/** The list by itself. @param {any} props */
export function Discussing({ client, words, rooms }) {
  return html`
    <section class="panel" part="panel" aria-label=${words.say("discussions")}>
      <${Head} words=${words} rooms=${rooms} title=${words.say("discussions")} />
      <${DiscussionList} client=${client} words=${words} rooms=${rooms} now=${Date.now()} />
    </section>
  `;
}

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
export function NewDiscussion({ client, words, rooms }) {
  // Whoever only looks at something else in between finds what they wrote.
  const places = ["begin", "begin-name"].map((what) => [client.me?.id ?? "", rooms.home, what]);
  const [draft] = useState(() => places.map(draftAt));
  const [name, setName] = useState(draft[1].text);
  const [members, setMembers] = useState(/** @type {any[]} */ (draft[0].whom));
  const [text, setText] = useState(draft[0].text);
  useLayoutEffect(() => [{ text, whom: members }, { text: name, whom: [] }].forEach((each, at) => keepDraft(places[at], each)), [name, members, text]);
  const forget = () => places.forEach((place) => keepDraft(place, NO_DRAFT));
  const [isAbout, setAbout] = useState(true);
  const [isWaiting, setWaiting] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
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
    setWaiting(true);
    setProblem(null);
    try {
      const { discussion } = await change(client, "discussion.create", {
        name: name.trim(),
        members: members.map((/** @type {any} */ { kind, id }) => ({ kind, id })),
        ...(canBeAbout && isAbout && { about: { projectId, objectId } }),
        ...(text.trim() && { text: text.trim(), format: "markdown" }),
      });
      forget();
      if (isThere.current) rooms.replace({ kind: "topic", topic: discussion.topic });
    } catch (refused) {
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
        <label for="discussion-people">${words.say("discussion.people")}</label>
        <${Picker} client=${client} words=${words} id="discussion-people" chosen=${members} onChange=${setMembers} />
        ${wrong("members")}
        <label for="discussion-text">${words.say("discussion.text")}</label>
        <textarea
          id="discussion-text"
          rows="3"
          dir="auto"
          maxlength="10000"
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
          <button type="submit" class="send" disabled=${isWaiting || !name.trim() || !members.length}>
            ${words.say("discussion.begin")}
          </button>
        </div>
      </form>
    </section>
  `;
}
