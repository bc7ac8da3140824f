// What all elements of the panel are made of: one client for all of them, their language, and when they are drawn.

import { createClient } from "./client.js";
import { render } from "./preact.js";
import { wordsOf } from "./words.js";

/** @import { Client, Options } from "collab-client" */

const HINT_MS = 5000; // what is not there by then was probably forgotten
const COMPOSED = 229;

/** @type {Client | null} */
let shared = null;
/** @type {Set<CollabElement>} */
const connected = new Set();
/** @type {Map<string, CSSStyleSheet>} */
const sheets = new Map();

/**
 * Connect: the elements of this page talk over this client, unless they have one of their own.
 * @param {(Options & {url: string | URL}) | Client} options what `createClient` of collab-client takes, with the `url`,
 *   for a panel may come from another server than its page; or a client of one's own
 * @returns {Client}
 * @throws {TypeError} for what is neither
 */
export function connect(options) {
  const client = clientOf(options);
  shared = client;
  connected.forEach((element) => element.redraw());
  return client;
}

/** @param {any} options @returns {Client} */
function clientOf(options) {
  if (options?.connection) return options;
  if (!options?.url || !("auth" in options)) {
    throw new TypeError("connect: expected {url, auth}, or a client of createClient");
  }
  return createClient({ ...options, auth: telling(options.auth) });
}

/**
 * As `auth`; what it throws is told to whoever develops the page, for people see no more than that it takes long.
 * @param {Options["auth"]} auth
 * @returns {Options["auth"]}
 */
function telling(auth) {
  if (typeof auth !== "function") return auth;
  let told = "";
  return async () => {
    try {
      return await auth();
    } catch (error) {
      if (told !== String(error)) console.error("collab-panel: auth has failed; it is asked again", error);
      told = String(error);
      throw error;
    }
  };
}

/** A style that is parsed once, however many elements have it. @param {string} style */
function sheetOf(style) {
  let sheet = sheets.get(style);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    sheets.set(style, sheet);
  }
  return sheet;
}

/**
 * An element that says what it shows in `draw`.
 *
 * @attr topic the dashboard that is open
 * @attr lang the language, also from an element around it; else that of the browser
 * @attr keys `off`: no keys of a single letter
 * @attr enter `send`: Enter sends, and Shift with Enter makes a new line
 */
export class CollabElement extends HTMLElement {
  /** @type {Client | null} */ #client = null;
  /** @type {any} */ #root;
  #isAsked = false;

  /** @param {string[]} styles */
  constructor(...styles) {
    super();
    this.#root = this.attachShadow({ mode: "open" });
    this.#root.adoptedStyleSheets = styles.map(sheetOf);
    // Keys that an input method has taken are none of ours. Safari says so of the last one by its code alone.
    const notComposed = (/** @type {KeyboardEvent} */ event) =>
      (event.isComposing || event.keyCode === COMPOSED) && event.stopPropagation();
    this.#root.addEventListener("keydown", notComposed, true);
  }

  /** Have one more style, once. @internal @param {string} style */
  wear(style) {
    const sheet = sheetOf(style);
    const worn = this.#root.adoptedStyleSheets;
    if (!worn.includes(sheet)) this.#root.adoptedStyleSheets = [...worn, sheet];
  }

  /** Its client; that of `connect` unless set. @returns {Client | null} */
  get client() {
    return this.#client ?? shared;
  }

  set client(client) {
    this.#client = client;
    this.redraw();
  }

  /** The topic that it is about. */
  get topic() {
    return this.getAttribute("topic") ?? "";
  }

  set topic(name) {
    this.setAttribute("topic", name);
  }

  connectedCallback() {
    connected.add(this);
    this.redraw();
    setTimeout(() => this.#hint(), HINT_MS);
  }

  /** Say to whoever develops the page why there is nothing to be seen. */
  #hint() {
    const needsTopic = /panel|badge/.test(this.localName);
    const lacks = this.client ? needsTopic && !this.topic && "a topic" : "a client: call connect({url, auth})";
    if (lacks && this.isConnected) console.warn(`<${this.localName}> shows nothing, for it has not got ${lacks}`);
  }

  disconnectedCallback() {
    connected.delete(this);
    // What is only moved comes back in this turn.
    queueMicrotask(() => this.isConnected || render(/** @type {any} */ (null), this.#root));
  }

  /** @param {string} _name @param {string | null} _before @param {string | null} _value */
  attributeChangedCallback(_name, _before, _value) {
    this.redraw();
  }

  /** Draw it anew, once in a turn. */
  redraw() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    queueMicrotask(async () => {
      this.#isAsked = false;
      const language = this.closest("[lang]")?.getAttribute("lang") || navigator.language;
      const words = await wordsOf(language);
      if (this.isConnected) render(this.draw(words), this.#root);
    });
  }

  /** What it shows. @internal @param {import("./words.js").Words} _words @returns {any} */
  draw(_words) {
    return null;
  }
}

/** @param {string} name @param {CustomElementConstructor} element */
export function define(name, element) {
  if (!customElements.get(name)) customElements.define(name, element);
}
