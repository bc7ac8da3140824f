// The comments of a dashboard for any page: `connect`, and <collab-panel>.

export { connect } from "./element.js";
export { CollabPanel } from "./elements.js";
export { LANGUAGES } from "./words.js";
