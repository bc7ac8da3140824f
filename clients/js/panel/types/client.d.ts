export { createClient, mention, mentionsOf, pieces } from "collab-client";
export { discussionsOf } from "collab-client/discussions";
export { marksOf } from "collab-client/marks";
export { placesOf } from "collab-client/places";
export { summariesOf } from "collab-client/summaries";
