// The rooms that the comments can be shown without, and how they look: they come when there is nothing else to do, or
// when somebody goes there.

export { NewDiscussion as begin } from "./beginning.js";
export { Discussing as discussions, DiscussionList } from "./discussing.js";
export { Inbox as inbox } from "./inbox.js";
export { Keys } from "./keys.js";
export { Members as members } from "./members.js";
export { Search as search } from "./search.js";

/** @type {string} */
export const STYLE = /* css */ `
.lines > li + li { border-top: 1px solid var(--line); }
.lines h3 { margin: 0; padding: 10px 16px 2px; font-weight: 600; }
.line { display: flex; gap: 10px; width: 100%; padding: 11px 16px; border-radius: 0; text-align: start; }
.line:hover { background: var(--wash); }
.line:focus-visible { outline-offset: -3px; border-radius: var(--radius); }
.line .count { align-self: center; flex: none; }
.line .what { display: grid; flex: 1; gap: 1px; min-width: 0; }
.line .first { display: flex; align-items: baseline; gap: 8px; min-width: 0; }
.line .first time { flex: none; margin-inline-start: auto; }
.line .first .mark { align-self: center; }
.line .cut { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.who-why { min-width: 0; overflow: hidden; text-overflow: ellipsis; }
.who-why .name { white-space: normal; }
.snippet { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; contain: paint; text-align: start; }
.snippet mark { border-radius: 3px; background: var(--warn-wash); color: inherit; font-weight: 600; }
.faces { position: relative; flex: none; width: 36px; height: 36px; }
.faces .avatar:only-child { width: 36px; height: 36px; font-size: 13px; }
.faces .avatar:not(:only-child) { position: absolute; inset-block-start: 0; inset-inline-start: 0; width: 22px; height: 22px; font-size: 9px; }
.faces .avatar + .avatar { inset-block-start: 14px; inset-inline-start: 14px; }
.note { position: relative; }
.note.unread::before { content: ""; position: absolute; inset-inline-start: 5px; top: 22px; width: 6px; height: 6px; border-radius: 50%; background: var(--accent); }
.note.unread .snippet { margin-inline-end: 30px; font-weight: 500; }
.note .read { position: absolute; inset-block-end: 8px; inset-inline-end: 10px; }
.note .line { padding-inline-end: 16px; }
.note.unread .cut { padding-inline-end: 32px; }
.note > .chip { margin: -4px 16px 10px; margin-inline-start: 54px; max-width: calc(100% - 110px); }
.pill.above { position: sticky; top: 8px; bottom: auto; z-index: 1; margin: 8px auto -40px; }
.wide { display: flex; align-items: center; justify-content: center; gap: 8px; width: 100%; margin-top: 8px; min-height: 36px; }
.form { display: grid; grid-template-columns: minmax(0, 1fr); gap: 4px; padding: 8px 16px; }
.panel > form.form { flex: 1; min-height: 0; overflow: auto; align-content: start; }
.form label { margin-top: 8px; font-size: 0.9em; font-weight: 600; }
.form label.check { display: flex; gap: 8px; align-items: center; font-weight: 400; }
.check input { width: 16px; height: 16px; margin: 0; accent-color: var(--accent); }
input[type="text"], input[type="search"], .form textarea { width: 100%; min-height: 36px; padding: 6px 12px; border: 1px solid var(--edge); border-radius: var(--radius); outline: 0; background: var(--sheet); color: inherit; font: inherit; resize: vertical; }
:is(input[type="text"], input[type="search"], .form textarea):focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
input::placeholder, .form textarea::placeholder { color: var(--soft); opacity: 1; }
.form .row { justify-content: end; padding: 8px 0 0; }
.beside { display: flex; gap: 8px; }
.beside button { flex: none; }
.picker { min-width: 0; position: relative; display: flex; flex-wrap: wrap; gap: 4px; padding: 4px; border: 1px solid var(--edge); border-radius: var(--radius); }
.picker:focus-within { outline: 2px solid var(--accent); outline-offset: -2px; }
.form .picker input { flex: 1; min-width: 120px; width: auto; min-height: 26px; padding: 2px 8px; border: 0; outline: 0; }
.wrong { padding: 4px 0; color: var(--bad); font-size: 0.9em; }
.list > .wrong { padding: 8px 16px; }
.composer > .wrong { padding: 0 12px 6px; }
.member { display: flex; align-items: center; gap: 10px; padding: 8px 16px; min-height: 44px; }
.member .quiet { flex: 1; white-space: nowrap; }
.member .popup-box { position: relative; }
.search-room .head { padding-inline-end: 16px; }
.keys { min-height: 96px; overflow: auto; margin: 8px 16px; padding: 12px; border: 1px solid var(--line); border-radius: var(--radius); }
.keys dl { display: grid; gap: 4px; margin-bottom: 10px; }
.keys dl div { display: flex; gap: 10px; }
.keys dt { min-width: 84px; }
kbd { padding: 1px 6px; border: 1px solid var(--line); border-radius: 4px; font: inherit; font-size: 0.86em; }
@media (max-height: 420px) { .keys { flex: none; } }
@media print {
  :host, :host([sheet]) { position: static; height: auto; }
  .house, .rooms, .room, .panel, .list { display: block; height: auto; overflow: visible; }
  :host([sheet]) .house { border: 0; box-shadow: none; }
  .room[inert], .foot, .filters, .actions, .handle, .reply, .text + .link, .toast, .head > :is(button, .popup-box, .present) { display: none; }
  .text.long { max-height: none; mask-image: none; }
  .thread { break-inside: avoid; }
}
`;
