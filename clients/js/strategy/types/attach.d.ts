import type { Dossier, SavedFilter } from "./filters.js";
export type Panel = EventTarget & {
    topic: string;
    attachment: any;
    place: any;
    goTo: any;
    describeView: any;
    describePlace: any;
};
export type AttachOptions = {
    /**
     * the address that the dashboard was created with: its project and its id are in it
     */
    url?: string;
    /**
     * instead of that: `content:{projectId}:{dossierId}`
     */
    topic?: string;
};
export type Place = {
    pageKey?: string | null;
    visualizationKey?: string | null;
};
export type Selected = {
    visualizationKey: string;
    /**
     * its elements, by their attributes; left out where there are too many
     */
    dataPoint?: any;
};
export type By = {
    name?: string;
    /**
     * when it was saved, RFC 3339
     */
    at?: string;
};
export type Applied = {
    /**
     * whose
     */
    name: string;
    /**
     * when it was saved, RFC 3339
     */
    at: string;
    /**
     * the names of filters that could not be set, because they are not there any more
     */
    missing: readonly string[];
};
export type AttachedState = {
    /**
     * whose comments are beside it
     */
    topic: string;
    /**
     * the page that is open, as the SDK calls it
     */
    pageKey: string;
    /**
     * what one has selected in the dashboard
     */
    selected: Selected | null;
    /**
     * what narrows this chapter
     */
    filters: readonly SavedFilter[];
    /**
     * somebody else's view, until `back()`
     */
    applied: Applied | null;
    /**
     * the place that was gone to and is not there
     */
    gone: Place | null;
};
/** What `attach` gives. */
export declare class Attached {
    #private;
    /** What is so now; the same object while nothing has changed. @returns {Readonly<AttachedState>} */
    snapshot: () => Readonly<AttachedState>;
    /** Have `listener` called after changes. Returns what ends that. @type {(listener: () => void) => () => void} */
    subscribe: (listener: () => void) => () => void;
    /**
     * Show a view that was saved with a comment: its page, then its filters. What one had before is kept for `back`.
     * @param {any} viewState
     * @param {By} [by]
     * @returns {Promise<readonly string[]>} the names of filters that could not be set
     */
    apply(viewState: any, by?: By): Promise<readonly string[]>;
    /** Show again what one saw before a view was applied. */
    back(): Promise<void>;
    /**
     * Go to the page of a comment.
     * @param {Place} anchor
     * @returns {Promise<boolean>} whether its page, and its visualization, are there
     */
    goTo(anchor: Place): Promise<boolean>;
    /** Leave dashboard and panel to themselves. */
    end(): void;
}
/**
 * Put a panel beside a dashboard: a comment knows the page, the visualization and the elements that are selected, and
 * the filters; from the panel one goes there, and sees what somebody else saw.
 * @param {Dossier} dossier what `microstrategy.dossier.create` gives
 * @param {Panel} panel
 * @param {AttachOptions} options
 * @returns {Attached}
 */
export declare function attach(dossier: Dossier, panel: Panel, options: AttachOptions): Attached;
