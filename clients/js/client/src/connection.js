// One connection: signing in, coming back, asking.

import { Refused } from "./refused.js";
import { io } from "./socket.js";
import { Store } from "./store.js";

/** @import { CommandsByName, Serving, User } from "../types/wire.js" */

/**
 * What one shows to be let in: a token of Library, or a resume token of another connection.
 * @typedef {{identityToken: string} | {authToken: string} | {resumeToken: string}} Credentials
 */

/**
 * @typedef {object} ConnectionState
 * @property {"connecting" | "live" | "offline" | "signed_out" | "closed"} state `offline`: it comes back by itself;
 *   `signed_out`: `signIn()` tries again
 * @property {User | null} user who is signed in; kept while offline
 * @property {string} node which node one is connected to
 * @property {Serving | null} serving what works while something that the node needs is away; null when all does
 * @property {Refused | null} problem why one is not connected, where that is known
 */

/**
 * The payload of a command, by its name.
 * @template {keyof CommandsByName} Name
 * @typedef {CommandsByName[Name]["payload"]} Payload
 */

/**
 * What a command answers, by its name.
 * @template {keyof CommandsByName} Name
 * @typedef {CommandsByName[Name]["answer"]} Answer
 */

const ANSWER_MS = 10_000; // the server's own limits are below that
const AGAIN_SECONDS = 3;
const EXPECTED = "Expected {url, auth: {identityToken}}.";
const FRESH_MS = 20_000; // a token that was got so recently and is refused is not worth asking for again

/** @extends {Store<ConnectionState>} */
export class Connection extends Store {
  /** @type {ConnectionState} */
  #state = { state: "connecting", user: null, node: "", serving: null, problem: null };
  #auth;
  #socket;
  #onHello;
  #onSaid;
  /** Of the next connection; with a `resumeToken` it is of who is signed in. @type {any} */ #credentials = {};
  #askedAt = 0;
  /** What is left out here: a node that does not say what it knows refuses it. @type {object | false | undefined} */ #without;
  /** The connection that has said hello. @type {string | undefined} */ #greeted;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #later;

  /**
   * @internal
   * @param {string | URL | undefined} url where the server is; a path is that of the place under which a proxy offers it
   * @param {import("./client.js").Options["auth"]} auth
   * @param {object | undefined} options of socket.io-client
   * @param {(user: User) => void} onHello called whenever one is let in, before anybody is told
   * @param {(name: string, said: any) => void} onSaid called with every event and signal: its name, and its argument
   */
  constructor(url, auth, options, onHello, onSaid) {
    super();
    if (Object(auth) !== auth || !(url ?? globalThis.location)) throw new TypeError(EXPECTED);
    this.#auth = typeof auth === "function" ? auth : () => auth;
    this.#onHello = onHello;
    this.#onSaid = onSaid;
    const place = new URL(url ?? "/", /** @type {any} */ (globalThis.location));
    this.#socket = io(place.origin, {
      path: place.pathname.replace(/\/*$/, "/socket.io"),
      autoConnect: false,
      forceNew: true,
      // Polling needs every request at the same node, by a cookie that Node does not keep.
      transports: globalThis.document ? ["websocket", "polling"] : ["websocket"],
      tryAllTransports: true,
      reconnectionDelay: 300,
      timeout: 8000,
      ...options,
      auth: (/** @type {(credentials: object) => void} */ give) => give(this.#credentials),
    });
    this.#listen();
    globalThis.addEventListener?.("online", this.#online);
    this.signIn();
  }

  /** Whether commands can be answered now. */
  get isLive() {
    return this.#state.state === "live";
  }

