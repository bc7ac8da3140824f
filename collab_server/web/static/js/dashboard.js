// A dashboard to talk about: made-up figures that two filters narrow, so that a comment has something to show.
// Its filters are the view state that comments carry: {filters: [{name, values: [value]}]}.

import { html } from "../vendor/htm-preact-standalone.js";
import { filtersIn } from "./words.js";

const CHOICES = {
  Region: ["North", "South", "East", "West"],
  Year: ["2024", "2025", "2026"],
};
const QUARTERS = ["Q1", "Q2", "Q3", "Q4"];

export const NO_FILTERS = Object.freeze({ Region: "", Year: "" });

/** The view state of the chosen filters, or null when nothing is chosen. */
export function viewStateOf(chosen) {
  const filters = Object.keys(CHOICES)
    .filter((name) => chosen[name])
    .map((name) => ({ name, values: [chosen[name]] }));
  return filters.length > 0 ? { filters } : null;
}

/** The filters that somebody's view state chooses; what this dashboard does not have is left out. */
export function filtersOf(viewState) {
  const chosen = { ...NO_FILTERS };
  for (const { name, values } of filtersIn(viewState)) {
    if (Object.hasOwn(CHOICES, name) && CHOICES[name].includes(values[0])) chosen[name] = values[0];
  }
  return chosen;
}

export function Dashboard({ dashboard, chosen, onChoose }) {
  const bars = QUARTERS.map((quarter) => ({ quarter, value: revenue(dashboard.id, quarter, chosen) }));
  const total = bars.reduce((sum, bar) => sum + bar.value, 0);
  const highest = Math.max(...bars.map((bar) => bar.value));
  return html`
    <section class="dashboard" aria-labelledby="dashboard-name">
      <p class="eyebrow">${dashboard.projectName}</p>
      <h1 id="dashboard-name">${dashboard.name}</h1>
      <form class="filters" onSubmit=${(event) => event.preventDefault()} aria-label="Filters">
        ${Object.entries(CHOICES).map(
          ([name, values]) => html`
            <label>
              <span>${name}</span>
              <select
                name=${name}
                value=${chosen[name]}
                onChange=${(event) => onChoose({ ...chosen, [name]: event.target.value })}
              >
                <option value="">All</option>
                ${values.map((value) => html`<option value=${value}>${value}</option>`)}
              </select>
            </label>
          `,
        )}
      </form>
      <p class="figure"><strong>${total.toLocaleString()}</strong> <span>revenue in thousands, made up</span></p>
      <svg class="chart" viewBox="0 0 400 190" role="img" aria-label=${inWords(bars)}>
        ${bars.map(
          ({ quarter, value }, index) => html`
            <g key=${quarter}>
              <rect
                x=${index * 100 + 14}
                y=${160 - (value / highest) * 132}
                width="72"
                height=${(value / highest) * 132}
                rx="5"
              />
              <text class="value" x=${index * 100 + 50} y=${152 - (value / highest) * 132}>${value.toLocaleString()}</text>
              <text class="label" x=${index * 100 + 50} y="181">${quarter}</text>
            </g>
          `,
        )}
      </svg>
    </section>
  `;
}

function revenue(id, quarter, { Region, Year }) {
  const regions = Region ? [Region] : CHOICES.Region;
  const years = Year ? [Year] : CHOICES.Year;
  return regions
    .flatMap((region) => years.map((year) => 40 + (scattered(`${id}${region}${year}${quarter}`) % 180)))
    .reduce((sum, value) => sum + value, 0);
}

/** A whole number that looks like chance, and is the same for everybody (FNV-1a, stirred). */
function scattered(text) {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

function inWords(bars) {
  return `Revenue per quarter: ${bars.map(({ quarter, value }) => `${quarter} ${value}`).join(", ")}`;
}
