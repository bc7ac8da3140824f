// Where somebody is: what they do brings the focus along, unless they have gone elsewhere before it is done.

let acts = 0; // keys and presses in the page so far
for (const act of ["keydown", "pointerdown"]) globalThis.addEventListener?.(act, () => acts++, true);

/** What has the focus, in whatever shadow; null where nothing has. @returns {Element | null} */
export function focused() {
  const { document } = globalThis; // nothing is drawn without one
  let at = document?.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at && at !== document.body && at !== document.documentElement ? at : null;
}

/**
 * For somebody who does something in an element: whether they have gone elsewhere since. Keys in a frame of the page
 * reach nobody else; so whoever is out of the element has gone, too.
 * @param {any} host @returns {() => boolean}
 */
export function leaving(host) {
  const before = { acts, at: focused() };
  return () => {
    const now = focused();
    return now !== null && now !== before.at && (acts !== before.acts || !host.shadowRoot.contains(now));
  };
}
