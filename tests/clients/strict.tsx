// What a developer writes with the packages, in strict TypeScript: it has to compile, and what is wrong must not.

import { createClient, pieces, Refused, type Client, type Code, type Comment } from "collab-client";
import { connect, type Attachment } from "collab-panel";
import { CollabProvider, useCommand, useCounts, useInbox, useThreads, useTopic, useTyping } from "collab-react";
import type { CommandsByName, Event } from "collab-client/wire";
import type {} from "collab-panel/react";
import type { CollabPanel } from "collab-panel";
import { attach } from "collab-strategy";
import { createElement, useRef } from "react";

const client: Client = createClient({ url: "http://127.0.0.1:8080", auth: async () => ({ identityToken: "t" }) });
const topic = client.topic("content:1:2");
createClient({ auth: async () => null }); // of the server that the page is from
// @ts-expect-error a panel is told where its server is
connect({ auth: async () => ({ identityToken: "t" }) });

async function write() {
  const { comment, seq } = await topic.add({ text: "one", anchor: { pageKey: "K53" } });
  const text: string = comment.text;
  const next: number = seq + 1;
  const { items } = await client.ask("topic.comments", { topic: topic.name, order: "newest" });
  const first: Comment | undefined = items[0];
  // @ts-expect-error no such field
  await topic.add({ text: "one", txt: "two" });
  // @ts-expect-error no such command
  await client.ask("topic.coments", { topic: topic.name });
  // @ts-expect-error not that type
  await client.change("topic.mute", { topic: topic.name, muted: "yes" });
  // @ts-expect-error no such field in the answer
  comment.txt;
  return [text, next, first];
}

function said(error: unknown): string {
  if (!(error instanceof Refused)) throw error;
  const code: Code = error.code;
  // @ts-expect-error no such code
  if (code === "forbiden") return "";
  return code === "too_large" ? `${error.field} is too long` : error.message;
}

export function Comments({ name }: { name: string }) {
  const { unread, present } = useTopic(name);
  const threads = useThreads(name, { resolved: false });
  const { open } = useCounts(name, { pageKey: "K53" });
  const [typing, type] = useTyping(name);
  const mute = useCommand("topic.mute");
  const badge: number = useInbox().unread;
  const texts = threads.flatMap(({ comments }) => comments.map(({ text, mentions }) => pieces(text, mentions)));
  return createElement(
    "ol",
    { onClick: () => mute({ topic: name, muted: true }), onKeyDown: () => type() },
    unread + present.length + open + typing.length + badge + texts.length,
  );
}

export const App = () => createElement(CollabProvider, { client }, createElement(Comments, { name: topic.name }));
export type Known = [keyof CommandsByName, Event["seq"]];
export { said, write };

function beside(dossier: object) {
  const panel = document.querySelector("collab-panel")!;
  connect(client);
  const view: Attachment = { label: "Region: North", viewState: { filters: [] }, anchor: { pageKey: "K53" } };
  panel.attachment = view;
  panel.place = { visualizationKey: "W63" };
  panel.addEventListener("collab-point", ({ detail }) => detail.anchor?.pageKey);
  // @ts-expect-error no such field
  panel.attachment = { lable: "Region: North" };
  // @ts-expect-error no such field of a place
  panel.place = { page: "K53" };
  // @ts-expect-error no such detail
  panel.addEventListener("collab-place", ({ detail }) => detail.anchor);
  const shown = attach(dossier, panel, { url: "https://library.example.com/app/…" });
  const name: string | undefined = shown.snapshot().applied?.name;
  // @ts-expect-error no such option
  attach(dossier, panel, { adress: "" });
  return name;
}

export function Beside({ name }: { name: string }) {
  const panel = useRef<CollabPanel>(null);
  const goThere = () => panel.current?.show("019ab1c2-d3e4-7f50-8a1b-2c3d4e5f6071");
  // @ts-expect-error no such attribute
  const wrong = <collab-panel topik={name} />;
  return (
    <main onClick={goThere} title={String(wrong)}>
      <collab-panel ref={panel} topic={name} sheet="half" lang="de" style={{ height: "90vh" }}></collab-panel>
      <collab-badge topic={name} anchor='{"pageKey": "K53"}' />
      <collab-bell />
    </main>
  );
}

void beside;
