import type { Entry } from "./outbox.js";
export type Keeping = {
    /**
     * keep it, or what has become of it, as this window's
     */
    put: (entry: Entry) => Promise<unknown>;
    remove: (key: string) => Promise<unknown>;
    /**
     * what windows that are gone have left of a person, from now on
     * this window's, in whatever order; each is given to one window
     */
    adopt: (space: string) => Promise<Entry[]>;
};
/**
 * @param {string} window this one's id
 * @returns {Promise<Keeping>} rejects where the browser has no database for this page
 */
export declare function indexedDb(window: string): Promise<Keeping>;
