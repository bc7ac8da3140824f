// Changes that are shown at no comment: what is refused of them is told to whoever asked, and not kept.

/** @import { Client } from "collab-client" */

const SHOWN = /^comment\.|^thread\.re/u;

/** Forget what was refused and is shown nowhere. @param {Client} client */
export function forgetRefused(client) {
  for (const { key, name, topic, state, problem } of client.outbox.snapshot()) {
    if (state !== "refused" || SHOWN.test(name)) continue;
    // A name that another one stands in the way of is shown beside that, while there is a discussion.
    if (!problem?.discussion || client.topic(topic).snapshot().state === "closed") client.outbox.discard(key);
  }
}

/**
 * Have a change take effect once.
 * @param {Client} client
 * @param {any} name
 * @param {any} payload
 * @param {string} [topic]
 * @returns {Promise<any>}
 */
export async function change(client, name, payload, topic) {
  try {
    return await client.change(name, payload, topic);
  } catch (problem) {
    forgetRefused(client);
    throw problem;
  }
}
