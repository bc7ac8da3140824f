import { Store } from "./store.js";
import type { Client } from "./client.js";
import type { Summary } from "../types/wire.js";
export type SummariesState = {
    /**
     * what a topic has; undefined while that is not known, or where it
     * may not be opened
     */
    of: (topic: string) => Summary | undefined;
};
/** @extends {Store<SummariesState>} */
export declare class Summaries extends Store<SummariesState> {
    #private;
    /**
     * Have a topic watched, as the server spells it; up to 500 at a time.
     * @param {string} topic
     * @returns {() => void} ends it
     */
    watch(topic: string): () => void;
}
/**
 * What is new in topics that are not open: one for all who want to know.
 * @param {Client} client
 */
export declare function summariesOf(client: Client): Summaries;
