/** @template Snapshot */
export declare class Store<Snapshot> {
    #private;
    constructor();
    /** What is so now. Never changed afterwards. @returns {Readonly<Snapshot>} */
    snapshot(): Readonly<Snapshot>;
    /**
     * Have `listener` called after changes. Returns what ends that.
     * @param {() => void} listener
     * @returns {() => void}
     */
    subscribe(listener: () => void): () => void;
}
