// A dashboard as the Embedding SDK gives it to a page, made after its public documentation: two pages, filters of every
// type, events by their names. What is held back takes effect with `filterApplyAll`; `calls` is all that was told.

const SELECTOR = (selected) => ({
  items: ["Books", "Movies", "Music"].map((name, place) => ({ name, value: `h${place};C`, selected: selected.includes(name) })),
  supportMultiple: true,
});

export const FILTERS = () => [
  { filterKey: "W1", filterName: "Category", filterType: "attributeSelector", isExclude: false, filterDetail: SELECTOR([]) },
  {
    filterKey: "W2",
    filterName: "Year",
    filterType: "attributeSearchSelector",
    isExclude: false,
    filterDetail: { items: [], supportMultiple: true },
  },
  {
    filterKey: "W3",
    filterName: "Month",
    filterType: "attributeSlider",
    isExclude: false,
    filterDetail: {
      indexInfo: { itemsLength: 3, from: 0, to: 2 },
      items: ["January", "February", "March"].map((name, place) => ({ name, value: `h${place};M`, selected: true })),
      supportMultiple: true,
    },
  },
  {
    filterKey: "W4",
    filterName: "Day",
    filterType: "calendar",
    isExclude: false,
    filterDetail: { from: "1/1/2007", to: "12/31/2010", minDate: "1/1/2007", maxDate: "12/31/2010" },
  },
  { filterKey: "W5", filterName: "Cost", filterType: "metricQualByValue", isExclude: false, filterDetail: {} },
  { filterKey: "W6", filterName: "Rank", filterType: "metricQualByRank", isExclude: false, filterDetail: {} },
  {
    filterKey: "W7",
    filterName: "Profit",
    filterType: "metricSliderByValue",
    isExclude: false,
    filterDetail: { min: 0, max: 100, from: 0, to: 100 },
  },
  {
    filterKey: "W8",
    filterName: "Best",
    filterType: "metricSliderByRank",
    isExclude: false,
    filterDetail: { min: 1, max: 9, value: 9, qualType: "highest" },
  },
];

const PAGES = [
  { nodeKey: "K53--K46", name: "Overview", visualizations: [{ key: "W63", name: "Revenue" }, { key: "W64", name: "Map" }] },
  { nodeKey: "K53--K48", name: "Details", visualizations: [{ key: "W70", name: "Orders" }] },
];

export class FakeDossier {
  calls = [];
  filters = FILTERS();
  #initial = FILTERS();
  #page = PAGES[0];
  #handlers = new Map();
  #held = [];

  constructor() {
    const set = (name, change) => {
      this[name] = (json) => {
        this.calls.push([name, json]);
        const isHeld = json.holdSubmit ?? json.exp?.holdSubmit;
        const act = () => change(this.#filter(json.filterInfo.key), json);
        if (isHeld) this.#held.push(act);
        else this.#apply([act]);
      };
    };
    const select = (filter, wanted) => filter.filterDetail.items.forEach((item) => (item.selected = wanted.includes(item.value)));
    set("filterSelectMultiAttributes", (filter, { selections }) => select(filter, selections.map(({ value }) => value)));
    set("filterSelectSingleAttribute", (filter, { selection }) => select(filter, [selection.value]));
    set("filterSearchMultiAttributes", (filter, { selections }) => {
      filter.filterDetail.items = selections.map((each) => ({ ...each, selected: true }));
    });
    set("filterAttributeMultiSlider", ({ filterDetail }, { selections: [from, to] }) => {
      filterDetail.indexInfo = { ...filterDetail.indexInfo, from, to };
    });
    set("filterSetDateRange", (filter, { date }) => Object.assign(filter.filterDetail, date));
    set("filterSetMetricQualByValue", (filter, { exp: { operator, firstValue, lastValue } }) => {
      const isRange = lastValue !== undefined;
      filter.filterDetail = { operator, ...(isRange ? { from: firstValue, to: lastValue } : { value: firstValue }) };
    });
    set("filterSetMetricQualByRank", (filter, { exp: { qualType, value } }) => Object.assign(filter.filterDetail, { qualType, value }));
    set("filterSetMetricSliderByRank", (filter, { exp: { qualType, value } }) => Object.assign(filter.filterDetail, { qualType, value }));
    set("filterSetMetricSliderByValue", (filter, { exp: { range: [from, to] } }) => Object.assign(filter.filterDetail, { from, to }));
    set("filterSetExclude", (filter) => (filter.isExclude = true));
    set("filterSetInclude", (filter) => (filter.isExclude = false));
    set("filterClear", (filter) => {
      const { filterDetail, isExclude } = this.#initial.find(({ filterKey }) => filterKey === filter.filterKey);
      Object.assign(filter, { filterDetail: structuredClone(filterDetail), isExclude });
    });
  }

  filterApplyAll() {
    this.calls.push(["filterApplyAll"]);
    this.#apply(this.#held.splice(0));
  }

  #apply(acts) {
    acts.forEach((act) => act());
    if (acts.length) this.raise("onFilterUpdated", { filterInfo: [] });
  }

  #filter(key) {
    const found = this.filters.find(({ filterKey }) => filterKey === key);
    if (!found) throw new Error(`no filter ${key}`);
    return found;
  }

  registerEventHandler(name, handler) {
    this.#handlers.set(name, (this.#handlers.get(name) ?? new Set()).add(handler));
  }

  removeEventHandler(name, handler) {
    this.#handlers.get(name)?.delete(handler);
  }

  get handlers() {
    return [...this.#handlers.values()].reduce((sum, each) => sum + each.size, 0);
  }

  raise(name, content) {
    this.#handlers.get(name)?.forEach((handler) => handler(content));
  }

  async getFilterList() {
    return structuredClone(this.filters);
  }

  async getCurrentPageVisualizationList() {
    return structuredClone(this.#page.visualizations);
  }

  getCurrentPage() {
    return { nodeKey: this.#page.nodeKey, name: this.#page.name };
  }

  getPageByNodeKey(nodeKey) {
    return PAGES.find((page) => page.nodeKey === nodeKey);
  }

  async navigateToPage(page) {
    this.#page = page;
    this.raise("onPageSwitched", { key: page.nodeKey.split("--").at(-1) });
    return { valid: true };
  }

  // What somebody does in it.

  selectBar(visualizationKey, ...names) {
    const elements = names.map((name) => ({ id: `h${name};Q`, name }));
    this.raise("onVisualizationElementsChanged", [
      { visualizationKey, attributeElements: [{ attribute: { id: "Q", name: "Quarter" }, elements }] },
    ]);
    this.raise("onGraphicsSelected", { vizKey: visualizationKey, graphics: names.map((v) => [{ n: "Quarter", v }]) });
  }
}
