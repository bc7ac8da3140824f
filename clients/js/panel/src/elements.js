// The panel as an element: attributes, properties and events on this side, components on the other.

import { CollabElement, define } from "./element.js";
import { Panel } from "./panel.js";
import { isSamePlace } from "./places.js";
import { html } from "./preact.js";
import { STYLE } from "./style.js";

/**
 * `<collab-panel topic="content:{projectId}:{objectId}">`.
 *
 * @fires collab-apply somebody wants to see a saved view: `detail.viewState`, `detail.comment`
 * @fires collab-place other places are shown than before: `detail.place`, null for all
 * @fires collab-point one points at a thread, or at none any more: `detail.threadId`, `detail.anchor`
 */
export class CollabPanel extends CollabElement {
  static observedAttributes = ["topic", "lang", "keys", "enter", "comment", "sheet"];

  /** @type {import("./panel.js").Attachment | null} */ #attachment = null;
  /** @type {import("./places.js").Anchor | null} */ #place = null;
  /** @type {((anchor: any) => void) | null} */ #goTo = null;

  constructor() {
    super(STYLE);
  }

  /** What a new comment can have with it: the view that is open now, and the place that is chosen. */
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

  /** A view state in words, for its chip; null for none. @type {((viewState: any) => string | null) | null} */
  describeView = null;
  /** A place in words, for its chip; null for none. @type {((anchor: any) => string | null) | null} */
  describePlace = null;
  /** The address of a comment. @type {((commentId: string) => string) | null} */
  linkTo = null;

  /** Go to a comment of this topic. @param {string} commentId */
  show(commentId) {
    this.setAttribute("comment", commentId);
  }

  /** @override @param {import("./words.js").Words} words */
  draw(words) {
    const { client, topic } = this;
    if (!client || !topic) return html`<slot name="waiting"></slot>`;
    return html`<${Panel}
      key=${topic}
      host=${this}
      client=${client}
      name=${topic}
      words=${words}
      attachment=${this.#attachment}
      inPlace=${this.#place}
      sheet=${this.getAttribute("sheet")}
      comment=${this.getAttribute("comment") ?? linked()}
      hasKeys=${this.getAttribute("keys") !== "off"}
      sendsByEnter=${this.getAttribute("enter") === "send"}
    />`;
  }
}

/** The comment that the page's address asks for. */
function linked() {
  const wanted = new URLSearchParams(location.search).get("collab");
  return wanted?.startsWith("comment:") ? wanted.slice("comment:".length) : null;
}

define("collab-panel", CollabPanel);
