// What one was told: grouped by thread, the newest first, with who, what, where and why.

import { lineOfComment, named } from "./body.js";
import { change } from "./changing.js";
import { discussionsOf, mentionsOf } from "./client.js";
import { leaving } from "./going.js";
import { Head } from "./head.js";
import { Avatar, Icon, inSentence, listed, NO_DISCUSSIONS, Tabs, useRedraw, useStore, viewChip } from "./parts.js";
import { html, useRef, useState } from "./preact.js";
import { cut, whereOf, whyOf } from "./telling.js";
import { useWindow } from "./window.js";

const FILTERS = ["all", "unread", "mentions"];
const MOST_NAMES = 2;
const MOST_PAGES = 20; // that are loaded at once to find another thread

/**
 * @typedef {object} Group what was told of one thread
 * @property {string} key
 * @property {any} latest
 * @property {any[]} all the newest first
 * @property {any[]} unread
 */

/** @param {readonly any[]} notifications the newest first @returns {Group[]} */
function groupsOf(notifications) {
  /** @type {Map<string, Group>} */ const groups = new Map();
  for (const notification of notifications) {
    const { id, topic, threadId, commentId, readAt } = notification;
    const key = `${topic} ${threadId ?? commentId ?? id}`;
    let group = groups.get(key);
    if (!group) groups.set(key, (group = { key, latest: notification, all: [], unread: [] }));
    group.all.push(notification);
    if (!readAt) group.unread.push(notification);
  }
  return [...groups.values()];
}

/** @param {any} props */
export function Inbox({ client, words, host, rooms }) {
  const { inbox } = client;
  const { state, notifications, hasOlder, unread } = useStore(inbox);
  const needsNames = notifications.some((/** @type {any} */ { topic }) => topic.startsWith("discussion:"));
  const { discussions } = useStore(needsNames ? discussionsOf(client) : NO_DISCUSSIONS);
  const [filter, setFilter] = useState("all");
  const [problem, setProblem] = useState("");
  const [said, setSaid] = useState("");
  const redraw = useRedraw();
  const list = useRef(/** @type {any} */ (null));
  const sticky = useRef(new Set()).current; // what was unread stays in sight while one reads
  const held = useRef({ isOver: false, isIn: false, order: /** @type {string[]} */ ([]), isLoading: false }).current;
  const now = Date.now();

  const chosen = groupsOf(notifications).filter((group) => {
    if (filter === "mentions") return group.all.some(({ kind }) => kind === "mention");
    if (filter === "all") return true;
    if (group.unread.length) sticky.add(group.key);
    return sticky.has(group.key);
  });
  // While somebody points at a line or is in one, none moves: what is new waits above.
  const isHeld = held.isOver || held.isIn || list.current?.scrollTop > 0;
  const byKey = new Map(chosen.map((group) => [group.key, group]));
  let groups = chosen;
  if (isHeld && held.order.length) {
    const known = new Set(held.order);
    const oldest = byKey.get(held.order.findLast((/** @type {string} */ key) => byKey.has(key)) ?? "");
    const end = oldest ? chosen.indexOf(oldest) : -1;
    const below = chosen.slice(end + 1).filter(({ key }) => !known.has(key)); // older ones, that were loaded
    groups = [...held.order.flatMap((/** @type {string} */ key) => byKey.get(key) ?? []), ...below];
  }
  held.order = groups.map(({ key }) => key);
  const fresh = chosen.filter(({ key }) => !held.order.includes(key));

  const older = async () => {
    if (held.isLoading || !hasOlder) return;
    held.isLoading = true;
    try {
      // Very much may be told of one thread: what is older is loaded until something else comes.
      const before = groupsOf(inbox.snapshot().notifications).length;
      for (let page = 0; page < MOST_PAGES && inbox.snapshot().hasOlder; page += 1) {
        await inbox.older();
        if (groupsOf(inbox.snapshot().notifications).length > before) break;
      }
    } finally {
      held.isLoading = false;
    }
  };
  const { inSight, onScroll } = useWindow(list, groups, ({ key }) => key, () => older().catch(() => {}));

  const read = async (/** @type {any} */ ids) => {
    if (ids && !ids.length) return;
    setProblem("");
    try {
      await (ids ? change(client, "notification.read", { ids }, "inbox") : inbox.read());
    } catch (refused) {
      setProblem(inSentence(words, refused));
    }
  };
  const choose = (/** @type {Group} */ { latest, unread }) => {
    read(unread.map(({ id }) => id).slice(0, 500));
    rooms.open(latest.topic, (unread.at(-1) ?? latest).commentId);
  };
  const renew = () => {
    held.order = [];
    held.isOver = held.isIn = false;
    list.current.scrollTop = 0;
    redraw();
    const hasGone = leaving(host);
    requestAnimationFrame(() => hasGone() || list.current?.querySelector(".line")?.focus());
  };
  const hold = (/** @type {"isOver" | "isIn"} */ how, /** @type {boolean} */ isOn) => () => {
    if (held[how] === isOn) return;
    held[how] = isOn;
    if (!isOn) redraw();
  };

  const nameOf = (/** @type {string} */ topic) => {
    if (topic === rooms.home) return words.say("inbox.here");
    return whereOf(words, host, topic, discussions.find((/** @type {any} */ each) => each.topic === topic));
  };
  const isLoading = state === "loading";
  return html`
    <section class="panel" part="panel inbox" aria-label=${words.say("inbox")}>
      <${Head} words=${words} rooms=${rooms} title=${words.say("inbox")}>
        ${unread > 0 && html`<button type="button" class="link" onClick=${() => read(null)}>${words.say("read.all")}</button>`}
      <//>
      <p class="notice" role="status">
        ${problem || (state === "behind" && words.say(client.connection.isLive ? "behind" : "offline.later"))}
      </p>
      <${Tabs}
        words=${words}
        label=${words.say("inbox.filter")}
        keys=${FILTERS}
        chosen=${filter}
        counts=${{ unread }}
        counted="inbox.unread"
        onChoose=${(/** @type {string} */ key) => {
          sticky.clear();
          held.order = [];
          list.current.scrollTop = 0;
          setFilter(key);
        }}
      />
      <div
        class="list"
        part="list"
        ref=${list}
        onScroll=${onScroll}
        aria-busy=${isLoading}
        onPointerEnter=${hold("isOver", true)}
        onPointerLeave=${hold("isOver", false)}
        onfocusin=${hold("isIn", true)}
        onfocusout=${hold("isIn", false)}
      >
        ${fresh.length > 0 &&
        html`<button type="button" class="pill fresh above" onClick=${renew}>${words.say("new.pill", { count: fresh.length })}</button>`}
        ${isLoading && html`<p class="empty quiet" role="status">${words.say("loading")}</p>`}
        ${!isLoading &&
        !groups.length &&
        html`<div class="empty" part="empty">
          <p>${words.say(filter === "unread" ? "empty.unread" : `empty.inbox.${filter}`)}</p>
          ${filter === "all" && html`<p class="quiet">${words.say("empty.inbox.why")}</p>`}
        </div>`}
        ${inSight.length > 0 &&
        html`<ol class="lines">
          ${inSight.map(
            (group) =>
              html`<li key=${group.key} data-key=${group.key}>
                <${Line}
                  group=${group}
                  host=${host}
                  words=${words}
                  now=${now}
                  where=${nameOf(group.latest.topic)}
                  onChoose=${() => choose(group)}
                  onRead=${() => {
                    read(group.unread.map(({ id }) => id).slice(0, 500));
                    setSaid(words.say("said.read"));
                  }}
                />
              </li>`,
          )}
        </ol>`}
        ${hasOlder && !isLoading && html`<button type="button" class="link earlier-all" onClick=${() => rooms.more(older)}>${words.say("inbox.earlier")}</button>`}
      </div>
      <p class="unseen" aria-live="polite">${fresh.length ? words.say("new.pill", { count: fresh.length }) : said}</p>
    </section>
  `;
}

