export { createClient } from "./client.js";
export { mention, mentionsOf, pieces } from "./mentions.js";
export { Refused } from "./refused.js";

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./client.js").Options} Options */
/** @typedef {import("./connection.js").ConnectionState} ConnectionState */
/** @typedef {import("./connection.js").Credentials} Credentials */
/** @typedef {import("./fold.js").Comment} Comment */
/** @typedef {import("./inbox.js").Inbox} Inbox */
/** @typedef {import("./inbox.js").InboxState} InboxState */
/** @typedef {import("./keeping.js").Keeping} Keeping */
/** @typedef {import("./mentions.js").Piece} Piece */
/** @typedef {import("./outbox.js").Entry} Entry */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./refused.js").Code} Code */
/** @typedef {import("./topic.js").NewComment} NewComment */
/** @typedef {import("./topic.js").Thread} Thread */
/** @typedef {import("./topic.js").Topic} Topic */
/** @typedef {import("./topic.js").TopicState} TopicState */
/** @typedef {import("../types/wire.js").Wire} Wire */
