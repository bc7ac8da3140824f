// What the browser keeps for the page. One that was told to keep nothing refuses it: the page goes on without.

/**
 * A text under a name, in the browser's `localStorage` or this window's `sessionStorage`.
 * @param {"localStorage" | "sessionStorage"} where
 * @param {string} name
 */
export function keptIn(where, name) {
  const ask = (act) => {
    try {
      return act(window[where]);
    } catch {
      return null;
    }
  };
  return {
    read: () => ask((storage) => storage.getItem(name)),
    write: (text) => ask((storage) => storage.setItem(name, text)),
    forget: () => ask((storage) => storage.removeItem(name)),
  };
}
