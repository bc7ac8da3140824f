// The language of the page, which is that of the panel in it.

import { Words } from "../clients/collab-panel/words.js";
import { keptIn } from "./keep.js";
import { STRINGS } from "./strings.js";

/** The languages, each by its own name. */
export const LANGUAGES = { en: "English", de: "Deutsch", ja: "日本語", ar: "العربية" };

const kept = keptIn("localStorage", "collaboration-language");

/** The language that was chosen here, else the first of the browser's that there is. */
export function languageHere() {
  const wanted = [kept.read(), ...navigator.languages].map((each) => each?.split("-")[0]);
  return wanted.find((each) => Object.hasOwn(STRINGS, each ?? "")) ?? "en";
}

/** The words of a language; the page is in it from now on. */
export function speak(language, isChosen = false) {
  if (isChosen) kept.write(language);
  document.documentElement.lang = language;
  document.documentElement.dir = language === "ar" ? "rtl" : "ltr";
  return wordsOf(language);
}

/** What the page says in a language: the grammar of plurals is the panel's. */
export function wordsOf(language) {
  return new Words(language, { ...STRINGS.en, ...STRINGS[language] });
}
