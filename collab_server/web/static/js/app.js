// The page: who is signed in, which dashboard is open, and how the connection is.
//
// What a reload needs (resumeToken, the list of dashboards) is kept in this window's sessionStorage, so that two
// windows can be two people. The open dashboard is in the address: #content:{projectId}:{objectId}.

import { html, render, useEffect, useReducer, useState } from "../vendor/htm-preact-standalone.js";
import { Avatar, Comments } from "./comments.js";
import { Connection, forgetNode } from "./connection.js";
import { Conversation } from "./conversation.js";
import { Dashboard, filtersOf, NO_FILTERS, viewStateOf } from "./dashboard.js";
import { people, signIn } from "./library.js";

const KEPT = "collaboration";

const kept = {
  read: () => JSON.parse(sessionStorage.getItem(KEPT) ?? "null"),
  write: (session) => sessionStorage.setItem(KEPT, JSON.stringify(session)),
  forget: () => sessionStorage.removeItem(KEPT),
};

const topicOf = ({ projectId, id }) => `content:${projectId}:${id}`;
const isSame = (one, other) => one.toLowerCase() === other.toLowerCase(); // ids are spelled in either case

function App() {
  const [session, setSession] = useState(kept.read); // {identityToken | resumeToken, dashboards}
  const [notice, setNotice] = useState("");
  const leave = (reason = "") => {
    kept.forget();
    setNotice(reason);
    setSession(null);
  };
  if (!session) return html`<${SignIn} notice=${notice} onSignedIn=${setSession} />`;
  return html`<${Workplace} session=${session} onLeave=${leave} />`;
}

