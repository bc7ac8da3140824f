/** What has the focus, in whatever shadow; null where nothing has. @returns {Element | null} */
export declare function focused(): Element | null;
/**
 * For somebody who does something in an element: whether they have gone elsewhere since. Keys in a frame of the page
 * reach nobody else; so whoever is out of the element has gone, too.
 * @param {any} host @returns {() => boolean}
 */
export declare function leaving(host: any): () => boolean;
