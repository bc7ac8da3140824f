// The comments of a conversation as people see them. Texts go into the page as text nodes, never as markup.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact-standalone.js";
import { filtersInWords, hueOf, pieces, shortTime } from "./words.js";

/**
 * `act(name, payload)` sends a command and resolves to an error message, or to null when it was done.
 * `chosen` is the view state of the filters as they are now, or null.
 */
export function Comments({ conversation, me, chosen, act, onApply }) {
  const { threads, isLoading, problem, closed } = conversation;
  if (closed) return html`<p class="notice" role="alert">This conversation has been closed for you: ${closed}.</p>`;
  if (isLoading) return html`<p class="quiet">Loading comments …</p>`;
  return html`
    ${problem && html`<p class="problem" role="alert">${problem.message}</p>`}
    <ol class="threads" role="log" aria-label="Comments">
      ${threads.length === 0 && !problem && html`<li class="quiet">Nobody has said anything yet. Be the first.</li>`}
      ${threads.map(
        ({ root, replies }) => html`
          <li class="thread" key=${root.id}>
            <${Comment} ...${{ comment: root, me, conversation, act, onApply }} />
            <ol class="replies">
              ${replies.map(
                (reply) => html`
                  <li key=${reply.id}><${Comment} ...${{ comment: reply, me, conversation, act, onApply }} /></li>
                `,
              )}
            </ol>
            ${conversation.may("comment.add") &&
            html`<${Reply} ...${{ root, topic: conversation.topic, chosen, act }} />`}
          </li>
        `,
      )}
    </ol>
    ${conversation.may("comment.add") &&
    html`
      <${Composer}
        label="Add a comment"
        send="Comment"
        chosen=${chosen}
        onSend=${(text, viewState) =>
          act("comment.add", { topic: conversation.topic, text, ...(viewState && { viewState }) })}
      />
    `}
  `;
}

function Comment({ comment, me, conversation, act, onApply }) {
  const [isEditing, setEditing] = useState(false);
  const [problem, setProblem] = useState(null);
  const { author } = comment;
  const isMine = author.id === me.id;
  if (comment.deletedAt) {
    return html`<article class="comment gone"><p class="quiet">${author.name} deleted this comment.</p></article>`;
  }
  const remove = async () => {
    if (confirm("Delete this comment?")) setProblem(await act("comment.delete", { commentId: comment.id }));
  };
  const words = comment.viewState && (filtersInWords(comment.viewState) ?? "a view");
  return html`
    <article class="comment" aria-label=${`Comment by ${author.name}`}>
      <${Avatar} person=${author} />
      <div class="said">
        <header>
          <strong>${author.name}</strong>
          <time datetime=${comment.createdAt} title=${new Date(comment.createdAt).toLocaleString()}>
            ${shortTime(comment.createdAt)}
          </time>
          ${comment.editedAt &&
          html`<span class="quiet" title=${new Date(comment.editedAt).toLocaleString()}>edited</span>`}
        </header>
        ${isEditing
          ? html`
              <${Composer}
                label="Edit your comment"
                send="Save"
                text=${comment.text}
                onCancel=${() => setEditing(false)}
                onSend=${async (text) => {
                  const refused = await act("comment.edit", { commentId: comment.id, text });
                  if (!refused) setEditing(false);
                  return refused;
                }}
              />
            `
          : html`<p class="text">
              ${pieces(comment.text, comment.mentions).map(({ text, mention }) =>
                mention === undefined ? text : html`<span class="mention">@${mention}</span>`,
              )}
            </p>`}
        ${words &&
        html`
          <p class="view">
            <span>${words}</span>
            <button type="button" class="small" onClick=${() => onApply(comment.viewState)}>
              Apply<span class="unseen"> the filters of ${author.name}</span>
            </button>
          </p>
        `}
        ${isMine &&
        !isEditing &&
        html`
          <p class="tools">
            ${conversation.may("comment.edit") &&
            html`<button type="button" class="link" onClick=${() => setEditing(true)}>Edit</button>`}
            ${conversation.may("comment.delete") &&
            html`<button type="button" class="link" onClick=${remove}>Delete</button>`}
          </p>
        `}
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      </div>
    </article>
  `;
}

function Reply({ root, topic, chosen, act }) {
  const [isOpen, setOpen] = useState(false);
  if (!isOpen) {
    return html`<button type="button" class="link reply" onClick=${() => setOpen(true)}>Reply</button>`;
  }
  return html`
    <${Composer}
      label=${`Reply to ${root.author.name}`}
      send="Reply"
      chosen=${chosen}
      hasFocus
      onCancel=${() => setOpen(false)}
      onSend=${async (text, viewState) => {
        const refused = await act("comment.add", { topic, text, replyTo: root.id, ...(viewState && { viewState }) });
        if (!refused) setOpen(false);
        return refused;
      }}
    />
  `;
}

function Composer({ label, send, text: given = "", chosen, hasFocus, onSend, onCancel }) {
  const [text, setText] = useState(given);
  const [isAttached, setAttached] = useState(false);
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState(null);
  const field = useRef(null);
  useEffect(() => {
    if (hasFocus || given) field.current.focus();
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    if (!text.trim() || isSending) return;
    setSending(true);
    const refused = await onSend(text, isAttached ? chosen : null);
    setSending(false);
    setProblem(refused);
    if (!refused) {
      setText("");
      setAttached(false);
    }
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
    if (event.key === "Escape" && onCancel) onCancel();
  };
  return html`
    <form class="composer" onSubmit=${submit}>
      <label>
        <span class="unseen">${label}</span>
        <textarea
          ref=${field}
          rows="2"
          maxlength="10000"
          placeholder=${label}
          value=${text}
          onInput=${(event) => setText(event.target.value)}
          onKeyDown=${onKeyDown}
        ></textarea>
      </label>
      <div class="row">
        ${chosen &&
        html`
          <label class="attach">
            <input type="checkbox" checked=${isAttached} onChange=${(event) => setAttached(event.target.checked)} />
            <span>Attach ${filtersInWords(chosen)}</span>
          </label>
        `}
        <span class="spring"></span>
        ${onCancel && html`<button type="button" class="plain" onClick=${onCancel}>Cancel</button>`}
        <button type="submit" disabled=${!text.trim() || isSending}>${isSending ? "Sending …" : send}</button>
      </div>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    </form>
  `;
}

export function Avatar({ person }) {
  return html`<span class="avatar" style=${{ "--hue": hueOf(person.id) }} aria-hidden="true">${person.initials}</span>`;
}
