// One connection to the collaboration server: signing in, staying in touch, commands with exactly one effect.
//
// Emits "change" when `state`, `node`, `user` or `serving` did, "hello" whenever the server has taken us in (again),
// and "event" and "closed" with what the server said in `detail`. `state` is one of
//   connecting   for the first time
//   connected
//   away         the connection is lost; coming back happens by itself, on whichever node
//   signed_out   the server does not take us any more; `reason` says why

import { io } from "../vendor/socket.io.esm.min.js";

const ANSWER_MS = 10_000;
const SIGN_OUT_MS = 1_000;
const ATTEMPTS = 5;
const NODE_COOKIE = "collab_node"; // NGINX's sticky cookie: which node this browser is sent to

/** A refusal of the server: `code`, `message`, perhaps `retryAfter` (seconds) and `outcome`. */
export class Refused extends Error {
  constructor({ code, message, retryAfter, outcome }) {
    super(message);
    Object.assign(this, { code, retryAfter, outcome });
  }

  /** Whether repeating the very same command, requestId included, is safe and may help. */
  get mayBeRepeated() {
    return this.code === "no_answer" || this.code === "rate_limited" || this.outcome === "unknown";
  }
}

export class Connection extends EventTarget {
  state = "connecting";
  reason = "";
  user = null;
  node = "";
  transport = "";
  serving = null; // what server.state said last while the node was not running: {state, reason}
  resumeToken = null;

  #identityToken;
  #socket;
  #retry;

  /** `identityToken` from Library, or a `resumeToken` that an earlier connection was given. */
  constructor({ identityToken, resumeToken }) {
    super();
    this.#identityToken = identityToken;
    this.resumeToken = resumeToken ?? null;
    this.#socket = io({
      // A function: every attempt, also one by itself after a loss, signs in with the best token there is by then.
      auth: (give) =>
        give(this.resumeToken ? { resumeToken: this.resumeToken } : { identityToken: this.#identityToken }),
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionDelay: 300,
      reconnectionDelayMax: 3000,
      timeout: 8000,
    });
    this.#listen();
  }

  #listen() {
    const socket = this.#socket;
    socket.on("server.hello", ({ user, node, epoch, resumeToken }) => {
      this.resumeToken = resumeToken;
      this.#set({
        state: "connected",
        reason: "",
        serving: null,
        user,
        node,
        transport: socket.io.engine.transport.name,
      });
      this.dispatchEvent(new CustomEvent("hello", { detail: { epoch } }));
    });
    socket.on("server.state", ({ state, reason, serving }) => {
      this.#set({ serving: state === "running" ? null : { state, reason, serving } });
    });
    socket.on("server.signed_out", ({ reason }) => this.#set({ state: "signed_out", reason: reason ?? "" }));
    socket.on("topic.closed", (closed) => this.dispatchEvent(new CustomEvent("closed", { detail: closed })));
    socket.onAny((_name, event) => {
      if (Number.isInteger(event?.seq)) this.dispatchEvent(new CustomEvent("event", { detail: event }));
    });
    socket.on("disconnect", (reason) => {
      if (this.state === "signed_out") return;
      this.#set({ state: "away", reason });
      if (reason === "io server disconnect") this.#comeBack(1);
    });
    socket.on("connect_error", (error) => {
      if (socket.active) {
        // The network, or a node that starts or drains: the client library tries again by itself.
        if (this.state !== "connecting") this.#set({ state: "away", reason: error.message });
        return;
      }
      const { code = error.message, message = error.message, retryAfter = 3 } = error.data ?? {};
      if (code === "unauthenticated" || code === "forbidden") {
        this.#set({ state: "signed_out", reason: message });
      } else {
        this.#set({ state: "away", reason: message });
        this.#comeBack(retryAfter);
      }
    });
  }

  #comeBack(seconds) {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#socket.connect(), seconds * 1000);
  }

  #set(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
  }

  /** Send a command that only reads, and return its data. Throws Refused. */
  async ask(name, payload) {
    let answer;
    try {
      answer = await this.#socket.timeout(ANSWER_MS).emitWithAck(name, payload);
    } catch {
      throw new Refused({ code: "no_answer", message: "The server did not answer." });
    }
    if (answer.ok) return answer.data;
    throw new Refused(answer.error);
  }

  /**
   * Send a command that changes something, and return its data. When the connection breaks before the answer it is
   * sent again under the same requestId, so that it takes effect once: however long we are away, but no more when
   * `ATTEMPTS` were refused or broke the connection. Throws Refused.
   */
  async change(name, payload) {
    const command = { ...payload, requestId: newRequestId() };
    for (let attempt = 1; ; ) {
      const connection = this.#socket.id; // none while we are away
      try {
        return await this.ask(name, command);
      } catch (refused) {
        const isAway = refused.code === "no_answer" && (!connection || connection === this.#socket.id);
        if (!isAway) attempt += 1;
        if (!refused.mayBeRepeated || attempt > ATTEMPTS || this.state === "signed_out") throw refused;
        await delay((refused.retryAfter ?? 0.5) * 1000);
      }
    }
  }

  /** Drop the connection and come back, on another node where a load balancer with a sticky cookie is in front. */
  moveToAnotherNode() {
    forgetNode();
    this.#socket.disconnect();
    this.#socket.connect();
  }

  /** End the sign-in, in all windows that share it. Where nobody answers within a second it lasts until its time is over. */
  async signOut() {
    this.#socket.off("server.signed_out").off("disconnect");
    try {
      await this.#socket.timeout(SIGN_OUT_MS).emitWithAck("session.end", {});
    } catch {
      // Nothing more can be done about it here.
    }
    this.close();
  }

  close() {
    clearTimeout(this.#retry);
    this.#socket.disconnect();
  }
}

/** Make the load balancer choose a node anew. Windows share the cookie: what is connected stays where it is. */
export function forgetNode() {
  document.cookie = `${NODE_COOKIE}=; path=/; max-age=0; samesite=lax`;
}

// Not crypto.randomUUID(): browsers offer that only over HTTPS and on localhost.
function newRequestId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function delay(ms) {
  return new Promise((done) => setTimeout(done, ms));
}
