import { Store } from "./store.js";
import type { Answer, Payload } from "./connection.js";
import type { Problem } from "./refused.js";
import type { CommandsByName } from "../types/wire.js";
export type Entry = {
    /**
     * stays the same whatever becomes of it
     */
    key: string;
    /**
     * whose it is
     */
    space: string;
    name: keyof CommandsByName;
    payload: any;
    requestId: string;
    /**
     * what it is about; commands on one topic are sent one after the other
     */
    topic: string;
    /**
     * the server is to give the comment its id
     */
    isUnnamed?: boolean;
    /**
     * the key of the change that the comment showed already when this one of it was made
     */
    after?: string;
    /**
     * when it was asked for, in milliseconds
     */
    at: number;
    /**
     * `refused`: it waits for `retry` or `discard`
     */
    state: "waiting" | "sending" | "refused";
    /**
     * why it is not sent, or was refused
     */
    problem: Problem | null;
};
/** @extends {Store<readonly Entry[]>} */
export declare class Outbox extends Store<readonly Entry[]> {
    #private;
    /**
     * Have a command take effect, once. The promise may be left alone: what becomes of it is in the snapshot too.
     *
     * @template {keyof CommandsByName} Name
     * @param {Name} name
     * @param {Payload<Name>} payload
     * @param {string} topic
     * @returns {Promise<Answer<Name>>} rejects with `Refused`; an entry that is refused stays until it is discarded
     */
    add<Name extends keyof CommandsByName>(name: Name, payload: Payload<Name>, topic: string): Promise<Answer<Name>>;
    /**
     * Send a refused command again, perhaps with another payload.
     * @param {string} key
     * @param {any} [payload]
     */
    retry(key: string, payload?: any): void;
    /** Forget a refused command. @param {string} key */
    discard(key: string): void;
}
