/**
 * @template Item
 * @param {{current: any}} list what scrolls; each item in it has its key as `data-key`
 * @param {Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {() => void} [onEnd] the last of them is near
 */
export declare function useWindow<Item>(list: {
    current: any;
}, items: Item[], keyOf: (item: Item) => string, onEnd?: () => void): {
    inSight: Item[];
    start: number;
    onScroll: () => void;
};
