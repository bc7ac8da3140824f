// One thread: its comments, what may be done with them, and where one replies.

import { lineOfComment, named, Said } from "./body.js";
import { mentionsOf } from "./client.js";
import { Composer } from "./composer.js";
import { Avatar, Icon, inWords, listed, viewChip } from "./parts.js";
import { placeOf } from "./places.js";
import { Popup } from "./popup.js";
import { html, useState } from "./preact.js";

const EMOJIS = ["👍", "❤️", "😄", "🎉", "👀", "🙏", "✅", "❓"];
const LONG = 1200; // characters; a longer text is folded
const LINES = 14;
const REPLIES = 50; // more of them at a time
const SHOWN_REPLIES = 2; // of those that fold
const MOST_REPLIES = 4; // more than these fold

/** @param {{panel: any, thread: any, index: number, count: number}} props */
export function Thread({ panel, thread, index, count }) {
  const { words, topic, newFrom, opened, toggle } = panel;
  const { id, root, comments, isWhole } = thread;
  const replies = comments.filter((/** @type {any} */ comment) => comment.id !== id);
  const [first] = comments; // the root, where that is there
  const { author } = first;
  // What was open because something in it was unread stays so: nothing folds while one reads.
  if (thread.unread) panel.kept.add(id);
  const isReplying = panel.replying === id;
  const isOpened = opened.get(id) ?? (panel.kept.has(id) || isReplying);
  const isFolded = root?.resolved && !isOpened && !comments.some((/** @type {any} */ each) => each.pending);
  const label = words.say(thread.unread ? "thread.unread" : "thread", { name: author.name });
  const of = (/** @type {string} */ what) => named(words, what, first, author.name);
  const hasNew = comments.some((/** @type {any} */ comment) => comment.id === newFrom);
  const attributes = {
    class: `thread ${thread.unread ? "unread" : ""} ${root?.resolved ? "resolved" : ""}`,
    "data-thread": id,
    tabindex: -1,
    "aria-label": named(words, label, first),
    "aria-setsize": count,
    "aria-posinset": index + 1,
  };
  if (isFolded) {
    return html`
      <article ...${attributes} part="thread resolved">
        <button type="button" class="fold" aria-expanded="false" onClick=${() => toggle(id, true)}>
          <${Icon} name="resolve" />
          <span class="by">${words.say("resolved.by", { name: root.resolved.by.name })}</span>
          <span>${root.replyCount > 0 && `· ${words.say("resolved.replies", { count: root.replyCount })}`}</span>
          <span class="says" dir="auto">${lineOfComment(root)}</span>
        </button>
      </article>
    `;
  }
  const many = replies.length;
  const isShort = !panel.kept.has(id) && many > MOST_REPLIES; // nobody has opened it, and nothing in it is unread
  const [begin, last] = panel.ranges.get(id) ?? [many - (isShort ? SHOWN_REPLIES : REPLIES), Infinity];
  const from = Math.max(0, begin);
  const to = last >= many ? many : last;
  const missing = isWhole ? 0 : Math.max(0, (root?.replyCount ?? 0) - many);
  const hidden = from + missing;
  const canReply = topic.may("comment.add") && comments.some((/** @type {any} */ each) => !each.deletedAt && !panel.deleting.has(each.id));
  const people = [...new Map(comments.map((/** @type {any} */ each) => [each.author.id, each.author])).values()];
  const line = html`<p class="new-line" part="new"><span>${words.say("new")}</span></p>`;
  const shown = (/** @type {any} */ comment, isRoot = false) => html`
    ${comment.id === newFrom && !isRoot && line}
    <${Comment} key=${comment.id} panel=${panel} comment=${comment} thread=${thread} isRoot=${isRoot} />
  `;
  /** What shows other replies. @param {string} key @param {number} count @param {number} begin @param {number} end */
  const more = (key, count, begin, end) => {
    const label = words.say(key, { count });
    const unfold = () => panel.unfold(id, begin, end);
    return count > 0 && html`<button type="button" class="link earlier" aria-label=${of(label)} onClick=${unfold}>${label}</button>`;
  };
  const close = () => {
    panel.reply(null);
    panel.focus(`[data-thread="${id}"] :is(.reply, .fold)`);
  };
  return html`
    ${hasNew && root?.id === newFrom && line}
    <article ...${attributes} part="thread">
      ${root?.resolved &&
      html`<p class="resolved-by quiet">
        <${Icon} name="resolve" /><span>${words.say("resolved.by", { name: root.resolved.by.name })}</span>
        <button type="button" class="link" aria-label=${of(words.say("fold"))} onClick=${() => toggle(id, false)}>${words.say("fold")}</button>
        ${topic.may("thread.reopen") &&
        html`<button type="button" class="link" aria-label=${of(words.say("reopen"))} onClick=${() => panel.resolve(thread)}>
          ${words.say("reopen")}
        </button>`}
      </p>`}
      ${root && shown(root, true)}
      ${more("replies.earlier", hidden, from - REPLIES, Math.min(last, from + 2 * REPLIES))}
      ${replies.length > 0 &&
      html`<div class="replies">${replies.slice(from, to).map((/** @type {any} */ each) => shown(each))}</div>`}
      ${more("replies.later", many - to, Math.max(from, to - 2 * REPLIES), to + REPLIES)}
      ${(canReply || isReplying) &&
      (isReplying
        ? html`<${Composer}
            panel=${panel}
            place=${panel.placeOf(id)}
            label=${words.say("write.reply", { name: author.name })}
            at=${first}
            sendLabel=${words.say("send.reply")}
            people=${people}
            onCancel=${close}
            onSend=${(/** @type {string} */ text) => {
              close();
              return panel.add({ text, replyTo: replyTo(thread) });
            }}
          />`
        : html`<button
            type="button"
            class="link reply"
            aria-label=${named(words, words.say("reply.to", { name: author.name }), first)}
            onClick=${() => panel.reply(id)}
          >
            ${words.say("reply")}
          </button>`)}
    </article>
  `;
}

