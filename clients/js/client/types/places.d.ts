import { Store } from "./store.js";
import type { Topic } from "./topic.js";
import type { Client } from "./client.js";
export type Counts = {
    /**
     * threads that are not resolved
     */
    open: number;
    /**
     * comments of others that this person has not read
     */
    unread: number;
    /**
     * all comments
     */
    total: number;
};
export type PlacesState = {
    isLoaded: boolean;
    /**
     * what there is at a
     * place; the same object while nothing changed there
     */
    at: (anchor: {
        pageKey?: string | null;
        visualizationKey?: string | null;
    }) => Counts;
};
/** @extends {Store<PlacesState>} */
export declare class Places extends Store<PlacesState> {
    #private;
}
/**
 * What there is at each place of a topic: one for all badges.
 * @param {Client} client
 * @param {Topic} topic
 */
export declare function placesOf(client: Client, topic: Topic): Places;
