/**
 * Hear events of a target.
 * @param {any} target
 * @param {string} types parted by spaces
 * @param {(event: any) => void} act
 * @param {boolean} [isFirst] before those whom the event is for
 * @returns {() => void} to hear no more
 */
export declare function listen(target: any, types: string, act: (event: any) => void, isFirst?: boolean): () => void;
/**
 * Have something done when what is shown goes, and when the page does.
 * @param {() => void} act
 * @param {any[]} of what is shown
 */
export declare function useEnd(act: () => void, of: any[]): void;
