// A dashboard to talk about: made-up figures that two filters narrow, on two pages. Its visualizations and their bars
// are what comments are pinned to.

import { isAt } from "../clients/collab-panel/places.js";
import { html } from "../clients/collab-panel/preact.js";
import { PAGES } from "./figures.js";
import { CHOICES } from "./views.js";

export function Dashboard(props) {
  const { words, dashboard, page: open, chosen, onPage, onChoose } = props;
  const page = PAGES.find(({ key }) => key === open);
  return html`
    <section class="dashboard" aria-labelledby="dashboard-name">
      <header class="title">
        <div>
          <p class="eyebrow">${dashboard.projectName}</p>
          <h1 id="dashboard-name">${dashboard.name}</h1>
        </div>
        <form class="filters" onSubmit=${(event) => event.preventDefault()} aria-label=${words.say("filters")}>
          ${Object.entries(CHOICES).map(
            ([name, values]) => html`
              <label>
                <span>${name}</span>
                <select
                  name=${name}
                  value=${chosen[name]}
                  onChange=${(event) => onChoose({ ...chosen, [name]: event.target.value })}
                >
                  <option value="">${words.say("every")}</option>
                  ${values.map((value) => html`<option value=${value}>${value}</option>`)}
                </select>
              </label>
            `,
          )}
        </form>
      </header>
      <nav class="pages" aria-label=${words.say("pages")}>
        ${PAGES.map(
          ({ key, name }) => html`
            <button type="button" class="page" aria-current=${key === open ? "page" : null} onClick=${() => onPage(key)}>
              ${name}
            </button>
          `,
        )}
      </nav>
      <div class="cards">
        ${page.visualizations.map((each) => html`<${Card} key=${each.key} ...${props} visualization=${each} />`)}
      </div>
      <p class="quiet">${words.say("invented")}</p>
    </section>
  `;
}

function Card(props) {
  const { words, dashboard, page, chosen, places, selected, place, lit, onSelect, visualization } = props;
  const { key, name, shape, unit = "", of, bars } = visualization;
  const anchor = { pageKey: page, visualizationKey: key };
  const { open, unread } = places.at(anchor);
  const isHere = (other) => other?.pageKey === page && other.visualizationKey === key;
  const isWhole = isHere(selected) && !selected.dataPoint;
  const threads = words.say("pin", { count: open, place: name });
  const label = open ? (unread ? words.say("pin.new", { threads }) : threads) : words.say("pin.none", { place: name });
  return html`
    <section class="card ${shape} ${isHere(lit) ? "lit" : ""}" aria-label=${name}>
      <header>
        <h2>${name}</h2>
        <button
          type="button"
          class="pin ${open ? "" : "free"} ${unread ? "fresh" : ""}"
          aria-pressed=${isWhole || (isHere(place) && !place.dataPoint) ? "true" : "false"}
          aria-label=${label}
          title=${label}
          onClick=${() => (isWhole ? onSelect(null, false) : onSelect(anchor, open > 0))}
        >
          ${open || "+"}
        </button>
      </header>
      ${shape === "figure"
        ? html`<p class="figure">
            <bdi dir="ltr">${of(dashboard.id, chosen).toLocaleString(words.language)}${unit && html`<small> ${unit}</small>`}</bdi>
          </p>`
        : html`<${Bars} ...${props} anchor=${anchor} bars=${bars(dashboard.id, chosen)} />`}
    </section>
  `;
}

function Bars({ words, visualization, anchor, bars, selected, lit, threads, onSelect }) {
  const { dimension, shape } = visualization;
  const highest = Math.max(...bars.map(({ value }) => value));
  const open = threads.filter(({ root }) => root?.anchor && !root.resolved && !root.deletedAt);
  return html`
    <ul class="bars">
      ${bars.map(({ name, value }) => {
        const point = { ...anchor, dataPoint: { [dimension]: name } };
        const here = open.filter(({ root }) => isAt(root.anchor, point)); // what the panel shows of it
        const isChosen = isAt(selected, point);
        const part = `${Math.max(2, (value / highest) * 100)}%`;
        return html`
          <li key=${name}>
            <button
              type="button"
              class="bar ${isAt(lit, point) ? "lit" : ""}"
              aria-pressed=${isChosen ? "true" : "false"}
              onClick=${() => (isChosen ? onSelect(null, false) : onSelect(point, here.length > 0))}
            >
              <span class="name">${name}</span>
              <span class="track">
                <span class="fill" style=${shape === "rows" ? { inlineSize: part } : { blockSize: part }}>
                  ${here.length > 0 &&
                  html`<span class="pin small ${here.some(({ unread }) => unread) ? "fresh" : ""}" aria-hidden="true">${here.length}</span>`}
                </span>
              </span>
              <span class="value">${value.toLocaleString(words.language)}</span>
              ${here.length > 0 && html`<span class="unseen">${words.say("pin", { count: here.length, place: name })}</span>`}
            </button>
          </li>
        `;
      })}
    </ul>
  `;
}
