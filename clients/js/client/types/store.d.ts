/** @template Snapshot */
export declare class Store<Snapshot> {
    #private;
    /** What is so now. Never changed afterwards. @type {() => Readonly<Snapshot>} */
    snapshot: () => Readonly<Snapshot>;
    /** Have `listener` called after changes. Returns what ends that. @type {(listener: () => void) => () => void} */
    subscribe: (listener: () => void) => () => void;
}
