// Where commands wait that are not answered yet: in IndexedDB, over reloads, where there is one; else in memory.

/** @import { Entry } from "./outbox.js" */

/**
 * A place for what waits. An entry that was kept by a window belongs to that window while it lives.
 *
 * @typedef {object} Keeping
 * @property {(entry: Entry) => Promise<void>} put keep it, or what has become of it, as this window's
 * @property {(key: string) => Promise<void>} remove
 * @property {(space: string) => Promise<Entry[]>} adopt what windows that are gone have left of a person, from now on
 *   this window's; each is given to one window
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
  /** @type {Set<string>} */ const own = new Set();

  // A window holds the lock of its name for as long as it lives. Without locks (on http://) what is old is taken for
  // left: should its window live, both send it, and the server does it once.
  const { locks } = navigator;
  if (locks) {
    await new Promise((held) =>
      locks.request(
        lockOf(window),
        () =>
          new Promise((release) => {
            held(undefined);
            addEventListener("pagehide", release); // the page that comes after a reload is not to find it alive
          }),
      ),
    );
  }

  /** @param {{window: string, at: number}} kept */
  const isGone = async (kept) => {
    if (!locks) return kept.at < Date.now() - GONE_MS;
    return (await locks.query()).held?.every((lock) => lock.name !== lockOf(kept.window)) ?? false;
  };

  return {
    async put(entry) {
      own.add(entry.key);
      await done(entries("readwrite").put({ ...entry, window }));
    },

    async remove(key) {
      own.delete(key);
      await done(entries("readwrite").delete(key));
    },

    async adopt(space) {
      const adopted = [];
      for (const kept of await done(entries("readonly").getAll())) {
        if (kept.space !== space || own.has(kept.key) || !(await isGone(kept))) continue;
        // Whether it is still the gone window's is asked in the transaction that takes it.
        const store = entries("readwrite");
        const now = await done(store.get(kept.key));
        if (now?.window !== kept.window) continue;
        await done(store.put({ ...now, window }));
        own.add(kept.key);
        const { window: _window, ...entry } = now;
        adopted.push(entry);
      }
      return adopted.sort((one, other) => one.at - other.at);
    },
  };
}

/** @param {string} window */
const lockOf = (window) => `collab-client:${window}`;

/**
 * @template Result
 * @param {IDBRequest<Result>} request
 * @returns {Promise<Result>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
