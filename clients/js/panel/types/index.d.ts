import type { Client, Options } from "collab-client";
import type { AnchorPayload } from "collab-client/wire";

/** The languages there are. */
export const LANGUAGES: readonly string[];

/** What a new comment can have with it. */
export interface Attachment {
  /** The view in words, for its chip. */
  label?: string | null;
  /** Is attached when one wishes. */
  viewState?: { [key: string]: unknown } | null;
  /** Is attached unless one takes it away. */
  anchor?: AnchorPayload | null;
}

/** Connect: the elements of this page talk over this client, unless they have one of their own. */
export function connect(options: Options | Client): Client;

/** `<collab-panel topic="content:{projectId}:{objectId}">` */
export class CollabPanel extends HTMLElement {
  /** That of `connect` unless set. */
  client: Client | null;
  topic: string;
  attachment: Attachment | null;
  describeView: ((viewState: any) => string | null) | null;
  describePlace: ((anchor: any) => string | null) | null;
  /** The place whose threads are shown; null for all. */
  place: AnchorPayload | null;
  /** Goes to the place of a comment; null where none can be gone to. */
  goTo: ((anchor: any) => void) | null;
  linkTo: ((commentId: string) => string) | null;
  describeTopic: ((topic: string) => string | null) | null;
  /** Go to a comment of this topic. */
  show(commentId: string): void;
  /** Show another topic over this one, with a way back. */
  open(topic: string, commentId?: string | null): void;
  redraw(): void;
}

declare class CollabRooms extends HTMLElement {
  /** That of `connect` unless set. */
  client: Client | null;
  /** The dashboard that is open. */
  topic: string;
  describeView: ((viewState: any) => string | null) | null;
  describePlace: ((anchor: any) => string | null) | null;
  describeTopic: ((topic: string) => string | null) | null;
  linkTo: ((commentId: string) => string) | null;
  redraw(): void;
}

/** `<collab-inbox>`: what one was told, wherever. */
export class CollabInbox extends CollabRooms {}

/** `<collab-bell>`: how many one has not read, and the inbox over the page. */
export class CollabBell extends CollabRooms {}

/** `<collab-discussions>`: the private discussions one is in. */
export class CollabDiscussions extends CollabRooms {}

/** `<collab-badge topic="…" anchor='{"pageKey": "…"}'>`: what there is at a place, or unread in a topic. */
export class CollabBadge extends HTMLElement {
  /** That of `connect` unless set. */
  client: Client | null;
  topic: string;
  /** Null: the whole topic. */
  anchor: { pageKey?: string | null; visualizationKey?: string | null } | null;
  redraw(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "collab-panel": CollabPanel;
    "collab-inbox": CollabInbox;
    "collab-bell": CollabBell;
    "collab-discussions": CollabDiscussions;
    "collab-badge": CollabBadge;
  }
  interface HTMLElementEventMap {
    "collab-apply": CustomEvent<{ viewState: any; comment?: import("collab-client").Comment; topic?: string }>;
    "collab-place": CustomEvent<{ place: AnchorPayload | null }>;
    "collab-point": CustomEvent<{ threadId: string | null; anchor: AnchorPayload | null }>;
    "collab-open": CustomEvent<{ topic: string; commentId: string | null }>;
  }
}
