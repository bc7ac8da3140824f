// The filters of a dashboard: as the SDK lists them, as they are kept with a comment, and as the SDK is told them again.
// What is kept is whatever somebody sent: nothing of it is used but what has the form of a filter that is there.

/**
 * The dashboard that `microstrategy.dossier.create` gives.
 * @typedef {Record<string, any>} Dossier
 */

/**
 * An element of an attribute.
 * @typedef {object} Item
 * @property {string} name
 * @property {string} value its id
 */

/**
 * @typedef {object} Dates
 * @property {string} from
 * @property {string} to
 */

/**
 * One filter as it is kept.
 * @typedef {object} SavedFilter
 * @property {string} key
 * @property {string} name
 * @property {string} type as the SDK calls it
 * @property {boolean} isExclude
 * @property {readonly Item[]} [items] the elements that are selected
 * @property {number} [from] where a range begins: a number, or the place of an element
 * @property {number} [to]
 * @property {Dates} [dates]
 * @property {number} [value]
 * @property {string} [operator]
 * @property {string} [qualType]
 */

const MOST_FILTERS = 100;
const MOST_ITEMS = 200;
const MOST_LETTERS = 240;
const OPERATORS = [
  ...["equals", "not equals", "greater", "greater equal", "less", "less equal", "between", "not between"],
  ...["in", "not in", "is null", "is not null"],
];
const RANKS = ["highest", "lowest", "highest percent", "lowest percent"];

const isText = (/** @type {unknown} */ value) => typeof value === "string";
const isNumber = (/** @type {unknown} */ value) => typeof value === "number" && Number.isFinite(value);

/**
 * What a filter of `getFilterList()` narrows; null where it narrows nothing.
 * @param {any} listed
 * @returns {SavedFilter | null}
 */
export function saved({ filterKey: key, filterName: name, filterType: type, isExclude, filterDetail }) {
  const filter = { key, name, type, isExclude: Boolean(isExclude) };
  const detail = { items: [], ...filterDetail };
  switch (type) {
    case "attributeSelector":
    case "attributeSearchSelector": {
      const items = chosen(detail);
      const isAll = type === "attributeSelector" && items.length === detail.items.length && !filter.isExclude;
      return items.length && !isAll ? { ...filter, items } : null;
    }
    case "attributeSlider": {
      const { from, to, value } = detail.indexInfo ?? {};
      if (isNumber(value)) return { ...filter, value, items: chosen(detail) };
      const isAll = from === 0 && to === detail.items.length - 1;
      return isNumber(from) && isNumber(to) && !isAll ? { ...filter, from, to, items: ends(detail.items, from, to) } : null;
    }
    case "calendar": {
      const { from, to, minDate, maxDate } = detail;
      const isAll = Date.parse(from) <= Date.parse(minDate) && Date.parse(to) >= Date.parse(maxDate);
      return isText(from) && isText(to) && !isAll ? { ...filter, dates: { from, to } } : null;
    }
    case "metricQualByValue": {
      const { operator, from, to, value } = detail;
      if (!OPERATORS.includes(operator)) return null;
      return { ...filter, operator, ...(isNumber(value) ? { value } : isNumber(from) ? { from, to } : {}) };
    }
    case "metricQualByRank":
      return isNumber(detail.value) ? { ...filter, qualType: detail.qualType, value: detail.value } : null;
    case "metricSliderByValue": {
      const { from, to, min, max } = detail;
      return isNumber(from) && isNumber(to) && !(from <= min && to >= max) ? { ...filter, from, to } : null;
    }
    case "metricSliderByRank": {
      const { value, max, qualType } = detail;
      return isNumber(value) && value !== max ? { ...filter, qualType, value } : null;
    }
    default:
      return null;
  }
}

/** @param {any} detail */
const chosen = ({ items = [] }) =>
  items
    .filter((/** @type {any} */ item) => item.selected)
    .slice(0, MOST_ITEMS)
    .map((/** @type {any} */ { name, value }) => ({ name, value }));

/** @param {any[]} items @param {number} from @param {number} to */
const ends = (items, from, to) => [items[from], items[to]].filter(Boolean).map(({ name, value }) => ({ name, value }));

/**
 * The filters in a view state, whoever made it: those that have the form of one.
 * @param {any} viewState
 * @returns {SavedFilter[]}
 */
export function filtersIn(viewState) {
  const filters = Array.isArray(viewState?.filters) ? viewState.filters.slice(0, MOST_FILTERS) : [];
  return filters.filter((/** @type {any} */ filter) => filter && isText(filter.key) && isText(filter.name) && isText(filter.type));
}

/**
 * The filters in a view state as people read them (`Year: 2025, 2026 · Cost: 10 – 20`); null where there are none.
 * @param {any} viewState
 * @returns {string | null}
 */
export function filtersInWords(viewState) {
  const words = filtersIn(viewState)
    .map((filter) => `${filter.name}: ${valuesOf(filter)}`)
    .join(" · ");
  return words.length > MOST_LETTERS ? `${[...words].slice(0, MOST_LETTERS).join("")} …` : words || null;
}

