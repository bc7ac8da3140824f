// A node serves `served.js` in the place of this module.
export { createClient, mention, mentionsOf, pieces } from "collab-client";
