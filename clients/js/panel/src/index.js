/// <reference path="../types/globals.d.ts" preserve="true" />
// The comments of a dashboard for any page: `connect`, <collab-panel>, and small elements beside it.

export { connect } from "./element.js";
export { CollabPanel } from "./elements.js";
export { CollabBadge, CollabBell, CollabDiscussions, CollabInbox } from "./small.js";
export { LANGUAGES } from "./words.js";

/** @typedef {import("./places.js").Anchor} Anchor */
/** @typedef {import("./places.js").Attachment} Attachment */
