// What TypeScript has to know of the elements in React: `import type {} from "collab-panel/react"`, once.

import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { CollabPanel } from "./elements.js";
import type { CollabBadge, CollabBell, CollabDiscussions, CollabInbox } from "./small.js";

/** Attributes alone: what else an element is told are properties, by a `ref`. */
type Props<Element, Attributes> = DetailedHTMLProps<HTMLAttributes<Element>, Element> & Attributes & { class?: string };

type Room = { topic?: string; keys?: "off"; enter?: "send" };

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "collab-panel": Props<CollabPanel, Room & { comment?: string; sheet?: "low" | "half" | "full" }>;
      "collab-inbox": Props<CollabInbox, Room>;
      "collab-bell": Props<CollabBell, Room>;
      "collab-discussions": Props<CollabDiscussions, Room>;
      "collab-badge": Props<CollabBadge, { topic: string; anchor?: string }>;
    }
  }
}
