export { createClient } from "./client.js";
export { mention, mentionsOf, pieces } from "./mentions.js";
export { Refused } from "./refused.js";
export type Client = import("./client.js").Client;
export type Options = import("./client.js").Options;
export type ConnectionState = import("./connection.js").ConnectionState;
export type Credentials = import("./connection.js").Credentials;
export type Comment = import("./fold.js").Comment;
export type Inbox = import("./inbox.js").Inbox;
export type InboxState = import("./inbox.js").InboxState;
export type Keeping = import("./keeping.js").Keeping;
export type Piece = import("./mentions.js").Piece;
export type Entry = import("./outbox.js").Entry;
export type Outbox = import("./outbox.js").Outbox;
export type Code = import("./refused.js").Code;
export type NewComment = import("./topic.js").NewComment;
export type Thread = import("./topic.js").Thread;
export type Topic = import("./topic.js").Topic;
export type TopicState = import("./topic.js").TopicState;
export type Wire = import("../types/wire.js").Wire;
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
