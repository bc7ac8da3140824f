// The elements: attributes, properties and events on this side, components on the other.

import { createClient } from "./client.js";
import { Panel } from "./panel.js";
import { html, render } from "./preact.js";
import { STYLE } from "./style.js";
import { wordsOf } from "./words.js";

/** @import { Client, Options } from "collab-client" */

/** @type {Client | null} */
let shared = null;
/** @type {Set<CollabPanel>} */
const connected = new Set();

/**
 * Connect: the elements of this page talk over this client, unless they have one of their own.
 * @param {Options | Client} options what `createClient` of collab-client takes, or a client of one's own
 * @returns {Client}
 */
export function connect(options) {
  const client = /** @type {Client} */ ("auth" in options ? createClient(options) : options);
  shared = client;
  connected.forEach((element) => element.redraw());
  return client;
}

/** @type {CSSStyleSheet | undefined} */
let sheet;

function styleSheet() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
  }
  return sheet;
}

/**
 * `<collab-panel topic="content:{projectId}:{objectId}">`.
 *
 * @fires collab-apply somebody wants to see a saved view: `detail.viewState`, `detail.comment`
 */
export class CollabPanel extends HTMLElement {
  static observedAttributes = ["topic", "lang", "keys", "enter", "comment"];

  /** @type {Client | null} */ #client = null;
  /** @type {import("./panel.js").Attachment | null} */ #attachment = null;
  #isAsked = false;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [styleSheet()];
  }

  /** Its client; that of `connect` unless set. @returns {Client | null} */
  get client() {
    return this.#client ?? shared;
  }

  set client(client) {
    this.#client = client;
    this.redraw();
  }

  /** The topic whose comments it shows. */
  get topic() {
    return this.getAttribute("topic") ?? "";
  }

  set topic(name) {
    this.setAttribute("topic", name);
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

  connectedCallback() {
    connected.add(this);
    this.redraw();
  }

  disconnectedCallback() {
    connected.delete(this);
    // What is only moved comes back in this turn.
    queueMicrotask(() => this.isConnected || render(null, /** @type {ShadowRoot} */ (this.shadowRoot)));
  }

  attributeChangedCallback() {
    this.redraw();
  }

  /** Go to a comment of this topic. @param {string} commentId */
  show(commentId) {
    this.setAttribute("comment", commentId);
  }

  /** Draw it anew, once in a turn. */
  redraw() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    queueMicrotask(async () => {
      this.#isAsked = false;
      const language = this.closest("[lang]")?.getAttribute("lang") || navigator.language;
      const words = await wordsOf(language);
      if (!this.isConnected) return;
      const { client, topic } = this;
      const panel =
        client && topic
          ? html`<${Panel}
              key=${topic}
              host=${this}
              client=${client}
              name=${topic}
              words=${words}
              attachment=${this.#attachment}
              comment=${this.getAttribute("comment") ?? linked()}
              hasKeys=${this.getAttribute("keys") !== "off"}
              sendsByEnter=${this.getAttribute("enter") === "send"}
            />`
          : html`<slot name="waiting"></slot>`;
      render(panel, /** @type {ShadowRoot} */ (this.shadowRoot));
    });
  }
}

/** The comment that the page's address asks for. */
function linked() {
  const wanted = new URLSearchParams(location.search).get("collab");
  return wanted?.startsWith("comment:") ? wanted.slice("comment:".length) : null;
}

if (!customElements.get("collab-panel")) customElements.define("collab-panel", CollabPanel);