function SignIn({ notice, onSignedIn }) {
  const [known, setKnown] = useState([]);
  const [problem, setProblem] = useState(notice);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    people().then(setKnown);
  }, []);
  const enter = async (username, password) => {
    setBusy(true);
    setProblem("");
    try {
      const session = await signIn(username, password);
      forgetNode(); // so that the next window may meet another node
      onSignedIn(session);
    } catch (error) {
      setProblem(error.message);
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
      <p class="eyebrow">Collaboration server</p>
      <h1>Who are you?</h1>
      <p class="lead">Open this page in two windows, be somebody else in each, and talk about the same dashboard.</p>
      ${known.length > 0 &&
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
                  <span>${person.fullName}</span>
                </button>
              </li>
            `,
          )}
        </ul>
      `}
      <details open=${known.length === 0}>
        <summary>Sign in with name and password</summary>
        <form onSubmit=${submit}>
          <label><span>Name</span><input name="username" autocomplete="username" required /></label>
          <label>
            <span>Password</span>
            <input name="password" type="password" autocomplete="current-password" />
          </label>
          <button type="submit" disabled=${isBusy}>Sign in</button>
        </form>
      </details>
      <p class="problem" role="alert">${problem}</p>
    </main>
  `;
}

/** A component's copy of something that changes by itself and says so with "change" events. */
function useChanges(source) {
  const [, redraw] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    if (!source) return undefined;
    source.addEventListener("change", redraw);
    redraw();
    return () => source.removeEventListener("change", redraw);
  }, [source]);
}

function Workplace({ session, onLeave }) {
  const { dashboards } = session;
  const [connection, setConnection] = useState(null);
  const [topic, setTopic] = useState(location.hash.slice(1));
  useEffect(() => {
    const mine = new Connection(session);
    mine.addEventListener("hello", () => kept.write({ dashboards, resumeToken: mine.resumeToken }));
    setConnection(mine);
    const onHash = () => setTopic(location.hash.slice(1));
    addEventListener("hashchange", onHash);
    return () => {
      removeEventListener("hashchange", onHash);
      mine.close();
    };
  }, []);
  useChanges(connection);
  useEffect(() => {
    if (connection?.state === "signed_out") onLeave(`You have been signed out. ${connection.reason}`);
  }, [connection?.state]);

  // Where the address names one it is that one or none, never another in its place.
  const dashboard = topic ? dashboards.find((one) => isSame(topicOf(one), topic)) : dashboards[0];
  if (!connection) return null;
  return html`
    <${Bar} connection=${connection} onLeave=${() => connection.signOut().then(() => onLeave())}>
      <label class="pick">
        <span class="unseen">Dashboard</span>
        <select value=${dashboard ? topicOf(dashboard) : ""} onChange=${(event) => (location.hash = event.target.value)}>
          ${!dashboard && html`<option value="" disabled>Choose a dashboard</option>`}
          ${[...new Set(dashboards.map((one) => one.projectName))].map(
            (project) => html`
              <optgroup label=${project}>
                ${dashboards
                  .filter((one) => one.projectName === project)
                  .map((one) => html`<option value=${topicOf(one)}>${one.name}</option>`)}
              </optgroup>
            `,
          )}
        </select>
      </label>
    <//>
    ${!connection.user && html`<p class="notice quiet">${connection.reason || "Connecting …"}</p>`}
    ${connection.user &&
    (dashboard
      ? html`<${Desk} key=${topicOf(dashboard)} connection=${connection} dashboard=${dashboard} />`
      : html`<main class="notice"><h1>You may not open this dashboard, or there is none.</h1></main>`)}
  `;
}

const STATES = { connecting: "Connecting …", connected: "Live", away: "Reconnecting …", signed_out: "Signed out" };

function Bar({ connection, onLeave, children }) {
  const { user, node, state, transport, serving } = connection;
  return html`
    <header class="bar">
      ${children}
      <p class="state ${state}" role="status">
        <span class="dot" aria-hidden="true"></span>
        <span>${STATES[state]}</span>
        ${node && state === "connected" && html`<span class="node" title=${transport}>on ${node}</span>`}
      </p>
      <button
        type="button"
        class="small plain"
        disabled=${state !== "connected"}
        title="Drop the connection and come back, on the node the load balancer chooses next"
        onClick=${() => connection.moveToAnotherNode()}
      >
        Another node
      </button>
      <span class="spring"></span>
      ${user && html`<span class="me"><${Avatar} person=${user} /><span>${user.name}</span></span>`}
      <button type="button" class="small plain" onClick=${onLeave}>Sign out</button>
    </header>
    ${serving &&
    html`
      <p class="banner" role="alert">
        The node is ${serving.state}${serving.reason && `: ${serving.reason}`}.
        ${serving.serving?.writes === false && " Comments cannot be stored until it is back."}
      </p>
    `}
  `;
}

function Desk({ connection, dashboard }) {
  const [conversation, setConversation] = useState(null);
  const [chosen, setChosen] = useState(NO_FILTERS);
  useEffect(() => {
    const mine = new Conversation(connection, topicOf(dashboard));
    const onHello = () => mine.follow();
    const onEvent = ({ detail }) => mine.apply(detail);
    const onClosed = ({ detail }) => detail.topic === mine.topic && mine.close(detail.reason);
    connection.addEventListener("hello", onHello);
    connection.addEventListener("event", onEvent);
    connection.addEventListener("closed", onClosed);
    mine.follow();
    setConversation(mine);
    document.title = `${dashboard.name} · Collaboration`;
    return () => {
      connection.removeEventListener("hello", onHello);
      connection.removeEventListener("event", onEvent);
      connection.removeEventListener("closed", onClosed);
      mine.leave();
    };
  }, []);
  useChanges(conversation);

  const act = async (name, payload) => {
    try {
      const { comment } = await connection.change(name, payload);
      if (comment) conversation.put(comment);
      return null;
    } catch (refused) {
      return refused.message;
    }
  };
  return html`
    <main class="desk">
      <${Dashboard} dashboard=${dashboard} chosen=${chosen} onChoose=${setChosen} />
      <section class="panel" aria-labelledby="comments-title">
        <header>
          <h2 id="comments-title">Comments</h2>
          <span class="quiet" role="status">
            ${conversation?.missed > 0 &&
            `Caught up: ${conversation.missed} ${conversation.missed === 1 ? "change" : "changes"} while away`}
          </span>
        </header>
        ${conversation &&
        html`
          <${Comments}
            conversation=${conversation}
            me=${connection.user}
            chosen=${viewStateOf(chosen)}
            act=${act}
            onApply=${(viewState) => setChosen(filtersOf(viewState))}
          />
        `}
      </section>
    </main>
  `;
}

render(html`<${App} />`, document.getElementById("app"));
