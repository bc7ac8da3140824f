// View states as people read them, and as this dashboard takes them: {filters: [{name, values: [value]}]}.
// They are whatever somebody sent: what has not that form is passed over.

export const CHOICES = {
  Region: ["North", "South", "East", "West"],
  Year: ["2024", "2025", "2026"],
};

export const NO_FILTERS = Object.freeze({ Region: "", Year: "" });

const MOST_LETTERS = 240;

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

/** The filters in a view state as words (`Region: North · Year: 2026`), or null where there are none to read. */
export function filtersInWords(viewState) {
  const words = filtersIn(viewState)
    .map(({ name, values }) => `${name}: ${values.filter(isPlain).join(", ")}`)
    .join(" · ");
  return words.length > MOST_LETTERS ? `${beginning(words, MOST_LETTERS)} …` : words || null;
}

const letters = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The beginning of a text, cut inside nothing that people see as one letter; up to `most` UTF-16 code units. */
function beginning(text, most) {
  let end = 0;
  for (const { index, segment } of letters.segment(text)) {
    if (index + segment.length > most) break;
    end = index + segment.length;
  }
  return text.slice(0, end || most);
}

function filtersIn(viewState) {
  const filters = Array.isArray(viewState?.filters) ? viewState.filters : [];
  return filters.filter(
    (filter) => typeof filter?.name === "string" && Array.isArray(filter.values) && filter.values.some(isPlain),
  );
}

function isPlain(value) {
  return ["string", "number", "boolean"].includes(typeof value);
}
