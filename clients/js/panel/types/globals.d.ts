// What pages know of the elements without importing them.

import type { Comment } from "collab-client";
import type { AnchorPayload } from "collab-client/wire";
import type { CollabPanel } from "./elements.js";
import type { CollabBadge, CollabBell, CollabDiscussions, CollabInbox } from "./small.js";

declare global {
  interface HTMLElementTagNameMap {
    "collab-panel": CollabPanel;
    "collab-inbox": CollabInbox;
    "collab-bell": CollabBell;
    "collab-discussions": CollabDiscussions;
    "collab-badge": CollabBadge;
  }
  interface HTMLElementEventMap {
    "collab-apply": CustomEvent<{ viewState: any; comment?: Comment; topic?: string }>;
    "collab-place": CustomEvent<{ place: AnchorPayload | null }>;
    "collab-point": CustomEvent<{ threadId: string | null; anchor: AnchorPayload | null }>;
    "collab-open": CustomEvent<{ topic: string; commentId: string | null }>;
  }
}
