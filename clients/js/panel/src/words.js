// What the panel says, in the language of the page: one JSON a language, English for what one of them lacks.

/** @type {Record<string, () => Promise<{default: Record<string, string>}>>} */
const FILES = {
  en: () => import("./words/en.json", { with: { type: "json" } }),
  ar: () => import("./words/ar.json", { with: { type: "json" } }),
  de: () => import("./words/de.json", { with: { type: "json" } }),
  ja: () => import("./words/ja.json", { with: { type: "json" } }),
};

/** The languages there are. */
export const LANGUAGES = Object.freeze(Object.keys(FILES));

/** Those that lack sentences, as a test counts: English comes with them. @type {readonly string[]} */
const INCOMPLETE = [];

const AGAIN_MS = 3000;

const MINUTE = 60;
const UNITS = /** @type {const} */ ([
  ["hour", 60 * MINUTE],
  ["minute", MINUTE],
]);
const DAY = 24 * 60 * MINUTE;
const WEEK = 7 * DAY;

export class Words {
  #strings;
  #plurals;
  #number;
  #relative;
  #date;
  #exact;

  /** @param {string} language @param {Record<string, string>} strings @param {Record<string, string>} [english] */
  constructor(language, strings, english) {
    this.language = language;
    this.#strings = new Map(Object.entries({ ...english, ...strings }));
    this.#plurals = new Intl.PluralRules(language);
    this.#number = new Intl.NumberFormat(language);
    this.#relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
    this.#date = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: "numeric" });
    this.#exact = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" });
  }

  /**
   * A sentence. With `count` among the values, that of its plural.
   * @param {string} key
   * @param {Record<string, string | number>} [values]
   */
  say(key, values = {}) {
    const form = typeof values.count === "number" ? `${key}.${this.#plurals.select(values.count)}` : key;
    const strings = this.#strings;
    const found = strings.get(form) ?? strings.get(`${key}.other`) ?? strings.get(key) ?? key;
    return found.replace(/\{(\w+)\}/gu, (_, name) => {
      const value = values[name] ?? "";
      return typeof value === "number" ? this.#number.format(value) : apart(value, found);
    });
  }

  /** Whether there is such a sentence. @param {string} key */
  has(key) {
    return this.#strings.has(key);
  }

  /** How long ago a moment (RFC 3339) was; after a week its date. @param {string} at @param {number} now */
  ago(at, now) {
    const seconds = Math.max(0, (now - Date.parse(at)) / 1000);
    if (seconds >= WEEK) return this.#date.format(new Date(at));
    // Days are those of the calendar: what was said 47 hours ago was not said yesterday.
    if (seconds >= DAY) return this.#relative.format(dayOf(Date.parse(at)) - dayOf(now), "day");
    for (const [unit, length] of UNITS) {
      if (seconds >= length) return this.#relative.format(-Math.floor(seconds / length), unit);
    }
    return this.say("now");
  }

  /** A moment, exactly. @param {string} at */
  exact(at) {
    return this.#exact.format(new Date(at));
  }
}

/** The number of a day, here. @param {number} at */
const dayOf = (at) => {
  const date = new Date(at);
  return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / (DAY * 1000);
};

/** Letters that go from right to left, and signs that turn the order of others. */
const TURNS = /[\u0590-\u08ff\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/**
 * What was given, such as a name, as it stands in a sentence: where one of them goes from right to left, neither turns
 * the other's order.
 * @param {string} given
 * @param {string} sentence
 */
export const apart = (given, sentence) => (TURNS.test(given + sentence) ? `\u2068${given}\u2069` : given);

/** @type {Map<string, Promise<Words>>} */
const loaded = new Map();

/** The words of a language, such as `de-AT`; English where there are none. @param {string} wanted @returns {Promise<Words>} */
export function wordsOf(wanted) {
  let words = loaded.get(wanted);
  if (!words) loaded.set(wanted, (words = load(wanted)));
  return words;
}

/** @param {string} wanted @returns {Promise<Words>} */
async function load(wanted) {
  const known = wanted.toLowerCase().split("-")[0];
  const language = Object.hasOwn(FILES, known) ? known : "en";
  try {
    const files = [language, ...(INCOMPLETE.includes(language) ? ["en"] : [])].map((each) => FILES[each]());
    const [strings, english] = (await Promise.all(files)).map((file) => file.default);
    return new Words(language === known ? tagOf(wanted, language) : "en", strings, english);
  } catch {
    await new Promise((done) => setTimeout(done, AGAIN_MS)); // the connection was lost at the wrong moment
    return load(wanted);
  }
}

/** What `Intl` takes: a page may have whatever for its language. @param {string} wanted @param {string} otherwise */
function tagOf(wanted, otherwise) {
  try {
    return Intl.getCanonicalLocales(wanted)[0];
  } catch {
    return otherwise;
  }
}
