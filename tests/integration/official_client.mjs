// The official Socket.IO client for JavaScript, told what to do on stdin and telling what happens on stdout, a JSON
// value a line. First line in: {bundle, url, auth, transports: ["websocket" | "polling" ...], topic?}. It comes back
// by itself with the resume token that server.hello brought, and subscribes again after the last seq it has seen.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const given = JSON.parse((await lines.next()).value);

const { io, Fetch, WebSocket } = await import(pathToFileURL(given.bundle));
const transports = given.transports.map((name) => ({ websocket: WebSocket, polling: Fetch })[name]);

let auth = given.auth;
let last = 0;
const socket = io(given.url, {
  transports,
  auth: (answer) => answer(auth),
  forceNew: true,
  reconnectionDelay: 50,
  reconnectionDelayMax: 300,
});

socket.onAny((event, data) => {
  say({ event, data });
  if (data?.topic === given.topic && data?.seq) last = data.seq;
});
socket.on("server.hello", async (hello) => {
  auth = { resumeToken: hello.resumeToken };
  if (!given.topic) return;
  const { ok, data } = await socket.emitWithAck("topic.subscribe", { topic: given.topic, after: last });
  say({ subscribed: ok, data });
  if (ok) last = Math.max(last, data.seq);
});
socket.on("disconnect", (reason) => say({ disconnected: reason, transport: socket.io.engine?.transport?.name }));
socket.on("connect_error", (error) => say({ refused: error.message, data: error.data, isActive: socket.active }));

for await (const line of lines) {
  const [order, ...more] = JSON.parse(line);
  if (order === "ask") say({ answer: await socket.timeout(10_000).emitWithAck(...more) });
  else if (order === "cut") socket.io.engine.close();
  else if (order === "move") socket.io.uri = more[0];
  else if (order === "transport") say({ transport: socket.io.engine.transport.name });
}
socket.close();
