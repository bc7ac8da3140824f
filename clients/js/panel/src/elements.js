// The panel as an element: attributes, properties and events on this side, components on the other.

import { CollabElement, define } from "./element.js";
import { Panel } from "./panel.js";
import { html } from "./preact.js";
import { STYLE } from "./style.js";

/**
 * `<collab-panel topic="content:{projectId}:{objectId}">`.
 *
 * @fires collab-apply somebody wants to see a saved view: `detail.viewState`, `detail.comment`
 */
export class CollabPanel extends CollabElement {
  static observedAttributes = ["topic", "lang", "keys", "enter", "comment"];

  /** @type {import("./panel.js").Attachment | null} */ #attachment = null;

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
