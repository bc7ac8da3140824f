// Runs a client for a test: each line of the input is `{id, code, given}`, each line of the output `{id, value}` or
// `{id, error}`. `code` is the body of an async function of `client` and `given`.

import { readFile, rename, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";

import { createClient, mention, mentionsOf, pieces } from "collab-client";
import { discussionsOf } from "collab-client/discussions";
import { placesOf } from "collab-client/places";
import { summariesOf } from "collab-client/summaries";

let [url, library, authToken, cookie, kept] = process.argv.slice(2);
let tokens = 0;

async function auth() {
  const headers = { "X-MSTR-AuthToken": authToken, Cookie: cookie };
  const answer = await fetch(`${library}/auth/identityToken`, { method: "POST", headers });
  if (answer.status !== 201) return null;
  tokens += 1;
  return { identityToken: answer.headers.get("X-MSTR-IdentityToken") };
}

/** What waits, in a file: what a process leaves the next one takes. */
function inFile(path) {
  const entries = new Map();
  let writing = Promise.resolve();
  async function writeWhole() {
    await writeFile(`${path}.new`, JSON.stringify([...entries.values()]));
    await rename(`${path}.new`, path); // whoever is killed meanwhile leaves the one before
  }
  const write = () => (writing = writing.then(writeWhole));
  let isRead = false;
  return {
    async put(entry) {
      entries.set(entry.key, entry);
      await write();
    },
    async remove(key) {
      entries.delete(key);
      await write();
    },
    async adopt(space) {
      if (isRead) return [];
      isRead = true;
      const left = JSON.parse(await readFile(path, "utf8").catch(() => "[]")).filter((entry) => entry.space === space);
      left.forEach((entry) => entries.set(entry.key, entry));
      return left.reverse(); // in whatever order
    },
  };
}

const client = createClient({ url, auth, keeping: kept ? inFile(kept) : null });
const become = (person) => ([authToken, cookie] = person); // at the next sign-in
const tools = { mention, mentionsOf, pieces, discussionsOf, placesOf, summariesOf, tokens: () => tokens, become };
const AsyncFunction = (async () => {}).constructor;

for await (const line of createInterface({ input: process.stdin })) {
  const { id, code, given } = JSON.parse(line);
  new AsyncFunction("client", "given", "tools", code)(client, given, tools).then(
    (value) => console.log(JSON.stringify({ id, value: value ?? null })),
    ({ name, message, code, stack }) => console.log(JSON.stringify({ id, error: { name, message, code, stack } })),
  );
}
process.exit();
