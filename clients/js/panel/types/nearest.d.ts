/**
 * See to it in a box of rooms: what followed gets it, or what was before, rather a thread than the last button in it, of
 * the smallest part in which there is something.
 * @param {any} box @returns {() => void} what ends that
 */
export declare function keepFocus(box: any): () => void;
