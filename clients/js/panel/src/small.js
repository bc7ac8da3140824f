// Small elements beside the panel: <collab-bell>, <collab-inbox>, <collab-discussions>, <collab-badge>.

import { placesOf, summariesOf } from "./client.js";
import { CollabElement, define } from "./element.js";
import { CollabRooms } from "./elements.js";
import { listen } from "./listening.js";
import { Count, Icon, most, useStore } from "./parts.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";
import { NARROW } from "./sheet.js";
import { STYLE } from "./style.js";
import { bellOf } from "./telling.js";

const WIDTH = 400;
const HEIGHT = 560;
const GAP = 8;

/** What one was told, wherever; as high as its place. */
export class CollabInbox extends CollabRooms {
  /** @internal @override @param {any} words */
  draw(words) {
    return this.client && this.rooms(words, { kind: "inbox" });
  }
}

/** The private discussions one is in, those about the topic first. */
export class CollabDiscussions extends CollabRooms {
  /** @internal @override @param {any} words */
  draw(words) {
    return this.client && this.rooms(words, { kind: "discussions" });
  }
}

const BELL = /* css */ `
:host { display: inline-block; height: auto; background: none; }
.bell { position: relative; width: 32px; height: 32px; color: inherit; }
.bell .icon { width: 20px; height: 20px; }
.sheet { position: fixed; inset: auto; margin: 0; padding: 0; overflow: hidden; border: 1px solid var(--line); border-radius: 12px; background: var(--sheet); color: var(--ink); box-shadow: 0 12px 40px rgb(0 0 0 / 22%); }
.sheet .rooms { height: 100%; }
`;

/** A button with how many one has not read; the inbox opens over the page. */
export class CollabBell extends CollabRooms {
  constructor() {
    super(BELL);
  }

  /** @internal @override @param {any} words */
  draw(words) {
    return this.client && html`<${Bell} host=${this} client=${this.client} words=${words} />`;
  }
}

/** @param {{host: any, client: any, words: any}} props */
function Bell({ host, client, words }) {
  const { unread } = useStore(client.inbox);
  const [isOpen, setOpen] = useState(false);
  const button = useRef(/** @type {any} */ (null));
  const sheet = useRef(/** @type {any} */ (null));
  const before = useRef(unread);
  const label = bellOf(words, unread);
  const said = unread > before.current ? label : "";
  before.current = unread;

  useLayoutEffect(() => {
    if (!isOpen) return undefined;
    const place = () => {
      const { top, bottom, left, right } = button.current.getBoundingClientRect();
      const { style } = sheet.current;
      const isPhone = matchMedia(NARROW).matches; // it is a sheet from below there
      const width = isPhone ? innerWidth : Math.min(WIDTH, innerWidth - 2 * GAP);
      const below = innerHeight - bottom - 2 * GAP;
      const isAbove = below < HEIGHT && top > below;
      const height = isPhone ? innerHeight * 0.85 : Math.min(HEIGHT, Math.max(200, isAbove ? top - 2 * GAP : below));
      const fromLeft = left + right < innerWidth ? left : right - width;
      style.width = `${width}px`;
      style.height = `${height}px`;
      style.left = `${isPhone ? 0 : Math.max(GAP, Math.min(fromLeft, innerWidth - width - GAP))}px`;
      style.top = `${isPhone ? innerHeight - height : isAbove ? top - height - GAP : bottom + GAP}px`;
    };
    sheet.current.showPopover?.();
    place();
    sheet.current.querySelector("[data-first]")?.focus();
    const ends = [
      listen(document, "pointerdown focusin", (event) => event.composedPath().includes(host) || setOpen(false)),
      listen(window, "resize scroll", place, true),
    ];
    return () => ends.forEach((end) => end());
  }, [isOpen]);

  const close = () => {
    setOpen(false);
    button.current.focus();
  };
  return html`
    <button
      ref=${button}
      type="button"
      class="bare bell"
      part="bell"
      aria-label=${label}
      title=${label}
      aria-haspopup="dialog"
      aria-expanded=${isOpen}
      onClick=${() => setOpen(!isOpen)}
    >
      <${Icon} name="bell" /><${Count} count=${unread} />
    </button>
    <p class="unseen" role="status">${said}</p>
    ${isOpen &&
    html`<div class="sheet" part="sheet" popover="manual" role="dialog" aria-label=${words.say("inbox")} ref=${sheet}>
      ${host.rooms(words, { kind: "inbox", onClose: close })}
    </div>`}
  `;
}

const BADGE = /* css */ `
:host { display: inline-block; height: auto; vertical-align: middle; line-height: 1; }
.badge { display: inline-grid; place-items: center; min-width: 22px; height: 22px; padding: 0 6px; border: 1px solid var(--edge); border-radius: 999px; background: var(--raised); color: var(--ink); font-size: 12px; font-weight: 600; }
.badge.unread { border-color: transparent; background: var(--accent); color: var(--on-accent); }
@media (forced-colors: active) { .badge.unread { forced-color-adjust: none; background: Highlight; color: HighlightText; } }
`;

/**
 * How many threads are open at a place, in the accent colour where something there is unread. However many there are on
 * a page, they share a question.
 *
 * @attr topic the dashboard
 * @attr anchor the place, as JSON: `{"pageKey": "…", "visualizationKey": "…"}`; without it, how many comments of the topic
 *   are unread
 */
export class CollabBadge extends CollabElement {
  static observedAttributes = ["topic", "anchor", "lang"];

  constructor() {
    super(STYLE, BADGE);
  }

  /** The place; null for the whole topic. @returns {import("./places.js").Anchor | null} */
  get anchor() {
    try {
      const anchor = JSON.parse(this.getAttribute("anchor") ?? "null");
      return anchor && typeof anchor === "object" ? anchor : null;
    } catch {
      return null;
    }
  }

  set anchor(anchor) {
    if (anchor) this.setAttribute("anchor", JSON.stringify(anchor));
    else this.removeAttribute("anchor");
  }

  /** @internal @override @param {any} words */
  draw(words) {
    const { client, topic } = this;
    if (!client || !topic) return null;
    const Kind = this.hasAttribute("anchor") ? PlaceBadge : TopicBadge;
    return html`<${Kind} key=${topic} client=${client} name=${topic} anchor=${this.anchor} words=${words} />`;
  }
}

/** @param {any} props */
function PlaceBadge({ client, name, anchor, words }) {
  const places = placesOf(client, client.topic(name));
  const { open, unread } = useStore(places, ({ at }) => at(anchor ?? {}));
  if (!open && !unread) return null;
  const label = [words.say("badge.open", { count: open }), ...(unread ? [words.say("unread", { count: unread })] : [])].join(", ");
  return html`<span class="badge ${unread ? "unread" : ""}" part="badge" role="img" aria-label=${label} title=${label}>
    ${most(open || unread)}
  </span>`;
}

/** @param {any} props */
function TopicBadge({ client, name, words }) {
  const topic = client.topic(name).name;
  const summaries = summariesOf(client);
  useEffect(() => summaries.watch(topic), [summaries, topic]);
  const unread = useStore(summaries, ({ of }) => of(topic)?.unread ?? 0);
  if (!unread) return null;
  const label = words.say("unread", { count: unread });
  return html`<span class="badge unread" part="badge" role="img" aria-label=${label} title=${label}>${most(unread)}</span>`;
}

define("collab-inbox", CollabInbox);
define("collab-discussions", CollabDiscussions);
define("collab-bell", CollabBell);
define("collab-badge", CollabBadge);
