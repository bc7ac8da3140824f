// Elements with rooms: attributes, properties and events on this side, components on the other.

import { CollabElement, define } from "./element.js";
import { isSamePlace } from "./places.js";
import { html } from "./preact.js";
import { openIn, Rooms } from "./rooms.js";
import { STYLE } from "./style.js";

/**
 * An element with rooms of its own.
 *
 * @fires collab-open somebody wants to see `detail.topic`, and there `detail.commentId`. Who shows it themselves calls
 *   `preventDefault()`; otherwise it is shown in a panel of the page, or here, with a way back
 * @fires collab-apply somebody wants to see `detail.viewState`, which was shared, of `detail.topic`
 */
export class CollabRooms extends CollabElement {
  static observedAttributes = ["topic", "lang", "keys", "enter"];

  /** A view state in words, for its chip; null for none. @type {((viewState: any) => string | null) | null} */
  describeView = null;
  /** A place in words, for its chip; null for none. @type {((anchor: any) => string | null) | null} */
  describePlace = null;
  /** A topic in words: its title, for what was said on other dashboards. @type {((topic: string) => string | null) | null} */
  describeTopic = null;
  /** The address of a comment. @type {((commentId: string) => string) | null} */
  linkTo = null;

  /** @param {string[]} styles */
  constructor(...styles) {
    super(STYLE, ...styles);
  }

  /** @internal @protected @param {any} words @param {any} home what the first of them is, and how */
  rooms(words, { kind, ...how }) {
    return html`<${Rooms}
      host=${this}
      client=${this.client}
      words=${words}
      home=${{ kind, topic: this.topic || undefined }}
      hasKeys=${this.getAttribute("keys") !== "off"}
      sendsByEnter=${this.getAttribute("enter") === "send"}
      ...${how}
    />`;
  }
}

/**
 * The comments of a topic, and over them the inbox, the discussions and the search.
 *
 * @attr topic whose comments: `content:{projectId}:{objectId}` or `discussion:{id}`
 * @attr comment the id of a comment to go to; without it, that of the page's address, `?collab=comment:{id}`
 * @attr sheet `low`, `half` or `full`: it is a sheet from below on a screen of less than 720 px, and so high now
 * @fires collab-apply somebody wants to see `detail.viewState`, which came with `detail.comment`, or was shared: then it
 *   is of `detail.topic`
 * @fires collab-place other places are shown than before: `detail.place`, null for all
 * @fires collab-point one points at the thread `detail.threadId`, whose place is `detail.anchor`; both are null when it is
 *   none any more
 * @slot header in the place of the title
 * @slot empty what is said when there is nothing
 * @slot footer below the composer
 */
export class CollabPanel extends CollabRooms {
  static observedAttributes = ["topic", "lang", "keys", "enter", "comment", "sheet"];

  /** @type {import("./places.js").Attachment | null} */ #attachment = null;
  /** @type {import("./places.js").Anchor | null} */ #place = null;
  /** @type {((anchor: any) => void) | null} */ #goTo = null;
  /** @type {import("./rooms.js").Wanted | null} */ #wanted = linked();

  /**
   * What a new comment can have with it; null for nothing. The view, which `label` says in words, goes with it when one
   * wishes; the place unless one takes it away.
   */
  get attachment() {
    return this.#attachment;
  }

  set attachment(attachment) {
    this.#attachment = attachment;
    this.redraw();
  }

  /** The place whose threads are shown; null for all. What it lacks may be anything. */
  get place() {
    return this.#place;
  }

  set place(place) {
    if (isSamePlace(place, this.#place)) return;
    this.#place = place;
    this.dispatchEvent(new CustomEvent("collab-place", { bubbles: true, composed: true, detail: { place } }));
    this.redraw();
  }

  /** Goes to the place of a comment, which another page of the dashboard may have; null where none can be gone to. */
  get goTo() {
    return this.#goTo;
  }

  set goTo(goTo) {
    this.#goTo = goTo;
    this.redraw();
  }

  /** @override @param {string} name @param {string | null} before @param {string | null} value */
  attributeChangedCallback(name, before, value) {
    if (name === "comment") this.#wanted = value ? { id: value } : null;
    super.attributeChangedCallback(name, before, value);
  }

  /**
   * Show another topic over this one, with a way back: a discussion, or what was said on another dashboard.
   * @param {string} topic
   * @param {string | null} [commentId] to go to
   */
  open(topic, commentId = null) {
    openIn(this, topic, commentId);
  }

  /** Go to a comment of this topic. @param {string} commentId */
  show(commentId) {
    this.setAttribute("comment", commentId);
  }

  /** @internal @override @param {import("./words.js").Words} words */
  draw(words) {
    if (!this.client || !this.topic) return html`<slot name="waiting"></slot>`;
    return this.rooms(words, {
      kind: "topic",
      key: this.topic,
      wanted: this.#wanted,
      attachment: this.#attachment,
      inPlace: this.#place,
      sheet: this.getAttribute("sheet"),
    });
  }
}

/** The comment that the page's address asks for. */
function linked() {
  const wanted = new URLSearchParams(location.search).get("collab");
  return wanted?.startsWith("comment:") ? { id: wanted.slice("comment:".length) } : null;
}

define("collab-panel", CollabPanel);
