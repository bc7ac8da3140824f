// The page: who is signed in, which dashboard is open, and beside it the panel, which has the connection.
//
// What a reload needs (resumeToken, the list of dashboards) is kept in this window's sessionStorage, so that two
// windows can be two people. The open dashboard is in the address: #content:{projectId}:{objectId}; one comment of it
// may be there too: ?collab=comment:{id}.

import { connect } from "../clients/collab-panel/index.js";
import { Avatar, useStore } from "../clients/collab-panel/parts.js";
import { html, render, useEffect, useRef, useState } from "../clients/collab-panel/preact.js";
import { Desk } from "./desk.js";
import { placeInWords } from "./figures.js";
import { keptIn } from "./keep.js";
import { LibraryError, people, signIn } from "./library.js";
import { filtersInWords } from "./views.js";
import { LANGUAGES, languageHere, speak } from "./words.js";

const NODE_COOKIE = "collab_node"; // NGINX's sticky cookie: which node this browser is sent to

const inWindow = keptIn("sessionStorage", "collaboration");
const kept = {
  read: () => JSON.parse(inWindow.read() ?? "null"),
  write: (session) => inWindow.write(JSON.stringify(session)),
  forget: inWindow.forget,
};

const topicOf = ({ projectId, id }) => `content:${projectId}:${id}`;
const isSame = (one, other) => one.toLowerCase() === other.toLowerCase(); // ids are spelled in either case
const topicHere = () => {
  const written = location.hash.slice(1);
  try {
    return decodeURIComponent(written);
  } catch {
    return written; // an address that was cut off: there is no such dashboard
  }
};
const commentHere = () => /^comment:(.+)$/u.exec(new URLSearchParams(location.search).get("collab") ?? "")?.[1];

/** Make the load balancer choose a node anew. Windows share the cookie: what is connected stays where it is. */
function forgetNode() {
  document.cookie = `${NODE_COOKIE}=; path=/; max-age=0; samesite=lax`;
}

function App() {
  const [session, setSession] = useState(kept.read); // {identityToken | resumeToken, dashboards}
  const [isEnded, setEnded] = useState(null); // null: nobody was signed in before
  const [language, setLanguage] = useState(languageHere);
  const [words, setWords] = useState(() => speak(language));
  const choose = (chosen) => {
    setLanguage(chosen);
    setWords(speak(chosen, true));
  };
  const leave = (hasEnded) => {
    kept.forget();
    document.title = "Collaboration";
    setEnded(hasEnded);
    setSession(null);
  };
  const languages = html`<${Languages} words=${words} language=${language} onChoose=${choose} />`;
  if (!session) return html`<${SignIn} words=${words} languages=${languages} isEnded=${isEnded} onSignedIn=${setSession} />`;
  return html`<${Workplace} ...${{ words, language, languages, session }} onLeave=${leave} />`;
}

function Languages({ words, language, onChoose }) {
  return html`
    <label class="language">
      <span>${words.say("language")}</span>
      <select value=${language} onChange=${(event) => onChoose(event.target.value)}>
        ${Object.entries(LANGUAGES).map(([key, name]) => html`<option value=${key} lang=${key}>${name}</option>`)}
      </select>
    </label>
  `;
}

