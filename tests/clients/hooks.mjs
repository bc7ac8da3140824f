// collab-react against a node: rendered on a server first, then under StrictMode with concurrent rendering. Prints what a
// server renders, what is shown in the end, how often two components of one commit have shown different states, and how often
// it was mounted.

import { createClient } from "collab-client";
import { CollabProvider, useConnection, useTopic, useUnread } from "collab-react";
import { createElement, startTransition, StrictMode, useLayoutEffect, useState } from "react";
import { renderToString } from "react-dom/server";
import { JSDOM } from "jsdom";

const [url, library, authToken, cookie, name] = process.argv.slice(2);

async function auth() {
  const headers = { "X-MSTR-AuthToken": authToken, Cookie: cookie };
  const answer = await fetch(`${library}/auth/identityToken`, { method: "POST", headers });
  return { identityToken: answer.headers.get("X-MSTR-IdentityToken") };
}

const shown = {};
let torn = 0;
let mounted = 0;
let mounts = 0;

/** Takes its time, so that something changes while the others are rendered. */
function Part({ place }) {
  const topic = useTopic(name);
  const { state } = useConnection();
  const unread = useUnread();
  const until = performance.now() + 3;
  while (performance.now() < until);
  useLayoutEffect(() => {
    shown[place] = topic;
  });
  const texts = topic.threads.map(({ comments }) => comments[0].text);
  return createElement("p", null, `${state} ${topic.state} ${unread} ${texts.join(" ")}`);
}

function Parts({ places }) {
  useTopic(name);
  const [tick, setTick] = useState(0);
  useLayoutEffect(() => {
    mounted += 1;
    mounts += 1;
    const timer = setInterval(() => startTransition(() => setTick((tick) => tick + 1)), 5);
    return () => {
      mounted -= 1;
      clearInterval(timer);
    };
  }, []);
  useLayoutEffect(() => {
    if (new Set(places.map((place) => shown[place])).size > 1) torn += 1;
  });
  return places.map((place) => createElement(Part, { key: place, place, tick }));
}

const appOf = (client) => createElement(CollabProvider, { client }, createElement(Parts, { places: [1, 2, 3, 4] }));

const onServer = createClient({ url, auth: () => null });
const html = renderToString(appOf(onServer));
onServer.close();

const client = createClient({ url, auth });
globalThis.window = new JSDOM('<div id="root"></div>').window; // once the client is made: in Node it is one of Node
globalThis.document = window.document;
const { createRoot } = await import("react-dom/client");
const root = createRoot(document.getElementById("root"));
root.render(createElement(StrictMode, null, appOf(client)));
const topic = client.topic(name);
await topic.open();
await Promise.all(Array.from({ length: 20 }, (_, number) => topic.add({ text: `${number}` })));
const last = () => document.querySelector("p:last-of-type")?.textContent ?? "";
while (!last().endsWith(" 19")) await new Promise((done) => setTimeout(done, 20));
const text = last();
const mountedOnce = mounted;
root.unmount();
while (mounted) await new Promise((done) => setTimeout(done, 20));
client.close();
console.log(JSON.stringify({ html, text, torn, mountedOnce, mounts }));
process.exit();
