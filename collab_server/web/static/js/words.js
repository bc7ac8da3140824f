// Texts as people read them.

// The grammar of docs/protocol.md, as the server reads texts by.
const MENTION = /@\[((?:(?!\]\(|@\[)[^\n]){1,256})\]\((user|group):([A-Za-z0-9._~@+-]{1,64})\)/gu;

/**
 * The pieces of a comment's text: `{text}` or `{mention}`, a name. `mentions` are the comment's, which the server has
 * looked up: the name in the text is what its author wants to be read, and a mention that is not among them is none.
 */
export function pieces(text, mentions) {
  const names = new Map((mentions ?? []).map(({ kind, id, name }) => [`${kind}:${id}`, name]));
  const found = [];
  let end = 0;
  for (const match of text.matchAll(MENTION)) {
    // Library's ids are in upper case there, and in any case in texts.
    const name = names.get(`${match[2]}:${match[3]}`) ?? names.get(`${match[2]}:${match[3].toUpperCase()}`);
    if (name === undefined) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ mention: name });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** A moment (RFC 3339) as short as it can be understood: today only the time. */
export function shortTime(at, now = new Date()) {
  const moment = new Date(at);
  return moment.toDateString() === now.toDateString() ? clock.format(moment) : day.format(moment);
}

const MOST_WORDS = 240;

/**
 * The filters in a view state as words (`Region: North · Year: 2026`), or null where there are none to read. A view
 * state is whatever somebody sent: what has not the form of a filter is passed over.
 */
export function filtersInWords(viewState) {
  const words = filtersIn(viewState)
    .map(({ name, values }) => `${name}: ${values.filter(isPlain).join(", ")}`)
    .join(" · ");
  return words.length > MOST_WORDS ? `${beginning(words, MOST_WORDS)} …` : words || null;
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

/** What is a filter in a view state: `{name, values}`, a text and a list with something in it that can be read. */
export function filtersIn(viewState) {
  const filters = Array.isArray(viewState?.filters) ? viewState.filters : [];
  return filters.filter(
    (filter) => typeof filter?.name === "string" && Array.isArray(filter.values) && filter.values.some(isPlain),
  );
}

function isPlain(value) {
  return ["string", "number", "boolean"].includes(typeof value);
}

/** A colour of one's own for everybody, 0 to 359. */
export function hueOf(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}