function SignIn({ words, languages, isEnded, onSignedIn }) {
  const [known, setKnown] = useState(null); // nobody knows yet whether people can be told
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const said = useRef(null);
  const title = useRef(null);
  useEffect(() => {
    if (isEnded !== null) title.current.focus(); // what had the focus has gone with everything else
  }, []);
  useEffect(() => {
    if (problem) said.current.scrollIntoView({ block: "nearest" });
  }, [problem]);
  useEffect(() => {
    people().then(setKnown);
  }, []);
  const enter = async (username, password) => {
    setBusy(true);
    setProblem("");
    try {
      const session = await signIn(username, password);
      forgetNode(); // so that the next window may meet another node
      scrollTo(0, 0); // where one was on this page is nowhere on the next
      onSignedIn(session);
    } catch (error) {
      if (!(error instanceof LibraryError)) throw error;
      setProblem(words.say(`library.${error.code}`, { status: error.status }));
      setBusy(false);
    }
  };
  const submit = (event) => {
    event.preventDefault();
    const { username, password } = event.target.elements;
    enter(username.value, password.value);
  };
  return html`
    <main class="sign-in">
      <p class="eyebrow">${words.say("server")}</p>
      <h1 tabindex="-1" ref=${title}>${words.say("sign.who")}</h1>
      ${isEnded ? html`<p class="ended" role="status">${words.say("sign.ended")}</p>` : html`<p class="lead">${words.say("sign.lead")}</p>`}
      ${known?.length > 0 &&
      html`
        <ul class="people">
          ${known.map(
            (person) => html`
              <li key=${person.id}>
                <button
                  type="button"
                  class="person"
                  disabled=${isBusy}
                  onClick=${() => enter(person.login, person.login)}
                >
                  <${Avatar} person=${person} />
                  <bdi>${person.fullName}</bdi>
                </button>
              </li>
            `,
          )}
        </ul>
      `}
      <details open=${known?.length === 0}>
        <summary>${words.say("sign.by")}</summary>
        <form onSubmit=${submit}>
          <label><span>${words.say("sign.name")}</span><input name="username" autocomplete="username" required /></label>
          <label>
            <span>${words.say("sign.password")}</span>
            <input name="password" type="password" autocomplete="current-password" />
          </label>
          <button type="submit" class="filled" disabled=${isBusy}>${words.say("sign.in")}</button>
        </form>
      </details>
      <p class="problem" role="alert" ref=${said}>${problem}</p>
      ${languages}
    </main>
  `;
}

/** The client that the panel and the page share; its token is kept for a reload. */
function connected(session) {
  const { identityToken, resumeToken, dashboards } = session;
  let credentials = resumeToken ? { resumeToken } : { identityToken };
  const auth = () => {
    const once = credentials;
    credentials = null; // a token is good once; there is no other without signing in
    return once;
  };
  const client = connect({ url: new URL(".", location.href).href, auth });
  client.on("server.hello", (hello) => kept.write({ dashboards, resumeToken: hello.resumeToken }));
  return client;
}

