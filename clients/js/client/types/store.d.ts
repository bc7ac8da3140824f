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
    /** Say that something has changed. @protected */
    protected changed(): void;
    /** Make a snapshot. @protected @abstract @returns {Snapshot} */
    protected look(): Snapshot;
    /** So many listen now. @protected @param {number} _count */
    protected watched(_count: number): void;
}
