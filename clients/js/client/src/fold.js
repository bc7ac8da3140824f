// What events and waiting commands make of a comment. Comments are never changed: another one takes the place of one.

import { mentionsOf } from "./mentions.js";

/** @import { Comment as Stored, User } from "../types/wire.js" */
/** @import { Entry } from "./outbox.js" */

/**
 * A comment as it is shown. `pending` is the newest change of one's own that the server has not taken yet.
 * @typedef {Stored & {pending?: Entry}} Comment
 */

/**
 * The id of the comment that an event changes: of a reply that is added, its root.
 * @param {any} event
 * @returns {string | undefined} undefined where it is about no comment
 */
export const about = ({ type, data: { comment, commentId } }) =>
  type === "comment.added" ? comment.threadId : (commentId ?? comment?.id);

/**
 * The comment after an event that is `about` it; itself where that changes nothing. A command does what its event does.
 * @template {Comment} Shown
 * @param {Shown} comment
 * @param {any} event
 * @returns {Shown}
 */
export function fold(comment, { type, data, at, actor }) {
  switch (type) {
    case "comment.added": // of a reply to it
      return data.comment.id === comment.id ? comment : { ...comment, replyCount: comment.replyCount + 1 };
    case "comment.edited":
      return data.comment;
    case "comment.edit":
      return { ...comment, text: data.text, mentions: mentionsOf(data.text), body: null, editedAt: at };
    case "comment.delete":
    case "comment.deleted":
      return comment.deletedAt ? comment : deleted(comment, at);
    case "comment.react":
    case "reaction.added":
      return reacted(comment, data, true);
    case "comment.unreact":
    case "reaction.removed":
      return reacted(comment, data, false);
    case "thread.resolve":
    case "thread.resolved":
      return { ...comment, resolved: { by: actor, at } };
    case "thread.reopen":
    case "thread.reopened":
      return { ...comment, resolved: null };
  }
  return comment;
}

/**
 * The comment as it will be once the server has taken a command, if that is about it.
 * @param {Comment} comment
 * @param {Entry} pending
 * @param {User} me
 * @returns {Comment}
 */
export function foresee(comment, pending, me) {
  const { name: type, payload, state } = pending;
  if (payload.commentId !== comment.id) return comment;
  const command = { type, data: { userId: me.id, ...payload }, at: new Date(pending.at).toISOString(), actor: me };
  // What was refused is shown at the comment, which stays as it is.
  return { ...(state === "refused" ? comment : fold(comment, command)), pending };
}

/**
 * @template {Stored} Shown
 * @param {Shown} comment
 * @param {string} at
 */
function deleted(comment, at) {
  const { dataPoint: _dataPoint, ...anchor } = { ...comment.anchor };
  return {
    ...comment,
    text: "",
    mentions: [],
    body: null,
    viewState: null,
    deletedAt: at,
    anchor: Object.keys(anchor).length ? anchor : null,
  };
}

/**
 * @template {Stored} Shown
 * @param {Shown} comment
 * @param {{emoji: string, userId: string}} which
 * @param {boolean} isThere from now on
 * @returns {Shown}
 */
function reacted(comment, { emoji, userId }, isThere) {
  // As it is spelled in the comment, if it is there: events of former servers have some without U+FE0F.
  const bare = (/** @type {string} */ each) => each.replace(/[\ufe0e\ufe0f]/g, "");
  const spelled = Object.keys(comment.reactions).find((each) => bare(each) === bare(emoji)) ?? emoji;
  const { [spelled]: users = [], ...others } = comment.reactions;
  if (users.includes(userId) === isThere) return comment;
  const left = isThere ? [...users, userId] : users.filter((id) => id !== userId);
  return { ...comment, reactions: left.length ? { ...comment.reactions, [spelled]: left } : others };
}
