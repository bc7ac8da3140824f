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
  /** Go to a comment of this topic. */
  show(commentId: string): void;
  redraw(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "collab-panel": CollabPanel;
  }
  interface HTMLElementEventMap {
    "collab-apply": CustomEvent<{ viewState: any; comment: import("collab-client").Comment }>;
    "collab-place": CustomEvent<{ place: AnchorPayload | null }>;
    "collab-point": CustomEvent<{ threadId: string | null; anchor: AnchorPayload | null }>;
  }
}
