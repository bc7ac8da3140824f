// Private discussions: those one is in.

import { discussionsOf, summariesOf } from "./client.js";
import { Head } from "./head.js";
import { Avatar, Count, Icon, listed, useStore } from "./parts.js";
import { html, useRef } from "./preact.js";
import { membersOf } from "./telling.js";
import { useWindow } from "./window.js";

/** All of them, those about the dashboard first. @param {any} props */
export function DiscussionList({ client, words, rooms, now }) {
  const store = discussionsOf(client);
  const { isLoaded, discussions, hasOlder } = useStore(store);
  const summaries = useStore(summariesOf(client));
  const here = discussions.filter((/** @type {any} */ { about }) => isAbout(about, rooms.home));
  const all = [...here, ...discussions.filter((/** @type {any} */ each) => !here.includes(each))];
  const list = useRef(/** @type {any} */ (null));
  const { inSight, start, onScroll } = useWindow(list, all, (/** @type {any} */ { topic }) => topic);
  return html`
    <div class="list" part="list" ref=${list} onScroll=${onScroll} aria-busy=${!isLoaded}>
      ${!isLoaded && html`<p class="empty quiet" role="status">${words.say("loading")}</p>`}
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
      ${hasOlder && html`<button type="button" class="link earlier-all" onClick=${() => rooms.more(() => store.older())}>${words.say("discussions.earlier")}</button>`}
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