/** @param {SavedFilter} filter */
function valuesOf({ type, isExclude, items, from, to, dates, value, operator, qualType }) {
  const names = itemsIn(items).map(({ name }) => name);
  const sign = isExclude === true ? "≠ " : "";
  if (names.length) return sign + (type === "attributeSlider" && isNumber(from) ? names.join(" – ") : names.join(", "));
  if (isText(dates?.from) && isText(dates?.to)) return `${dates?.from} – ${dates?.to}`;
  const numbers = [from, to].every(isNumber) ? `${from} – ${to}` : isNumber(value) ? `${value}` : "";
  return [isText(operator) && operator, isText(qualType) && qualType, numbers].filter(Boolean).join(" ") || "…";
}

/** @param {unknown} items @returns {{name: string, value: string}[]} */
function itemsIn(items) {
  if (!Array.isArray(items)) return [];
  return items.slice(0, MOST_ITEMS).filter((item) => isText(item?.name) && isText(item?.value));
}

/**
 * Tell the SDK a filter. It is held back until all are told.
 * @param {Dossier} dossier
 * @param {any} listed the filter as it is now
 * @param {SavedFilter | undefined} wanted undefined: it narrows nothing
 * @returns {boolean} whether it could be told
 */
export function tell(dossier, listed, wanted) {
  const filterInfo = { key: listed.filterKey };
  const held = { filterInfo, holdSubmit: true };
  if (!wanted) {
    if (saved(listed)) dossier.filterClear(held);
    return true;
  }
  if (wanted.type !== listed.filterType) return false;
  const isTold = tellValues(dossier, listed, wanted, held);
  if (isTold && Boolean(listed.isExclude) !== (wanted.isExclude === true)) {
    (wanted.isExclude === true ? dossier.filterSetExclude : dossier.filterSetInclude).call(dossier, held);
  }
  return isTold;
}

/** @param {Dossier} dossier @param {any} listed @param {SavedFilter} wanted @param {any} held */
function tellValues(dossier, listed, wanted, held) {
  const detail = listed.filterDetail ?? {};
  const { from, to, value, dates, operator, qualType } = wanted;
  const isRange = isNumber(from) && isNumber(to);
  switch (wanted.type) {
    case "attributeSelector":
    case "attributeSearchSelector": {
      const isSearch = wanted.type === "attributeSearchSelector"; // which lists only what was chosen
      const known = new Set((detail.items ?? []).map((/** @type {any} */ item) => item.value));
      const items = itemsIn(wanted.items).filter((item) => isSearch || known.has(item.value));
      if (!items.length) return false;
      const selections = items.map(({ name, value }) => (isSearch ? { name, value } : { value }));
      if (isSearch) {
        const many = detail.supportMultiple !== false;
        if (many) dossier.filterSearchMultiAttributes({ ...held, selections });
        else dossier.filterSearchSingleAttribute({ ...held, selections: selections.slice(0, 1) });
      } else if (detail.supportMultiple) dossier.filterSelectMultiAttributes({ ...held, selections });
      else dossier.filterSelectSingleAttribute({ ...held, selection: selections[0] });
      return true;
    }
    case "attributeSlider": {
      const last = (detail.items?.length ?? 0) - 1;
      const isPlace = (/** @type {unknown} */ place) => Number.isInteger(place) && Number(place) >= 0 && Number(place) <= last;
      if (isPlace(value)) dossier.filterAttributeSingleSlider({ ...held, selection: value });
      else if (isPlace(from) && isPlace(to)) dossier.filterAttributeMultiSlider({ ...held, selections: [from, to] });
      else return false;
      return true;
    }
    case "calendar":
      if (!dates || Number.isNaN(Date.parse(dates.from)) || Number.isNaN(Date.parse(dates.to))) return false;
      dossier.filterSetDateRange({ ...held, date: { from: dates.from, to: dates.to } });
      return true;
    case "metricQualByValue": {
      if (!OPERATORS.includes(operator ?? "")) return false;
      const values = isRange ? { firstValue: from, lastValue: to } : isNumber(value) ? { firstValue: value } : {};
      dossier.filterSetMetricQualByValue({ ...held, exp: { operator, ...values } });
      return true;
    }
    case "metricQualByRank":
    case "metricSliderByRank": {
      if (!isNumber(value) || !RANKS.includes(qualType ?? "")) return false;
      const exp = { qualType, value };
      if (wanted.type === "metricQualByRank") dossier.filterSetMetricQualByRank({ ...held, exp });
      else dossier.filterSetMetricSliderByRank({ ...held, exp: { ...exp, holdSubmit: true } });
      return true;
    }
    case "metricSliderByValue":
      if (!isRange) return false;
      // Of the sliders the documentation has `holdSubmit` in `exp`.
      dossier.filterSetMetricSliderByValue({ ...held, exp: { range: [from, to], holdSubmit: true } });
      return true;
    default:
      return false;
  }
}
