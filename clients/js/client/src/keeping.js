// Where commands wait that are not answered yet: in IndexedDB, over reloads, where there is one; else in memory.

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
export function memory() {
  return { put: async () => {}, remove: async () => {}, adopt: async () => [] };
}

const ENTRIES = "entries";
const GONE_MS = 150_000;

/**
 * @param {string} window this one's id
 * @returns {Promise<Keeping>} rejects where the browser has no database for this page
 */
export async function indexedDb(window) {
  const opening = indexedDB.open("collab-client", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(ENTRIES, { keyPath: "key" });
  /** @type {IDBDatabase} */ const database = await done(opening);

  /** @param {"readonly" | "readwrite"} mode */
  const entries = (mode) => database.transaction(ENTRIES, mode).objectStore(ENTRIES);

  // A window holds the lock of its name for as long as it lives. Without locks (on http://) what is old is taken for
  // left: should its window live, both send it, and the server does it once.
  const { locks } = navigator;
  await new Promise((held) => {
    if (!locks) return held(undefined);
    locks.request(window, () => {
      held(undefined);
      // The page that comes after a reload is not to find it alive.
      return new Promise((release) => addEventListener("pagehide", release));
    });
  });

  return {
    put: (entry) => done(entries("readwrite").put({ ...entry, window }), true),

    remove: (key) => done(entries("readwrite").delete(key)),

    async adopt(space) {
      const kept = await done(entries("readonly").getAll());
      const held = (await locks?.query())?.held?.map(({ name }) => name);
      const store = entries("readwrite");
      const adopted = [];
      for (const { window: theirs, key, at } of kept) {
        if (theirs === window || (held ? held.includes(theirs) : at > Date.now() - GONE_MS)) continue;
        // Whether it is still the gone window's is asked in the transaction that takes it.
        const { window: owner, ...entry } = (await done(store.get(key))) ?? {};
        if (owner !== theirs || entry.space !== space) continue;
        await done(store.put({ ...entry, window }));
        adopted.push(entry);
      }
      return adopted;
    },
  };
}

/**
 * @template Result
 * @param {IDBRequest<Result>} request
 * @param {boolean} [isAll] of its transaction, which is told so at once: by itself it would commit after the request, and
 *   be undone where the page goes away before
 * @returns {Promise<Result>}
 */
function done(request, isAll) {
  if (isAll) /** @type {IDBTransaction} */ (request.transaction).commit();
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