/** What a reply is to: the root, or where that is deleted a comment that is there. @param {any} thread */
function replyTo({ id, root, comments }) {
  if (root && !root.deletedAt) return id;
  return comments.findLast((/** @type {any} */ comment) => !comment.deletedAt)?.id ?? id;
}

/** @param {{panel: any, comment: any, thread: any, isRoot: boolean}} props */
function Comment({ panel, comment: known, thread, isRoot }) {
  const { words, topic, client, host, now } = panel;
  const { id, author, pending } = known;
  /** @type {any[]} */ const refused = client.outbox
    .snapshot()
    .filter((/** @type {any} */ { state, payload }) => state === "refused" && payload.commentId === id);
  // What stands, as a refusal has told it where that is not known here yet.
  const comment = refused.reduce(
    (newest, { problem: { comment: told } }) => (told?.revision > newest.revision ? { ...told, pending } : newest),
    known,
  );
  const { revision } = comment;
  const [editing, setEditing] = useState(/** @type {string | null} */ (null)); // "", or the key of what was refused
  const isOwn = author.id === client.me?.id;
  const isStored = pending?.name !== "comment.add";
  const isGoing = panel.deleting.has(id);
  const isEditing = editing !== null;
  const again = refused.find(({ key }) => key === editing);
  const canEdit = isOwn && isStored && topic.may("comment.edit");
  const canDelete = isOwn && isStored && topic.may("comment.delete");
  const attributes = {
    class: `comment ${isRoot ? "root" : ""} ${pending ? pending.state : ""} ${panel.shown === id ? "shown" : ""}`,
    "data-comment": id,
    "data-unread": panel.isUnread(comment) ? "" : null,
    part: "comment",
  };
  // What one writes stays where it is, whatever becomes of what it is about.
  if (isGoing || (comment.deletedAt && !refused.length && !isEditing)) {
    return html`
      <div ...${attributes}>
        <${Avatar} person=${author} />
        <div class="body">
          <p class="quiet gone">
            ${words.say(isGoing ? "deleted.own" : "deleted")}
            ${isGoing &&
            html`<button
              type="button"
              class="link undo"
              aria-label=${named(words, words.say("undo"), comment)}
              onClick=${() => {
                panel.undo(id);
                panel.focus(`[data-comment="${id}"] .menu-button`);
              }}
            >
              ${words.say("undo")}
            </button>`}
          </p>
        </div>
      </div>
    `;
  }
  const endEditing = () => {
    setEditing(null);
    panel.focus(`[data-comment="${id}"] :is(.menu-button, .edit-again)`);
  };
  const save = (/** @type {string} */ text) => {
    endEditing();
    if (again) client.outbox.retry(again.key, { ...again.payload, text, ...(isEdit(again) && { ofRevision: revision }) });
    else if (text !== comment.text) return topic.edit(id, text, "markdown", revision);
    return undefined;
  };
  const hasActions = isStored && !isEditing;
  return html`
    <div ...${attributes}>
      <${Avatar} person=${author} />
      <div class="body">
        <header>
          <bdi class="name" part="name" title=${author.name}>${author.name}</bdi>
          <time class="quiet" part="time" datetime=${comment.createdAt} title=${words.exact(comment.createdAt)}
            >${words.ago(comment.createdAt, now)}</time
          >
          ${comment.editedAt && html`<span class="quiet" title=${words.exact(comment.editedAt)}>${words.say("edited")}</span>`}
          ${isRoot && html`<${Mark} mark=${panel.marks.of(id)} words=${words} />`}
        </header>
        ${hasActions &&
        html`<${Actions}
          panel=${panel}
          comment=${comment}
          thread=${thread}
          isRoot=${isRoot}
          onEdit=${canEdit && !pending ? () => setEditing("") : null}
          onDelete=${canDelete ? () => panel.remove(id, revision) : null}
        />`}
        ${isEditing
          ? html`<${Composer}
              panel=${panel}
              place=${panel.placeOf(`edit-${editing || id}`)}
              label=${words.say("write.edit")}
              at=${comment}
              sendLabel=${words.say("save")}
              comment=${comment}
              own=${again && isEdit(again) ? again.payload : null}
              onSend=${save}
              onCancel=${endEditing}
            />`
          : html`<${Text} comment=${comment} words=${words} me=${client.me} />`}
        <${Chips} host=${host} comment=${comment} words=${words} />
        <${Reactions} panel=${panel} comment=${comment} />
        ${pending &&
        pending.state !== "refused" &&
        html`<p class="quiet state" role="status">
          ${words.say(!client.connection.isLive ? "waiting" : pending.problem ? "waiting.stored" : "sending")}
        </p>`}
        ${!isEditing &&
        refused.map(
          (entry) => html`<${Unsent} key=${entry.key} panel=${panel} entry=${entry} comment=${comment} onEdit=${() => setEditing(entry.key)} />`,
        )}
      </div>
    </div>
  `;
}

