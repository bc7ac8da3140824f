// The client beside the panel, as a node serves both.
export { createClient, mention, mentionsOf, pieces } from "../collab-client/index.js";
