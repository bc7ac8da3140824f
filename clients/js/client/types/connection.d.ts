import { Refused } from "./refused.js";
import { Store } from "./store.js";
import type { CommandsByName, Serving, User } from "../types/wire.js";
export type Credentials = {
    identityToken: string;
} | {
    authToken: string;
} | {
    resumeToken: string;
};
export type ConnectionState = {
    /**
     * `offline`: it comes back by itself;
     * `signed_out`: `signIn()` tries again
     */
    state: "connecting" | "live" | "offline" | "signed_out" | "closed";
    /**
     * who is signed in; kept while offline
     */
    user: User | null;
    /**
     * which node one is connected to
     */
    node: string;
    /**
     * what works while something that the node needs is away; null when all does
     */
    serving: Serving | null;
    /**
     * why one is not connected, where that is known
     */
    problem: Refused | null;
};
export type Payload<Name extends keyof CommandsByName> = CommandsByName[Name]["payload"];
export type Answer<Name extends keyof CommandsByName> = CommandsByName[Name]["answer"];
/** @extends {Store<ConnectionState>} */
export declare class Connection extends Store<ConnectionState> {
    #private;
    /** Whether commands can be answered now. */
    get isLive(): boolean;
    /** Ask for a token and connect. Once is enough; after `signed_out` it tries again. */
    signIn(): Promise<void>;
    /**
     * Send a command once and return what it answers.
     *
     * @template {keyof CommandsByName} Name
     * @param {Name} name
     * @param {Payload<Name>} payload
     * @returns {Promise<Answer<Name>>}
     * @throws {Refused}
     */
    ask<Name extends keyof CommandsByName>(name: Name, payload: Payload<Name>): Promise<Answer<Name>>;
    /** Drop the connection and come back, at whatever node a load balancer chooses. */
    reconnect(): void;
    /** End the sign-in, in all windows that share it, as far as the server can be reached within a second. */
    signOut(): Promise<void>;
    /** Disconnect for good. */
    close(): void;
}