/** @param {any} entry */
const isEdit = ({ name }) => name === "comment.edit";

/** A change that was refused. @param {{panel: any, entry: any, comment: any, onEdit: () => void}} props */
function Unsent({ panel, entry, comment, onEdit }) {
  const { words, client } = panel;
  const { key, payload, problem } = entry;
  const { revision } = comment;
  const { text } = payload;
  const of = (/** @type {string} */ what) => named(words, words.say(what), text === undefined ? comment : { text, mentions: mentionsOf(text) });
  const isOther = problem.field === "ofRevision"; // it was made of what is not so any more
  const again = isOther && isEdit(entry) ? "replace" : "retry";
  return html`<div class="refused" role="alert">
    <p>${words.say("refused", { why: inWords(words, problem) })}</p>
    ${isEdit(entry) && html`<${Yours} words=${words} text=${payload.text} me=${client.me} />`}
    ${"text" in payload && html`<button type="button" class="link edit-again" aria-label=${of("edit")} onClick=${onEdit}>${words.say("edit")}</button>`}
    <button
      type="button"
      class="link"
      aria-label=${of(again)}
      onClick=${() => client.outbox.retry(key, isOther ? { ...payload, ofRevision: revision } : undefined)}
    >
      ${words.say(again)}
    </button>
    <button type="button" class="link" aria-label=${of("discard")} onClick=${() => client.outbox.discard(key)}>${words.say("discard")}</button>
  </div>`;
}

/** What one has written, and was refused. @param {{words: any, text: string, me: any}} props */
export function Yours({ words, text, me }) {
  return html`
    <p>${words.say("yours")}</p>
    <div class="text yours" dir="auto">${Said({ text, mentions: mentionsOf(text), body: null }, me?.id)}</div>
  `;
}

/** What one has chosen for a thread. @param {{mark: {following: boolean, muted: boolean}, words: any}} props */
function Mark({ mark, words }) {
  const key = mark.muted ? "thread.muted" : mark.following && "thread.following";
  if (!key) return null;
  const label = words.say(key);
  return html`<span class="mark" role="img" aria-label=${label} title=${label}>
    <${Icon} name=${mark.muted ? "muted" : "bell"} />
  </span>`;
}

