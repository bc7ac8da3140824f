// A dashboard, and its panel beside it: what is chosen in one is what the other is about.

import { placesOf } from "../clients/collab-client/places.js";
import { useStore } from "../clients/collab-panel/parts.js";
import { html, useCallback, useEffect, useMemo, useRef, useState } from "../clients/collab-panel/preact.js";
import { Dashboard } from "./dashboard.js";
import { PAGES, placeInWords } from "./figures.js";
import { filtersInWords, filtersOf, NO_FILTERS, viewStateOf } from "./views.js";

const LIT_MS = 2500;

export function Desk({ words, language, client, dashboard, topic: name, describeTopic, onOpen, sent }) {
  const topic = useMemo(() => client.topic(name), [client, name]);
  const places = useMemo(() => placesOf(client, topic), [client, topic]);
  const { state, threads, unread } = useStore(topic);
  const known = useStore(places);
  const [page, setPage] = useState(PAGES[0].key);
  const [chosen, setChosen] = useState(NO_FILTERS);
  const [applied, setApplied] = useState(null); // {name, at, before}: somebody else's filters
  const [selected, setSelected] = useState(null); // the place that one wants to speak of
  const [place, setPlace] = useState(null); // whose threads the panel shows
  const [pointed, setPointed] = useState(null); // that of the thread one points at
  const [lit, setLit] = useState(null); // where one was just led
  const panel = useRef(null);
  const timer = useRef(0);

  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    document.title = `${unread ? `(${unread}) ` : ""}${dashboard.name} · Collaboration`;
  }, [unread, dashboard.name]);

  const goTo = useCallback((anchor) => {
    if (!placeInWords(anchor)) return;
    setPage(anchor.pageKey);
    setLit(anchor);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setLit(null), LIT_MS);
    if (panel.current?.getAttribute("sheet") === "full") panel.current.setAttribute("sheet", "half");
  }, []);
  const select = (anchor, hasThreads) => {
    setSelected(anchor);
    setPlace(hasThreads ? anchor : null);
    if (anchor && panel.current?.getAttribute("sheet") === "low") panel.current.setAttribute("sheet", "half");
  };
  const apply = (viewState, comment) => {
    setApplied({ name: comment?.author.name, at: comment?.createdAt, before: applied?.before ?? chosen });
    setChosen(filtersOf(viewState));
  };
  useEffect(() => {
    if (sent?.topic === name) apply(sent.viewState);
  }, [sent]);
  const back = () => {
    setChosen(applied.before);
    setApplied(null);
  };

  const viewState = viewStateOf(chosen);
  const attachment = useMemo(
    () => (viewState || selected) && { label: filtersInWords(viewState), viewState, anchor: selected },
    [JSON.stringify(viewState), selected],
  );
  return html`
    <div class="desk">
      ${state === "closed"
        ? html`<main class="closed">
            <h1>${words.say("closed.title")}</h1>
            <p class="lead">${words.say("closed.lead")}</p>
          </main>`
        : html`<main class="seen">
            ${applied &&
            html`<p class="applied" role="status">
              <span>${applied.name ? words.say("applied", { name: applied.name, when: words.ago(applied.at, Date.now()) }) : words.say("applied.sent")}</span>
              <button type="button" class="plain" onClick=${back}>${words.say("back")}</button>
            </p>`}
            <${Dashboard}
              ...${{ words, dashboard, page, chosen, selected, place, places: known, threads }}
              lit=${lit ?? pointed}
              onPage=${setPage}
              onChoose=${setChosen}
              onSelect=${select}
            />
          </main>`}
      <collab-panel
        ref=${panel}
        topic=${name}
        lang=${language}
        sheet="half"
        attachment=${attachment}
        place=${place}
        describeView=${filtersInWords}
        describePlace=${placeInWords}
        goTo=${goTo}
        describeTopic=${describeTopic}
        oncollab-open=${onOpen}
        oncollab-apply=${({ detail: { viewState, comment } }) => apply(viewState, comment)}
        oncollab-place=${({ detail }) => {
          setPlace(detail.place);
          if (!detail.place) setSelected(null);
        }}
        oncollab-point=${({ detail }) => setPointed(detail.anchor)}
      ></collab-panel>
    </div>
  `;
}
