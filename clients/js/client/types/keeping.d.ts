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
/** @import { Entry } from "./outbox.js" */
/**
 * A place for what waits. An entry that was kept by a window belongs to that window while it lives.
 *
 * @typedef {object} Keeping
 * @property {(entry: Entry) => Promise<unknown>} put keep it, or what has become of it, as this window's
 * @property {(key: string) => Promise<unknown>} remove
 * @property {(space: string) => Promise<Entry[]>} adopt what windows that are gone have left of a person, from now on
 *   this window's, in whatever order; each is given to one window
 */
/** @returns {Keeping} */
export declare function memory(): Keeping;
/**
 * @param {string} window this one's id
 * @returns {Promise<Keeping>} rejects where the browser has no database for this page
 */
export declare function indexedDb(window: string): Promise<Keeping>;
