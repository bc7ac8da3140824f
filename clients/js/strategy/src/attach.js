// A panel beside a dashboard of the Embedding SDK. What concurs: the SDK's events, its answers, which may come in any
// order, and what one does in the panel. Whatever was asked before something newer is dropped when it comes.

import { filtersIn, filtersInWords, saved, tell } from "./filters.js";

/** @import { Dossier, SavedFilter } from "./filters.js" */

/**
 * A `<collab-panel>`; what it is told and asked is in its own reference.
 * @typedef {EventTarget & {topic: string, attachment: any, place: any, goTo: any, describeView: any, describePlace: any}} Panel
 */

/**
 * @typedef {object} AttachOptions
 * @property {string} [url] the address that the dashboard was created with: its project and its id are in it
 * @property {string} [topic] instead of that: `content:{projectId}:{dossierId}`
 */

/**
 * A page, or a visualization, by the SDK's keys.
 * @typedef {object} Place
 * @property {string | null} [pageKey]
 * @property {string | null} [visualizationKey]
 */

/**
 * @typedef {object} Selected
 * @property {string} visualizationKey
 * @property {any} [dataPoint] its elements, by their attributes; left out where there are too many
 */

/**
 * Whose view it is.
 * @typedef {object} By
 * @property {string} [name]
 * @property {string} [at] when it was saved, RFC 3339
 */

/**
 * Somebody else's view that is shown now.
 * @typedef {object} Applied
 * @property {string} name whose
 * @property {string} at when it was saved, RFC 3339
 * @property {readonly string[]} missing the names of filters that could not be set, because they are not there any more
 */

/**
 * @typedef {object} AttachedState
 * @property {string} topic whose comments are beside it
 * @property {string} pageKey the page that is open, as the SDK calls it
 * @property {Selected | null} selected what one has selected in the dashboard
 * @property {readonly SavedFilter[]} filters what narrows this chapter
 * @property {Applied | null} applied somebody else's view, until `back()`
 * @property {Place | null} gone the place that was gone to and is not there
 */

const EVENTS = {
  instance: "onDossierInstanceChanged",
  page: "onPageSwitched",
  elements: "onVisualizationElementsChanged",
  graphics: "onGraphicsSelected",
  filter: "onFilterUpdated",
};
const MOST_POINT_BYTES = 3_000; // of the 4096 that an anchor may have
const MOST_VIEW_BYTES = 60_000; // of the 65536 that a view state may have
const MOST_GRAPHICS = 10;
const ID = /([0-9A-F]{32})\/([0-9A-F]{32})/iu;

/** What `attach` gives. */
export class Attached {
  #dossier;
  #panel;
  /** @type {Set<() => void>} */ #listeners = new Set();
  /** @type {(() => void)[]} */ #ends = [];
  /** @type {AttachedState} */ #state;
  /** Names of pages and visualizations, by their keys. @type {Map<string, string>} */ #names = new Map();
  /** Visualizations that tell elements, which have ids; graphics have names only. @type {Set<string>} */ #told = new Set();
  /** @type {{filters: readonly SavedFilter[], pageKey: string} | null} */ #before = null;
  #asked = 0;
  #isEnded = false;

  /** @internal @param {Dossier} dossier @param {Panel} panel @param {AttachOptions} options */
  constructor(dossier, panel, { url = "", topic }) {
    const [, projectId, dossierId] = ID.exec(url) ?? [];
    const named = topic ?? (projectId ? `content:${projectId}:${dossierId}` : "");
    this.#dossier = dossier;
    this.#panel = panel;
    this.#state = { topic: named, pageKey: "", selected: null, filters: [], applied: null, gone: null };
    this.#listen();
    panel.describeView = filtersInWords;
    panel.describePlace = (/** @type {any} */ anchor) => this.#placeInWords(anchor);
    panel.goTo = (/** @type {any} */ anchor) => this.goTo(anchor);
    this.#set({ pageKey: this.#pageNow("") });
    this.#look();
  }

  /** What is so now; the same object while nothing has changed. @returns {Readonly<AttachedState>} */
  snapshot = () => this.#state;

  /** Have `listener` called after changes. Returns what ends that. @type {(listener: () => void) => () => void} */
  subscribe = (listener) => {
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  };

