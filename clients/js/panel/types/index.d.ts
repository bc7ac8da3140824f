/// <reference path="globals.d.ts" preserve="true" />
export { connect } from "./element.js";
export { CollabPanel } from "./elements.js";
export { CollabBadge, CollabBell, CollabDiscussions, CollabInbox } from "./small.js";
export { LANGUAGES } from "./words.js";
export type Anchor = import("./places.js").Anchor;
export type Attachment = import("./places.js").Attachment;
/** @typedef {import("./places.js").Anchor} Anchor */
/** @typedef {import("./places.js").Attachment} Attachment */
