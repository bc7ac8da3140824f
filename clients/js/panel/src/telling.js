// Where something was said, who is in there, and why one is told of it, in words.

import { most } from "./parts.js";

const MANY = 40; // code points of a name in a sentence
const MOST_NAMES = 3;

/** A topic in words. @param {any} words @param {any} host @param {string} topic @param {any} [discussion] */
export function whereOf(words, host, topic, discussion) {
  if (discussion) return discussion.name;
  return host.describeTopic?.(topic) || words.say(topic.startsWith("discussion:") ? "discussion" : "elsewhere");
}

/** Who is in it, in words, oneself last. @param {any} words @param {any} discussion @param {any} me @returns {string[]} */
export function membersOf(words, { members }, me) {
  const others = members.filter((/** @type {any} */ { id }) => id !== me?.id);
  const names = others.slice(0, MOST_NAMES).map((/** @type {any} */ { name }) => name);
  if (others.length > MOST_NAMES) names.push(words.say("more.people", { count: others.length - MOST_NAMES }));
  if (others.length < members.length) names.push(words.say("you"));
  return names;
}

/** What a bell says, the number as it shows it: who speaks to a browser calls it what they see. @param {any} words @param {number} count */
export const bellOf = (words, count) => (count ? words.say("inbox.unread", { count: most(count) }) : words.say("inbox"));

/** Why one is told. @param {any} words @param {any} notification */
export function whyOf(words, { kind, why }) {
  if (kind === "mention" && why.startsWith("mentioned ") && why !== "mentioned you") {
    return words.say("why.mention.group", { name: cut(why.slice("mentioned ".length)) });
  }
  if (kind === "reply" && why.endsWith("you follow")) return words.say("why.follow");
  return words.has(`why.${kind}`) ? words.say(`why.${kind}`) : why;
}

/** A name that is not too long for a sentence. @param {string} text */
export const cut = (text) => ([...text].length > MANY ? `${[...text].slice(0, MANY).join("")}…` : text);
