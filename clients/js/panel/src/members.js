// Who is in a discussion; its owner names it, and says who is in it.

import { NameField } from "./beginning.js";
import { change } from "./changing.js";
import { Head } from "./head.js";
import { Avatar, inSentence, useStore } from "./parts.js";
import { Picker } from "./picker.js";
import { Popup } from "./popup.js";
import { html, useMemo, useState } from "./preact.js";

/** Names that another one stood in the way of, also before a reload. @param {any} client @param {any} topic @returns {any[]} */
const refusedNames = (client, topic) =>
  client.outbox.snapshot().filter((/** @type {any} */ { state, problem, topic: where }) => state === "refused" && problem.discussion && where === topic.name);

/** @param {any} props */
export function Members({ client, words, name: topicName, rooms }) {
  const topic = useMemo(() => client.topic(topicName), [client, topicName]);
  const { discussion, state } = useStore(topic);
  // The name as it is edited, and of which one.
  const [kept, setEdited] = useState(/** @returns {{name: string, of: string} | null} */ () => {
    const { payload, problem } = refusedNames(client, topic)[0] ?? {};
    return payload ? { name: payload.name, of: problem.discussion.name } : null;
  });
  const [isOther, setOther] = useState(kept !== null); // it was renamed elsewhere meanwhile
  const [people, setPeople] = useState(/** @type {any[]} */ ([]));
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const [said, setSaid] = useState("");
  const title = words.say("members");
  if (!discussion || state === "closed") {
    return html`
      <section class="panel" part="panel" aria-label=${title}>
        <${Head} words=${words} rooms=${rooms} title=${title} />
        <div class="closed" role="alert">
          <h2>${words.say("closed.discussion")}</h2>
          <p class="quiet">${words.say("closed.discussion.why")}</p>
        </div>
      </section>
    `;
  }
  const { id: discussionId, owner, members } = discussion;
  const edited = kept?.name === kept?.of ? null : kept;
  const isChanged = edited !== null && edited.of !== discussion.name;
  const name = edited?.name ?? discussion.name;
  const ask = async (/** @type {string} */ what, /** @type {any} */ more, /** @type {string} */ done) => {
    setProblem(null);
    try {
      await change(client, `discussion.${what}`, { discussionId, ...more }, topic.name);
      setSaid(done);
      return null;
    } catch (refused) {
      setProblem({ what, refused });
      return refused;
    }
  };
  const forget = () => {
    refusedNames(client, topic).forEach(({ key }) => client.outbox.discard(key));
    setEdited(null);
    setOther(false);
  };
  const rename = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!edited || !name.trim() || name.trim() === discussion.name) return;
    let stands = discussion.name;
    if (edited.of === stands) {
      /** @type {any} */ const refused = await ask("rename", { name: name.trim(), ofName: stands }, words.say("said.rename"));
      if (!refused) forget();
      if (!refused?.discussion) return;
      stands = refused.discussion.name;
    }
    // Whoever has read that may replace it.
    setProblem(null);
    setOther(true);
    setEdited({ name, of: stands });
  };
  const invite = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const invited = people.map((/** @type {any} */ { kind, id }) => ({ kind, id }));
    if (invited.length && !(await ask("invite", { members: invited }, words.say("said.invite")))) setPeople([]);
  };
  const wrong = (/** @type {string} */ what) =>
    problem?.what === what && html`<p class="wrong" role="alert">${inSentence(words, problem.refused)}</p>`;
  return html`
    <section class="panel" part="panel" aria-label=${title}>
      <${Head} words=${words} rooms=${rooms} title=${title} />
      <div class="list">
        ${topic.may("discussion.rename") &&
        html`<form class="form" onSubmit=${rename}>
          <label for="member-name">${words.say("discussion.name")}</label>
          <div class="beside">
            <${NameField} id="member-name" value=${name} onChange=${(/** @type {string} */ value) => setEdited({ name: value, of: edited?.of ?? discussion.name })} />
            <button type="submit" class="plain" aria-disabled=${!name.trim() || name.trim() === discussion.name}>${words.say("save")}</button>
          </div>
          ${wrong("rename")}
          ${(isOther || isChanged) &&
          html`<p class="wrong" role="alert">${words.say(isChanged ? "edit.changed" : "edit.other")}</p>
            <p><bdi>${discussion.name}</bdi> <button type="button" class="link" onClick=${forget}>${words.say("discard")}</button></p>`}
        </form>`}
        ${topic.may("discussion.invite") &&
        html`<form class="form" onSubmit=${invite}>
          <label for="member-people">${words.say("discussion.invite")}</label>
          <${Picker}
            client=${client}
            words=${words}
            id="member-people"
            chosen=${people}
            onChange=${setPeople}
            known=${members.map((/** @type {any} */ { id }) => id)}
          />
          ${people.length > 0 && html`<p class="quiet">${words.say("discussion.sees")}</p>
          <div class="row"><button type="submit" class="send">${words.say("invite")}</button></div>`}
          ${wrong("invite")}
        </form>`}
        ${wrong("remove")} ${wrong("transfer")}
        <ul class="lines members">
          ${members.map((/** @type {any} */ person) => {
            const isMe = person.id === client.me?.id;
            const isOwner = person.id === owner.id;
            return html`<li key=${person.id} class="member">
              <${Avatar} person=${person} />
              <bdi class="name" title=${person.name}>${person.name}</bdi>
              <span class="quiet">${isOwner ? words.say("owner") : ""}${isMe ? ` (${words.say("you")})` : ""}</span>
              ${!isMe &&
              topic.may("discussion.remove") &&
              html`<${Popup}
                icon="more"
                label=${words.say("member.options", { name: person.name })}
                items=${[
                  topic.may("discussion.transfer") && {
                    key: "transfer",
                    label: words.say("member.owner"),
                    act: () => ask("transfer", { userId: person.id }, words.say("said.transfer", { name: person.name })),
                  },
                  {
                    key: "delete",
                    label: words.say("member.remove"),
                    act: () => ask("remove", { userId: person.id }, words.say("said.removed", { name: person.name })),
                  },
                ]}
              />`}
            </li>`;
          })}
        </ul>
      </div>
      <p class="unseen" role="status">${said}</p>
    </section>
  `;
}
