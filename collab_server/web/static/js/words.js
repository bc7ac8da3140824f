// Texts as people read them.

const MENTION = /@\[((?:(?!\]\().){1,256}?)\]\((?:user|group):[^()\s]{1,64}\)/gs;

/** The pieces of a comment's text: `{text}` or `{mention}`, the shown name. */
export function pieces(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(MENTION)) {
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ mention: match[1] });
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

/** The filters in a view state as words (`Region: North · Year: 2026`), or null where there are none to read. */
export function filtersInWords(viewState) {
  const filters = Array.isArray(viewState?.filters) ? viewState.filters : [];
  const words = filters
    .filter(({ name, values } = {}) => typeof name === "string" && Array.isArray(values) && values.length > 0)
    .map(({ name, values }) => `${name}: ${values.map(String).join(", ")}`);
  return words.length > 0 ? words.join(" · ") : null;
}

/** A colour of one's own for everybody, 0 to 359. */
export function hueOf(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}
