// The comments of a dashboard for any page: `connect`, and <collab-panel>.

export { CollabPanel, connect } from "./elements.js";
export { LANGUAGES } from "./words.js";
