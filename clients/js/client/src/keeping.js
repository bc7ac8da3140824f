// Where commands wait that are not answered yet: in IndexedDB, over reloads, where there is one; else in memory. What it
// has not stored yet is in localStorage, which is written at once: a page may go away at any moment.

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

const NAME = "collab-client";
const GONE_MS = 150_000;

/**
 * @param {string} window this one's id
 * @returns {Promise<Keeping>} rejects where the browser has no database for this page
 */
export async function indexedDb(window) {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("entries", { keyPath: "key" });
  /** @type {IDBDatabase} */ const database = await done(opening);

  // A window holds the lock of its name for as long as it lives; the page that comes after a reload is not to find it
  // alive. Without locks (on http://) what is old is taken for left: should its window live, both send it, and the server
  // does it once.
  const { locks } = navigator;
  locks?.request(window, () => new Promise((end) => addEventListener("pagehide", end)));

  const entries = () => database.transaction("entries", "readwrite").objectStore("entries");

  /** @param {any} row */
  const put = async (row) => {
    const { transaction } = entries().put(row);
    localStorage[NAME + row.key] = JSON.stringify(row);
    await done(transaction);
    delete localStorage[NAME + row.key];
  };

  return {
    put: (entry) => put({ ...entry, window }),

    remove: (key) => done(entries().delete(key)),

    async adopt(space) {
      try {
        // What is of the page keeps nothing else from being found.
        await Promise.allSettled(
          Object.keys(localStorage).map(async (name) => name.startsWith(NAME) && put(JSON.parse(localStorage[name]))),
        );
      } catch {} // there is none, as in a worker: what the database has is left all the same
      const held = (await locks?.query())?.held;
      const store = entries();
      /** @type {any[]} */ const rows = await done(store.getAll());
      return rows.filter((row) => {
        if (row.window === window || row.space !== space) return false;
        if (held ? held.some(({ name }) => name === row.window) : row.at > Date.now() - GONE_MS) return false;
        return store.put({ ...row, window });
      });
    },
  };
}

/**
 * @param {any} request or a transaction
 * @returns {Promise<any>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = request.oncomplete = () => resolve(request.result);
    request.onerror = request.onabort = reject;
  });
}
