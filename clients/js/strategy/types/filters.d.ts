export type Dossier = Record<string, any>;
export type Item = {
    name: string;
    /**
     * its id
     */
    value: string;
};
export type Dates = {
    from: string;
    to: string;
};
export type SavedFilter = {
    key: string;
    name: string;
    /**
     * as the SDK calls it
     */
    type: string;
    isExclude: boolean;
    /**
     * the elements that are selected
     */
    items?: readonly Item[];
    /**
     * where a range begins: a number, or the place of an element
     */
    from?: number;
    to?: number;
    dates?: Dates;
    value?: number;
    operator?: string;
    qualType?: string;
};
/**
 * What a filter of `getFilterList()` narrows; null where it narrows nothing.
 * @param {any} listed
 * @returns {SavedFilter | null}
 */
export declare function saved({ filterKey: key, filterName: name, filterType: type, isExclude, filterDetail }: any): SavedFilter | null;
/**
 * The filters in a view state, whoever made it: those that have the form of one.
 * @param {any} viewState
 * @returns {SavedFilter[]}
 */
export declare function filtersIn(viewState: any): SavedFilter[];
/**
 * The filters in a view state as people read them (`Year: 2025, 2026 · Cost: 10 – 20`); null where there are none.
 * @param {any} viewState
 * @returns {string | null}
 */
export declare function filtersInWords(viewState: any): string | null;
/**
 * Tell the SDK a filter. It is held back until all are told.
 * @param {Dossier} dossier
 * @param {any} listed the filter as it is now
 * @param {SavedFilter | undefined} wanted undefined: it narrows nothing
 * @returns {boolean} whether it could be told
 */
export declare function tell(dossier: Dossier, listed: any, wanted: SavedFilter | undefined): boolean;
