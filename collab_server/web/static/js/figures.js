// Made-up figures, the same for everybody: what there is to talk about.

import { CHOICES } from "./views.js";

const QUARTERS = ["Q1", "Q2", "Q3", "Q4"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const PRODUCTS = ["Bicycles", "Helmets", "Lights", "Clothing", "Service"];

/**
 * The pages of a dashboard and their visualizations: `figure` is one number, `columns` and `rows` are bars, of which
 * each is a data point.
 */
export const PAGES = [
  {
    key: "overview",
    name: "Overview",
    visualizations: [
      { key: "revenue", name: "Revenue", shape: "figure", unit: "k", of: (id, chosen) => sum(byQuarter(id, chosen)) },
      { key: "orders", name: "Orders", shape: "figure", of: (id, chosen) => sum(byMonth(id, chosen)) },
      { key: "margin", name: "Margin", shape: "figure", unit: "%", of: (id, chosen) => 18 + (sum(byQuarter(id, chosen)) % 21) },
      { key: "quarters", name: "Revenue by quarter", shape: "columns", dimension: "Quarter", bars: byQuarter },
      { key: "regions", name: "Revenue by region", shape: "rows", dimension: "Region", bars: byRegion },
    ],
  },
  {
    key: "products",
    name: "Products",
    visualizations: [
      { key: "products", name: "Revenue by product", shape: "rows", dimension: "Product", bars: byProduct },
      { key: "months", name: "Orders by month", shape: "columns", dimension: "Month", bars: byMonth },
    ],
  },
];

/** Where a place is, in words: `Overview · Revenue by quarter · Q3`; null for what is no place of this dashboard. */
export function placeInWords(anchor) {
  const page = PAGES.find(({ key }) => key === anchor?.pageKey);
  if (!page) return null;
  const visualization = page.visualizations.find(({ key }) => key === anchor.visualizationKey);
  const point = visualization?.dimension && anchor.dataPoint?.[visualization.dimension];
  return [visualization?.name ?? page.name, typeof point === "string" && point].filter(Boolean).join(" · ");
}

function byQuarter(id, chosen) {
  return QUARTERS.map((quarter) => ({ name: quarter, value: total(id, chosen, quarter) }));
}

function byRegion(id, chosen) {
  const regions = chosen.Region ? [chosen.Region] : CHOICES.Region;
  return regions.map((Region) => ({
    name: Region,
    value: sum(byQuarter(id, { ...chosen, Region })),
  }));
}

function byProduct(id, chosen) {
  return PRODUCTS.map((name) => ({ name, value: total(id, chosen, name) }));
}

function byMonth(id, chosen) {
  return MONTHS.map((name) => ({ name, value: total(id, chosen, name) }));
}

function total(id, { Region, Year }, what) {
  const regions = Region ? [Region] : CHOICES.Region;
  const years = Year ? [Year] : CHOICES.Year;
  return regions
    .flatMap((region) => years.map((year) => 40 + (scattered(`${id}${region}${year}${what}`) % 180)))
    .reduce((all, value) => all + value, 0);
}

const sum = (bars) => bars.reduce((all, { value }) => all + value, 0);

/** A whole number that looks like chance, and is the same for everybody (FNV-1a, stirred). */
function scattered(text) {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