  /**
   * Show a view that was saved with a comment: its page, then its filters. What one had before is kept for `back`.
   * @param {any} viewState
   * @param {By} [by]
   * @returns {Promise<readonly string[]>} the names of filters that could not be set
   */
  async apply(viewState, by) {
    const before = this.#before ?? { filters: this.#state.filters, pageKey: this.#state.pageKey };
    const missing = await this.#show(filtersIn(viewState), viewState?.pageKey);
    if (this.#isEnded) return missing;
    this.#before = before;
    this.#set({ applied: Object.freeze({ name: by?.name ?? "", at: by?.at ?? "", missing }) });
    return missing;
  }

  /** Show again what one saw before a view was applied. */
  async back() {
    const before = this.#before;
    if (!before) return;
    this.#before = null;
    this.#set({ applied: null });
    await this.#show(before.filters, before.pageKey);
  }

  /**
   * Go to the page of a comment.
   * @param {Place} anchor
   * @returns {Promise<boolean>} whether its page, and its visualization, are there
   */
  async goTo(anchor) {
    const { pageKey, visualizationKey } = anchor;
    const isThere = (await this.#open(pageKey)) && (!visualizationKey || (await this.#has(visualizationKey)));
    const gone = isThere ? null : { ...(pageKey && { pageKey }), ...(visualizationKey && { visualizationKey }) };
    this.#set({ gone });
    return isThere;
  }

  /** Leave dashboard and panel to themselves. */
  end() {
    this.#isEnded = true;
    this.#ends.forEach((end) => end());
    Object.assign(this.#panel, { goTo: null, attachment: null, describeView: null, describePlace: null });
    this.#listeners.clear();
  }

  #listen() {
    const heard = {
      [EVENTS.instance]: (/** @type {any} */ { projectId, dossierId }) => {
        this.#set({ topic: `content:${projectId}:${dossierId}`, pageKey: this.#pageNow(""), selected: null });
        this.#look();
      },
      [EVENTS.page]: (/** @type {any} */ { key }) => {
        this.#told.clear();
        this.#set({ pageKey: this.#pageNow(key), selected: null, gone: null });
        this.#look();
      },
      [EVENTS.elements]: (/** @type {any} */ changed) => this.#selectElements(changed),
      [EVENTS.graphics]: (/** @type {any} */ selected) => this.#selectGraphics(selected),
      [EVENTS.filter]: () => this.#look(),
    };
    for (const [name, handler] of Object.entries(heard)) {
      this.#dossier.registerEventHandler(name, handler);
      this.#ends.push(() => this.#dossier.removeEventHandler(name, handler));
    }
    const onApply = (/** @type {any} */ { detail: { viewState, comment } }) =>
      this.apply(viewState, { name: comment?.author.name, at: comment?.createdAt });
    this.#panel.addEventListener("collab-apply", onApply);
    this.#ends.push(() => this.#panel.removeEventListener("collab-apply", onApply));
  }

  /** The key of the page that is open, whole: that of the event may be a part of it. @param {string} otherwise @returns {string} */
  #pageNow(otherwise) {
    const page = this.#dossier.getCurrentPage?.();
    if (page?.name) this.#names.set(page.nodeKey, page.name);
    return page?.nodeKey ?? otherwise;
  }

  /** Ask for the filters and the visualizations of the page. */
  async #look() {
    const asked = ++this.#asked;
    const [filters, visualizations] = await Promise.all([
      this.#dossier.getFilterList().catch(() => null),
      this.#dossier.getCurrentPageVisualizationList().catch(() => []),
    ]);
    if (asked !== this.#asked || this.#isEnded) return;
    for (const { key, name } of visualizations ?? []) this.#names.set(key, name);
    if (filters) this.#set({ filters: filters.map(saved).filter(Boolean) });
  }

  /** @param {any} changed for each visualization, the elements that are selected in it */
  #selectElements(changed) {
    const all = Array.isArray(changed) ? changed : [];
    all.forEach(({ visualizationKey }) => this.#told.add(visualizationKey));
    const last = all.findLast(({ attributeElements }) => attributeElements?.some((/** @type {any} */ each) => each.elements?.length));
    if (!last) {
      if (all.some(({ visualizationKey }) => visualizationKey === this.#state.selected?.visualizationKey)) {
        this.#set({ selected: null });
      }
      return;
    }
    const attributes = last.attributeElements.map((/** @type {any} */ { attribute, elements }) => ({
      id: attribute.id,
      name: attribute.name,
      elements: elements.map((/** @type {any} */ { id, name }) => ({ id, name })),
    }));
    this.#select(last.visualizationKey, { attributes });
  }

  /** @param {any} selected */
  #selectGraphics({ vizKey, graphics }) {
    if (this.#told.has(vizKey)) return; // with their ids
    // Of maps they are told by layers.
    const each = (graphics ?? []).flatMap((/** @type {any} */ graphic) => (Array.isArray(graphic) ? [graphic] : graphic.graphics));
    if (!each.length) {
      if (this.#state.selected?.visualizationKey === vizKey) this.#set({ selected: null });
      return;
    }
    const attributes = new Map();
    for (const graphic of each.slice(0, MOST_GRAPHICS)) {
      for (const { n, v } of graphic) attributes.set(n, (attributes.get(n) ?? new Set()).add(v));
    }
    const named = [...attributes].map(([name, values]) => ({
      name,
      elements: [...values].map((/** @type {string} */ value) => ({ name: value })),
    }));
    this.#select(vizKey, { attributes: named });
  }

  /** @param {string} visualizationKey @param {any} dataPoint */
  #select(visualizationKey, dataPoint) {
    const isSmall = bytesOf(dataPoint) <= MOST_POINT_BYTES;
    this.#set({ selected: { visualizationKey, ...(isSmall && { dataPoint }) } });
  }

  /** @param {readonly SavedFilter[]} wanted @param {unknown} pageKey @returns {Promise<readonly string[]>} */
  async #show(wanted, pageKey) {
    if (typeof pageKey === "string") await this.#open(pageKey);
    /** @type {any[]} */ const listed = await this.#dossier.getFilterList().catch(() => []);
    if (this.#isEnded) return [];
    const byKey = new Map(wanted.map((filter) => [filter.key, filter]));
    const missing = new Set(wanted);
    for (const filter of listed) {
      const own = byKey.get(filter.filterKey);
      if (tell(this.#dossier, filter, own) && own) missing.delete(own);
    }
    this.#dossier.filterApplyAll();
    return Object.freeze([...missing].map(({ name }) => name));
  }

  /** @param {string | null | undefined} pageKey @returns {Promise<boolean>} whether that page is open now */
  async #open(pageKey) {
    if (!pageKey || pageKey === this.#state.pageKey) return true;
    try {
      const page = this.#dossier.getPageByNodeKey(pageKey);
      if (!page) return false;
      await this.#dossier.navigateToPage(page);
      return true;
    } catch {
      return false; // it is not there any more
    }
  }

  /** @param {string} visualizationKey */
  async #has(visualizationKey) {
    const all = await this.#dossier.getCurrentPageVisualizationList().catch(() => []);
    return all.some((/** @type {any} */ { key }) => key === visualizationKey);
  }

  /** @param {any} anchor */
  #placeInWords({ pageKey, visualizationKey, dataPoint }) {
    const names = [visualizationKey ?? pageKey].map((key) => this.#names.get(key) ?? null);
    const attributes = Array.isArray(dataPoint?.attributes) ? dataPoint.attributes : [];
    const elements = attributes.flatMap((/** @type {any} */ each) => (Array.isArray(each?.elements) ? each.elements : []));
    const points = elements.slice(0, 3).map((/** @type {any} */ each) => (typeof each?.name === "string" ? each.name : null));
    return [...names, points.filter(Boolean).join(", ") + (elements.length > 3 ? " …" : "")].filter(Boolean).join(" · ") || null;
  }

  /** @param {Partial<AttachedState>} changes */
  #set(changes) {
    if (this.#isEnded) return;
    this.#state = Object.freeze({ ...this.#state, ...changes });
    const { topic, pageKey, selected, filters } = this.#state;
    const view = { pageKey, filters };
    const viewState = filters.length && bytesOf(view) <= MOST_VIEW_BYTES ? view : null;
    const anchor = pageKey || selected ? { ...(pageKey && { pageKey }), ...selected } : null;
    if (topic && topic !== this.#panel.topic) this.#panel.topic = topic;
    this.#panel.attachment = viewState || selected ? { label: filtersInWords(view), viewState, anchor } : null;
    this.#listeners.forEach((listener) => listener());
  }
}

/** @param {unknown} value */
const bytesOf = (value) => new TextEncoder().encode(JSON.stringify(value)).length;

/**
 * Put a panel beside a dashboard: a comment knows the page, the visualization and the elements that are selected, and
 * the filters; from the panel one goes there, and sees what somebody else saw.
 * @param {Dossier} dossier what `microstrategy.dossier.create` gives
 * @param {Panel} panel
 * @param {AttachOptions} options
 * @returns {Attached}
 */
export function attach(dossier, panel, options) {
  return new Attached(dossier, panel, options);
}
