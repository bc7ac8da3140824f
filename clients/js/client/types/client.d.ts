import { Connection } from "./connection.js";
import { Inbox } from "./inbox.js";
import { Outbox } from "./outbox.js";
import { Topic } from "./topic.js";
import type { Answer, Credentials, Payload } from "./connection.js";
import type { Keeping } from "./keeping.js";
import type { CommandsByName, User } from "../types/wire.js";
export type Options = {
    /**
     * where the server is, such as `https://reports.example.com`; with a path where a proxy
     * offers it under one; left out: where the page is from
     */
    url?: string | URL;
    /**
     * a token of Library, or better
     * what gets one: it is asked again whenever a new one is needed; null when nobody is signed in
     */
    auth: Credentials | (() => Promise<Credentials | null> | Credentials | null);
    /**
     * where what is not sent yet waits; left out: in IndexedDB where
     * there is one. Null: in memory
     */
    keeping?: Keeping | Promise<Keeping> | null;
    /**
     * options of socket.io-client
     */
    socket?: object;
};
/** @import { Answer, Credentials, Payload } from "./connection.js" */
/** @import { Keeping } from "./keeping.js" */
/** @import { CommandsByName, User } from "../types/wire.js" */
/**
 * @typedef {object} Options
 * @property {string | URL} [url] where the server is, such as `https://reports.example.com`; with a path where a proxy
 *   offers it under one; left out: where the page is from
 * @property {Credentials | (() => Promise<Credentials | null> | Credentials | null)} auth a token of Library, or better
 *   what gets one: it is asked again whenever a new one is needed; null when nobody is signed in
 * @property {Keeping | Promise<Keeping> | null} [keeping] where what is not sent yet waits; left out: in IndexedDB where
 *   there is one. Null: in memory
 * @property {object} [socket] options of socket.io-client
 */
/**
 * Connect. The client comes back by itself, and is there until it is closed.
 * @param {Options} options
 * @throws {TypeError} where there is no `auth` or it is a text, or there is no page and no `url`
 */
export declare function createClient(options: Options): Client;
export declare class Client {
    #private;
    /** Whether one is connected, and as whom. */ connection: Connection;
    /** What is not sent yet, and what was refused. */ outbox: Outbox;
    /** This person's notifications. */ inbox: Inbox;
    /** Who is signed in; null before the first connection. @type {User | null} */ me: User | null;
    /**
     * A topic: `content:{projectId}:{objectId}` or `discussion:{id}`. It is followed while somebody subscribes to it.
     * @param {string} name in either case
     * @returns {Topic} the same one for the same name
     */
    topic(name: string): Topic;
    /**
     * Send a command that only reads, once, and return what it answers.
     * @template {keyof CommandsByName} Name
     * @param {Name} name
     * @param {Payload<Name>} payload
     * @returns {Promise<Answer<Name>>}
     * @throws {import("./refused.js").Refused}
     */
    ask<Name extends keyof CommandsByName>(name: Name, payload: Payload<Name>): Promise<Answer<Name>>;
    /**
     * Have a command that changes something take effect, once, however often it has to be sent.
     * @template {keyof CommandsByName} Name
     * @param {Name} name
     * @param {Payload<Name>} payload without a `requestId`
     * @param {string} [topic] what it is about: commands on one topic are sent one after the other
     * @returns {Promise<Answer<Name>>} what it answers
     * @throws {import("./refused.js").Refused}
     */
    change<Name extends keyof CommandsByName>(name: Name, payload: Payload<Name>, topic?: string): Promise<Answer<Name>>;
    /**
     * Hear an event or a signal of the server, of whatever topic, by its name.
     * @param {string} name
     * @param {(said: any) => void} listener
     * @returns {() => void} ends it
     */
    on(name: string, listener: (said: any) => void): () => void;
    /** End the sign-in, in all windows that share it. */
    signOut(): Promise<void>;
    /** Disconnect for good. What waits in the outbox is kept for the next client, where there is something to keep it in. */
    close(): void;
}
