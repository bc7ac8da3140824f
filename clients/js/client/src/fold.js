// What events and waiting commands make of a comment. Comments are never changed: another one takes the place of one.

/** @import { Comment as Stored, User } from "../types/wire.js" */
/** @import { Entry } from "./outbox.js" */

/**
 * A comment as it is shown. `pending` is the newest change of one's own that the server has not taken yet.
 * @typedef {Stored & {pending?: Entry}} Comment
 */

/**
 * The comment after an event of its topic; itself where that changes nothing.
 * @param {Stored} comment
 * @param {any} event
 * @returns {Stored}
 */
export function fold(comment, event) {
  const { type, data, at, actor } = event;
  switch (type) {
    case "comment.added":
    case "comment.edited":
      return isNewer(data.comment, comment) ? data.comment : comment;
    case "comment.deleted":
      return comment.deletedAt ? comment : deleted(comment, at);
    case "reaction.added":
      return reacted(comment, spelled(comment, data.emoji), data.userId);
    case "reaction.removed":
      return unreacted(comment, spelled(comment, data.emoji), data.userId);
    case "thread.resolved":
      return { ...comment, resolved: { by: actor, at } };
    case "thread.reopened":
      return { ...comment, resolved: null };
    default:
      return comment;
  }
}

/**
 * Whether one state of a comment is newer than another, or as new. Events of what was deleted since say that it is.
 * @param {Stored} one
 * @param {Stored} other
 */
export function isNewer(one, other) {
  return one.revision >= other.revision && (one.deletedAt !== null || other.deletedAt === null);
}

/**
 * The comment as it will be once the server has taken a command.
 * @param {Comment} comment
 * @param {Entry} entry
 * @param {User} me
 * @returns {Comment}
 */
export function foresee(comment, entry, me) {
  const at = new Date(entry.at).toISOString();
  const { payload } = entry;
  const pending = entry;
  // What was refused is shown at the comment, which stays as it is.
  if (entry.state === "refused") return { ...comment, pending };
  switch (entry.name) {
    case "comment.edit":
      return { ...comment, text: payload.text, body: null, editedAt: at, pending };
    case "comment.delete":
      return { ...deleted(comment, at), pending };
    case "comment.react":
      return { ...reacted(comment, payload.emoji, me.id), pending };
    case "comment.unreact":
      return { ...unreacted(comment, payload.emoji, me.id), pending };
    case "thread.resolve":
      return { ...comment, resolved: { by: me, at }, pending };
    case "thread.reopen":
      return { ...comment, resolved: null, pending };
    default:
      return comment;
  }
}

/**
 * @param {Stored} comment
 * @param {string} at
 */
function deleted(comment, at) {
  /** @type {any} */ const anchor = comment.anchor && { ...comment.anchor };
  if (anchor) delete anchor.dataPoint;
  const left = anchor && Object.keys(anchor).length ? anchor : null;
  return { ...comment, text: "", mentions: [], body: null, viewState: null, anchor: left, deletedAt: at };
}

/**
 * An emoji as it is spelled in the comment, if it is there: events of former servers have some without U+FE0F.
 * @param {Stored} comment
 * @param {string} emoji
 */
function spelled(comment, emoji) {
  const bare = (/** @type {string} */ each) => each.replace(/[\ufe0e\ufe0f]/gu, "");
  return Object.keys(comment.reactions).find((each) => bare(each) === bare(emoji)) ?? emoji;
}

/**
 * @param {Stored} comment
 * @param {string} emoji
 * @param {string} userId
 */
function reacted(comment, emoji, userId) {
  const users = comment.reactions[emoji] ?? [];
  if (users.includes(userId)) return comment;
  return { ...comment, reactions: { ...comment.reactions, [emoji]: [...users, userId] } };
}

/**
 * @param {Stored} comment
 * @param {string} emoji
 * @param {string} userId
 */
function unreacted(comment, emoji, userId) {
  if (!comment.reactions[emoji]?.includes(userId)) return comment;
  const { [emoji]: users, ...reactions } = comment.reactions;
  const left = users.filter((id) => id !== userId);
  return { ...comment, reactions: left.length ? { ...comment.reactions, [emoji]: left } : reactions };
}