  /** Ask for a token and connect. Once is enough; after `signed_out` it tries again. */
  async signIn() {
    clearTimeout(this.#later);
    this.#isEnded() || (await 0); // whoever hears that a sign-in is over may come here before it is
    if (this.isLive || this.#state.state === "closed") return;
    this.#socket.disconnect(); // what comes back meanwhile has nothing to show, and would be refused for good
    const own = (this.#credentials = {});
    // What was asked while offline is nothing that the next one asks; what is asked from now on, after an end, is.
    if (this.#isEnded() || this.#state.user) this.#socket.sendBuffer = [];
    if (this.#isEnded()) this.#set({ state: "connecting", user: null, problem: null });
    this.#askedAt = Date.now();
    try {
      const given = await this.#auth();
      if (own !== this.#credentials) return; // it is over meanwhile, or a younger one is under way
      this.#credentials = given;
      if (Object(given) === given) this.#socket.connect();
      else this.#signedOut(given && EXPECTED);
    } catch (error) {
      if (own !== this.#credentials) return;
      this.#away(new Refused({ code: "unavailable", message: String(/** @type {any} */ (error)?.message ?? error) }));
      this.#in(AGAIN_SECONDS, () => this.signIn());
    }
  }

  /** The browser has a network again: nothing waits for its time. */
  #online = () => {
    if (!this.isLive && this.#socket.active) this.#socket.disconnect().connect();
  };

  #listen() {
    const socket = this.#socket;
    socket.on("server.hello", ({ user, node, resumeToken, knows }) => {
      this.#credentials = { resumeToken };
      this.#without = !knows && { format: undefined, ofRevision: undefined, ofName: undefined };
      if (this.#greeted === socket.id) return; // only a younger token
      this.#greeted = socket.id;
      this.#set({ state: "live", user, node, serving: null, problem: null });
      this.#onHello(user);
    });
    socket.on("server.state", ({ state, serving }) => {
      this.#set({ serving: state === "running" ? null : serving });
    });
    socket.on("server.signed_out", ({ reason }) => {
      if (reason === "session_expired") {
        this.#socket.disconnect();
        this.signIn();
      } else {
        this.#signedOut();
      }
    });
    socket.onAny(this.#onSaid);
    socket.on("disconnect", (reason) => {
      this.#greeted = undefined;
      if (this.#isEnded()) return;
      this.#away(this.#state.problem);
      if (reason === "io server disconnect") this.#in(1);
    });
    socket.on("connect_error", (/** @type {Error & {data?: any}} */ error) => {
      if (this.#isEnded()) return;
      // The network, a node that starts, or nobody is there: socket.io-client tries again.
      if (socket.active) return this.#away(new Refused({ code: "no_answer", message: error.message }));
      const problem = new Refused({ code: error.message, message: error.message, ...error.data });
      if (problem.code !== "unauthenticated") {
        this.#away(problem);
        this.#in(problem.retryAfter ?? AGAIN_SECONDS);
      } else if (Date.now() - this.#askedAt < FRESH_MS) {
        this.#signedOut(problem.message);
      } else {
        this.signIn();
      }
    });
  }

  #isEnded() {
    return this.#state.state === "signed_out" || this.#state.state === "closed";
  }

  /** @param {number} seconds @param {() => void} act */
  #in(seconds, act = () => this.#socket.connect()) {
    clearTimeout(this.#later);
    this.#later = setTimeout(act, seconds * 1000);
  }

  /** @param {Refused | null} problem */
  #away(problem) {
    this.#set({ state: this.#state.user ? "offline" : "connecting", serving: null, problem });
  }

  /** @param {string | null} [message] */
  #signedOut(message) {
    this.#credentials = {};
    this.#set({
      state: "signed_out",
      serving: null,
      problem: new Refused({ code: "unauthenticated", message: message || "Nobody is signed in." }),
    });
    this.#socket.disconnect();
  }

  /** @param {Partial<ConnectionState>} changes */
  #set(changes) {
    this.#state = { ...this.#state, ...changes };
    this.changed();
  }

  /** @internal */
  look() {
    return this.#state;
  }

  /**
   * Send a command once and return what it answers.
   *
   * @template {keyof CommandsByName} Name
   * @param {Name} name
   * @param {Payload<Name>} payload
   * @returns {Promise<Answer<Name>>}
   * @throws {Refused}
   */
  async ask(name, payload) {
    if (this.#state.state === "closed") throw new Refused({ code: "closed", message: "The client is closed." });
    payload = JSON.parse(JSON.stringify({ ...payload, ...this.#without })); // what is no JSON would break the connection off
    const connection = this.#greeted;
    /** @type {any} */ let answer;
    try {
      if (this.#state.user && !this.#credentials.resumeToken) throw 0; // who comes next may be another
      answer = await this.#socket.timeout(ANSWER_MS).emitWithAck(name + "", payload);
    } catch {
      // A node that does not answer for so long may be frozen: go to another one.
      if (connection && connection === this.#socket.id) this.reconnect();
      throw new Refused({ code: "no_answer", message: "The server did not answer." });
    }
    if (!answer.ok) throw new Refused(answer.error);
    return answer.data;
  }

  /** Drop the connection and come back, at whatever node a load balancer chooses. */
  reconnect() {
    this.#socket.io.engine.close();
  }

  /** End the sign-in, in all windows that share it, as far as the server can be reached within a second. */
  async signOut() {
    await this.#socket.timeout(1000).emitWithAck("session.end", {}).catch(() => {});
    if (!this.#isEnded()) this.#signedOut();
  }

  /** Disconnect for good. */
  close() {
    clearTimeout(this.#later);
    globalThis.removeEventListener?.("online", this.#online);
    this.#credentials = {};
    this.#set({ state: "closed" });
    this.#socket.disconnect();
  }
}