/** @param {{comment: any, words: any, me: any}} props */
function Text({ comment, words, me }) {
  const { text } = comment;
  const [isWhole, setWhole] = useState(false);
  const more = words.say(isWhole ? "less" : "more");
  const isLong = text.length > LONG || text.split("\n", LINES + 1).length > LINES;
  return html`
    <div class="text ${isLong && !isWhole ? "long" : ""} ${comment.body ? "formed" : ""}" part="text" dir="auto">
      ${Said(comment, me?.id)}
    </div>
    ${isLong &&
    html`<button
      type="button"
      class="link"
      aria-label=${named(words, more, comment)}
      aria-expanded=${isWhole}
      onClick=${() => setWhole(!isWhole)}
    >
      ${more}
    </button>`}
  `;
}

/** Where it belongs, and the view that is saved with it. @param {{host: any, comment: any, words: any}} props */
function Chips({ host, comment, words }) {
  const place = comment.anchor && placeOf(host, comment.anchor);
  const whose = named(words, words.say("apply.of", { name: comment.author.name }), comment);
  const view = viewChip(host, words, whose, { viewState: comment.viewState, comment });
  if (!place && !view) return null;
  return html`
    <div class="chips">
      ${place &&
      (host.goTo
        ? html`<button type="button" class="chip" part="place" onClick=${() => host.goTo(comment.anchor)}>
            <${Icon} name="place" /><bdi>${place}</bdi>
          </button>`
        : html`<span class="chip" part="place"><${Icon} name="place" /><bdi>${place}</bdi></span>`)}
      ${view}
    </div>
  `;
}

/** @param {{panel: any, comment: any}} props */
function Reactions({ panel, comment }) {
  const { words, topic, client, names } = panel;
  const all = Object.entries(comment.reactions);
  if (!all.length) return null;
  return html`
    <div class="reactions">
      ${all.map(([emoji, users]) => {
        const isMine = users.includes(client.me?.id);
        const who = users.map((/** @type {string} */ each) => names.get(each) ?? words.say("someone"));
        const label = words.say("reaction", { emoji, count: users.length, names: listed(words, who) });
        const may = topic.may(isMine ? "comment.unreact" : "comment.react") && !comment.deletedAt;
        return html`<button
          key=${emoji}
          type="button"
          class="reaction"
          part="reaction"
          aria-pressed=${isMine}
          aria-label=${named(words, label, comment)}
          title=${label}
          aria-disabled=${may ? null : "true"}
          onClick=${() => may && panel.react(comment, emoji)}
        >
          ${emoji} ${users.length}
        </button>`;
      })}
    </div>
  `;
}

/** @param {{panel: any, comment: any, thread: any, isRoot: boolean, onEdit: any, onDelete: any}} props */
function Actions({ panel, comment, thread, isRoot, onEdit, onDelete }) {
  const { words, topic, marks } = panel;
  const { id, author } = comment;
  const of = (/** @type {string} */ what) => named(words, words.say(what, { name: author.name }), comment);
  const { following, muted } = marks.of(thread.id);
  const mayResolve = isRoot && !comment.resolved && topic.may("thread.resolve");
  return html`
    <div class="actions" part="actions">
      ${topic.may("comment.react") &&
      html`<${Popup}
        icon="react"
        isGrid=${true}
        label=${of("react.to")}
        items=${EMOJIS.map((emoji) => ({
          key: emoji,
          label: emoji,
          name: words.say("react.with", { emoji }),
          act: () => panel.react(comment, emoji),
        }))}
      />`}
      ${mayResolve &&
      html`<button type="button" class="bare" aria-label=${of("resolve.of")} onClick=${() => panel.resolve(thread)}>
        <${Icon} name="resolve" />
      </button>`}
      <${Popup}
        icon="more"
        name="menu-button"
        label=${of("actions.of")}
        items=${[
          onEdit && { key: "edit", label: words.say("edit"), act: onEdit },
          onDelete && { key: "delete", label: words.say("delete"), act: onDelete },
          topic.may("topic.unread") && { key: "unread-from", label: words.say("mark.unread"), act: () => panel.markUnread(comment) },
          isRoot &&
            topic.may("thread.follow") && {
              key: "follow",
              label: words.say(following ? "thread.unfollow" : "thread.follow"),
              act: () => panel.follow(thread.id, !following),
            },
          isRoot &&
            topic.may("thread.mute") && {
              key: "mute",
              label: words.say(muted ? "thread.unmute" : "thread.mute"),
              act: () => panel.mute(thread.id, !muted),
            },
          { key: "copy", label: words.say("copy"), act: () => panel.copyLink(id) },
        ]}
      />
    </div>
  `;
}
