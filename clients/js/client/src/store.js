// Something that can be watched: `snapshot()` is the same object while nothing has changed, as React's
// useSyncExternalStore wants it; listeners are called once for whatever changes in one turn.

/** @template Snapshot */
export class Store {
  /** @type {Set<() => void>} */ #listeners = new Set();
  /** @type {Readonly<Snapshot> | undefined} */ #snapshot;
  #isTold = true;

  // Both are handed around without their object.

  /** What is so now. Never changed afterwards. @type {() => Readonly<Snapshot>} */
  snapshot = () => (this.#snapshot ??= Object.freeze(this.look()));

  /** Have `listener` called after changes. Returns what ends that. @type {(listener: () => void) => () => void} */
  subscribe = (listener) => {
    const own = () => listener(); // the same function twice is two listeners
    this.#listeners.add(own);
    this.watched(this.#listeners.size);
    return () => {
      if (this.#listeners.delete(own)) this.watched(this.#listeners.size);
    };
  };

  /** Say that something has changed. @protected @internal */
  changed() {
    this.#snapshot = undefined;
    if (!this.#isTold) return;
    this.#isTold = false;
    queueMicrotask(() => {
      this.#isTold = true;
      // In a promise: what one throws is told as any error of the page, and keeps it from nobody else.
      for (const listener of this.#listeners) new Promise(listener);
    });
  }

  /** Make a snapshot. @protected @abstract @internal @returns {Snapshot} */
  look() {
    return /** @type {any} */ (undefined);
  }

  /** So many listen now. @protected @internal @param {number} _count */
  watched(_count) {}
}