function Workplace({ words, language, languages, session, onLeave }) {
  const { dashboards } = session;
  const [client] = useState(() => connected(session));
  const connection = useStore(client.connection);
  const [topic, setTopic] = useState(topicHere);
  const [isLost, setLost] = useState(false); // the comment that the address asks for, with its dashboard
  const [sent, setSent] = useState(null); // {topic, viewState} of the inbox
  const isLeaving = useRef(false);

  useEffect(() => {
    const onHash = () => setTopic(topicHere());
    addEventListener("hashchange", onHash);
    return () => {
      removeEventListener("hashchange", onHash);
      client.close();
    };
  }, [client]);
  useEffect(() => {
    if (connection.state === "signed_out") onLeave(!isLeaving.current);
  }, [connection.state]);

  // An address may name a comment alone.
  const comment = topic ? undefined : commentHere();
  const isLive = connection.state === "live";
  useEffect(() => {
    if (!comment || !isLive) return;
    client.ask("comment.get", { commentId: comment }).then(
      (found) => (location.hash = found.topic),
      () => setLost(true),
    );
  }, [comment, isLive]);

  const open = (chosen, commentId = null) => {
    const search = commentId ? `?collab=comment:${commentId}` : "";
    history.pushState(null, "", `${location.pathname}${search}#${chosen}`);
    setLost(false);
    setTopic(chosen);
  };
  // Where the address names one it is that one or none, never another in its place.
  const dashboard = topic || comment ? dashboards.find((each) => isSame(topicOf(each), topic)) : dashboards[0];
  const dashboardOf = (name) => dashboards.find((each) => isSame(topicOf(each), name));
  /** Somebody wants to see what was said elsewhere: on another dashboard, which is opened for it, or in a discussion. */
  const onOpen = (event) => {
    const { topic: name, commentId } = event.detail;
    if (!dashboardOf(name) || (dashboard && isSame(topicOf(dashboard), name))) return; // the panel shows it
    event.preventDefault();
    open(topicOf(dashboardOf(name)), commentId);
  };
  /** A view that came to the inbox, of whatever dashboard. */
  const onApply = ({ detail }) => {
    const wanted = dashboardOf(detail.topic);
    if (!wanted) return;
    setSent({ topic: topicOf(wanted), viewState: detail.viewState });
    if (wanted !== dashboard) open(topicOf(wanted));
  };
  const signOut = async () => {
    isLeaving.current = true;
    await client.signOut();
  };
  const moveToAnotherNode = () => {
    forgetNode();
    client.connection.reconnect();
  };
  const describeTopic = (name) => dashboardOf(name)?.name ?? null;
  return html`
    <header class="top">
      <${Picker} ...${{ words, dashboards, dashboard }} onOpen=${open} />
      <p class="state ${connection.state}" role="status">
        <span class="dot" aria-hidden="true"></span>
        <span>${words.say(connection.state === "live" || connection.state === "connecting" ? connection.state : "offline")}</span>
        ${isLive && html`<span class="node">${words.say("node.on", { node: connection.node })}</span>`}
      </p>
      ${connection.user &&
      html`
        <collab-bell
          lang=${language}
          topic=${dashboard ? topicOf(dashboard) : null}
          describeView=${filtersInWords}
          describePlace=${placeInWords}
          describeTopic=${describeTopic}
          oncollab-open=${onOpen}
          oncollab-apply=${onApply}
        ></collab-bell>
        <${Account} ...${{ words, languages, isLive }} user=${connection.user} onMove=${moveToAnotherNode} onLeave=${signOut} />
      `}
    </header>
    ${dashboard
      ? html`<${Desk} key=${topicOf(dashboard)} ...${{ words, language, client, dashboard, describeTopic, onOpen, sent }} topic=${topicOf(dashboard)} />`
      : html`<main class="closed">
          ${comment && !isLost
            ? html`<p class="quiet">${words.say("opening")}</p>`
            : html`<h1>${words.say(isLost ? "link.title" : "closed.title")}</h1>
                <p class="lead">${words.say(isLost ? "link.lead" : "closed.lead")}</p>`}
        </main>`}
  `;
}

function Picker({ words, dashboards, dashboard, onOpen }) {
  const projects = [...new Set(dashboards.map((each) => each.projectName))];
  return html`
    <label class="pick">
      <span class="unseen">${words.say("dashboard")}</span>
      <select value=${dashboard ? topicOf(dashboard) : ""} onChange=${(event) => onOpen(event.target.value)}>
        ${!dashboard && html`<option value="" disabled>${words.say("choose")}</option>`}
        ${projects.map(
          (project) => html`
            <optgroup label=${project}>
              ${dashboards
                .filter((each) => each.projectName === project)
                .map((each) => html`<option value=${topicOf(each)}>${each.name}</option>`)}
            </optgroup>
          `,
        )}
      </select>
    </label>
  `;
}

function Account({ words, languages, user, isLive, onMove, onLeave }) {
  const details = useRef(null);
  useEffect(() => {
    const close = (event) => {
      if (!details.current.open) return;
      const isKey = event.type === "keydown";
      if (isKey ? event.key !== "Escape" : details.current.contains(event.target)) return;
      details.current.open = false;
      if (isKey) details.current.querySelector("summary").focus();
    };
    addEventListener("pointerdown", close);
    addEventListener("keydown", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("keydown", close);
    };
  }, []);
  return html`
    <details class="account" ref=${details}>
      <summary aria-label=${words.say("account", { name: user.name })} title=${user.name}><${Avatar} person=${user} /></summary>
      <div class="menu">
        <p class="me">${user.name}</p>
        ${languages}
        <button type="button" class="plain" disabled=${!isLive} title=${words.say("node.why")} onClick=${onMove}>
          ${words.say("node.other")}
        </button>
        <button type="button" class="plain" onClick=${onLeave}>${words.say("sign.out")}</button>
      </div>
    </details>
  `;
}

render(html`<${App} />`, document.getElementById("app"));