/** @param {any} props */
function Line({ group, host, words, now, where, onChoose, onRead }) {
  const { latest, all, unread } = group;
  const { text, createdAt, by, viewState, topic } = latest;
  const people = [...new Map(all.map((/** @type {any} */ each) => [each.by.id, each.by])).values()];
  const names = people.slice(0, MOST_NAMES).map(({ name }) => cut(name));
  if (people.length > MOST_NAMES) names.push(words.say("more.people", { count: people.length - MOST_NAMES }));
  const who = listed(words, names);
  const said = { text, mentions: mentionsOf(text) };
  const read = lineOfComment(said);
  const isNew = unread.length > 0;
  const isInvited = latest.kind === "invited"; // the text is the name of the discussion
  return html`
    <div class="note ${isNew ? "unread" : ""}" part="notification">
      <button type="button" class="line" onClick=${onChoose}>
        <${Avatar} person=${by} />
        <span class="what">
          ${isNew && html`<span class="unseen">${words.say("at", { label: words.say("unread"), text: "" })}</span>`}
          <span class="first">
            <span class="who-why"><span class="name">${who}</span> <span class="quiet">${whyOf(words, latest)}</span></span>
            <time class="quiet" datetime=${createdAt} title=${words.exact(createdAt)}>${words.ago(createdAt, now)}</time>
          </span>
          ${read && html`<span class="snippet" dir="auto">${read}</span>`}
          <span class="quiet cut">
            <bdi>${isInvited ? words.say("discussion") : where}</bdi>${all.length > 1 && html`<span> · ${words.say("inbox.more", { count: all.length - 1 })}</span>`}
          </span>
        </span>
      </button>
      ${viewChip(host, words, named(words, words.say("apply.of", { name: by.name }), said), { viewState, topic })}
      ${isNew &&
      html`<button type="button" class="bare read" aria-label=${named(words, words.say("read"), said, cut(by.name))} title=${words.say("read")} onClick=${onRead}>
        <${Icon} name="resolve" />
      </button>`}
    </div>
  `;
}
