// The client beside the panel, as a node serves both.
export { createClient, mention, mentionsOf, pieces } from "../collab-client/index.js";
export { discussionsOf } from "../collab-client/discussions.js";
export { marksOf } from "../collab-client/marks.js";
export { placesOf } from "../collab-client/places.js";
export { summariesOf } from "../collab-client/summaries.js";
