// How it looks. Every colour and measure that a page may want otherwise is a property of it.

import { NARROW } from "./sheet.js";

/** @type {string} */
export const STYLE = /* css */ `
:host {
  --accent: var(--collab-accent, light-dark(#0b6e6e, #5cc4bf));
  --on-accent: var(--collab-on-accent, light-dark(#ffffff, #06292a));
  --wash: var(--collab-wash, light-dark(#e3f0ef, #17393a));
  --sheet: var(--collab-sheet, light-dark(#ffffff, #1d2326));
  --raised: var(--collab-raised, light-dark(#ffffff, #262e32));
  --ink: var(--collab-ink, light-dark(#1d2426, #e8ebea));
  --soft: var(--collab-soft, light-dark(#5c676b, #9fabaf));
  --line: var(--collab-line, light-dark(#e2e0da, #333c40));
  --edge: var(--collab-edge, light-dark(#858f92, #6d797d));
  --bad: var(--collab-danger, light-dark(#a8281f, #ff9c92));
  --bad-wash: var(--collab-danger-wash, light-dark(#fbeceb, #40211f));
  --warn-wash: var(--collab-warning-wash, light-dark(#f8f0d9, #3a3220));
  --warn: var(--collab-warning, light-dark(#6b4e00, #ecd28f));
  --radius: var(--collab-radius, 8px);
  display: block;
  min-width: 0;
  height: 100%;
  color: var(--ink);
  font-family: var(--collab-font, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif);
  font-size: var(--collab-font-size, 14px);
  line-height: 1.43;
  text-align: start;
  overflow-wrap: anywhere;
}
:host([hidden]) { display: none; }
*, *::before, *::after { box-sizing: border-box; }
h2, p, ol, ul, dl, dd { margin: 0; padding: 0; }
ol, ul { list-style: none; }
button, textarea { font: inherit; color: inherit; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

.house, .panel { display: flex; flex-direction: column; height: 100%; min-height: 0; background: var(--sheet); }
.rooms { position: relative; display: grid; flex: 1; min-height: 0; }
.room { grid-area: 1 / 1; min-width: 0; min-height: 0; height: 100%; overflow: hidden; }
.room[inert] { visibility: hidden; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.quiet { color: var(--soft); font-size: 0.86em; line-height: 1.35; }
.name { font-weight: 600; }
.name, .who > span, .chip > :is(bdi, span:not(.unseen)), .fold .by, .fold .says, .typing, .in-place bdi { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }

button { cursor: pointer; border: 1px solid transparent; border-radius: 6px; background: none; padding: 4px 12px; min-height: 30px; }
button[aria-disabled="true"] { cursor: default; }
.send { background: var(--accent); color: var(--on-accent); font-weight: 600; }
.plain { border-color: var(--line); }
.plain:hover { background: var(--wash); }
.send[aria-disabled="true"], .plain[aria-disabled="true"] { background: none; border-color: var(--line); color: var(--soft); font-weight: 500; }
.link { min-height: 24px; padding: 0 2px; margin-inline-start: -2px; color: var(--accent); font-size: 0.9em; font-weight: 500; }
.link:hover { text-decoration: underline; }
.bare { display: inline-grid; place-items: center; width: 28px; height: 28px; min-height: 0; padding: 0; color: var(--soft); }
.bare:hover, .bare[aria-expanded="true"] { background: var(--wash); color: var(--ink); }
:is(.count, .chip strong, .link, .send, .plain, .fold span, time, kbd) { overflow-wrap: normal; }
.icon { width: 16px; height: 16px; flex: none; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
.icon-more { stroke-width: 3; }
:is(.mark, .who, .chip, .in-place) .icon { width: 13px; height: 13px; }

.head { display: flex; align-items: center; gap: 4px; min-height: 44px; padding-block: 8px 2px; padding-inline: 16px 10px; }
.head:has(> .back) { padding-inline-start: 10px; }
.head h2 { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; flex: 1; min-width: 0; overflow: hidden; font-size: 1.08em; font-weight: 600; line-height: 1.25; text-align: start; }
.head .present { margin-inline: 4px; }
.head .bell { position: relative; }
.bell .count { position: absolute; inset-block-start: -6px; inset-inline: 7px -8px; width: fit-content; min-width: 15px; margin: 0 auto; padding: 0 4px; font-size: 10px; line-height: 15px; box-shadow: 0 0 0 2px var(--sheet); }
.back:dir(rtl) .icon { transform: scaleX(-1); }
.mark { display: inline-grid; color: var(--soft); }
.who { display: flex; align-items: center; gap: 6px; align-self: flex-start; max-width: 100%; margin: -4px 0 2px; padding-inline: 46px 16px; color: var(--soft); }
::slotted([slot="header"]) { flex: 1; }
.present { display: flex; align-items: center; gap: 2px; }
.present.unsure { visibility: hidden; }
.present .avatar { width: 23px; height: 23px; font-size: 10px; position: relative; overflow: visible; }
.avatar.writes::after { content: ""; position: absolute; inset-inline: 0; bottom: -5px; margin: auto; width: 6px; height: 6px; border-radius: 50%; background: var(--accent); }
.avatar { display: inline-grid; place-items: center; flex: none; width: 28px; height: 28px; border-radius: 50%; overflow: clip; font-size: 11px; font-weight: 600; letter-spacing: 0.02em; white-space: nowrap; color: #ffffff; user-select: none; }
.hue0 { background: #8a4b32; } .hue1 { background: #6b5a1e; } .hue2 { background: #3f6b35; } .hue3 { background: #1f6a63; }
.hue4 { background: #2f5f8f; } .hue5 { background: #54529b; } .hue6 { background: #7c4a8c; } .hue7 { background: #96456a; }

.notice { display: flex; gap: 8px; align-items: center; justify-content: space-between; padding: 6px 16px; background: var(--warn-wash); color: var(--warn); font-size: 0.9em; }
.notice:empty { padding: 0; }
.notice .link { color: inherit; text-decoration: underline; white-space: nowrap; }
.filters { display: flex; flex: none; flex-wrap: wrap; padding: 0 12px; border-bottom: 1px solid var(--line); }
.tab { position: relative; flex: none; padding: 6px 4px; min-height: 34px; color: var(--soft); font-size: 0.86em; white-space: nowrap; border-radius: 6px 6px 0 0; }
.tab:hover { color: var(--ink); }
.tab:focus-visible { outline-offset: -2px; }
.tab[aria-pressed="true"] { color: var(--ink); font-weight: 600; }
.tab[aria-pressed="true"]::after { content: ""; position: absolute; inset-inline: 4px; bottom: -1px; height: 2px; background: var(--accent); }
.count { display: inline-block; margin-inline-start: 4px; padding: 0 6px; border-radius: 999px; background: var(--accent); color: var(--on-accent); font-size: 0.85em; font-weight: 600; white-space: nowrap; }

.list { flex: 1; min-height: 0; overflow: auto; overflow-anchor: none; overscroll-behavior: contain; scrollbar-width: thin; position: relative; }
.threads > li + li { border-top: 1px solid var(--line); }
.thread { position: relative; padding: 14px 16px 10px; }
.thread:focus-visible { outline-offset: -2px; border-radius: var(--radius); }
.thread.unread::before { content: ""; position: absolute; inset-inline-start: 5px; top: 24px; width: 6px; height: 6px; border-radius: 50%; background: var(--accent); z-index: 1; }
.new-line { display: flex; align-items: center; gap: 8px; padding: 4px 16px 0; color: var(--accent); font-size: 0.8em; font-weight: 600; }
.replies .new-line { padding: 4px 0; }
.new-line::before, .new-line::after { content: ""; flex: 1; height: 1px; background: currentColor; opacity: 0.5; }
.comment { position: relative; display: flex; gap: 10px; border-radius: var(--radius); }
.comment.shown { background: var(--wash); box-shadow: 0 0 0 6px var(--wash); }
.body { flex: 1; min-width: 0; }
.comment header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 6px; min-height: 20px; padding-inline-end: 4px; }
.comment header .quiet { flex: none; }
.replies { display: grid; grid-template-columns: minmax(0, 1fr); gap: 12px; padding-inline-start: 38px; margin-top: 12px; }
.replies .avatar { width: 24px; height: 24px; font-size: 10px; }
.text { white-space: pre-wrap; overflow: clip; contain: paint; text-align: start; }
.text.long { max-height: 12em; mask-image: linear-gradient(#000 75%, transparent); }
.text a { color: var(--accent); }
.formed { white-space: normal; }
.formed p { white-space: pre-wrap; }
.formed :is(pre, blockquote) { margin: 0; }
.formed > :is(p, ul, ol, pre, blockquote) + * { margin-block-start: 0.5em; }
.formed :is(ul, ol) { padding-inline-start: 1.5em; }
.formed ul { list-style: disc; }
.formed ol { list-style: decimal; }
.formed blockquote { border-inline-start: 3px solid var(--line); padding-inline-start: 10px; color: var(--soft); }
.formed code { padding: 0.1em 0.3em; border-radius: 4px; background: var(--wash); font: 0.92em ui-monospace, monospace; unicode-bidi: isolate; }
.formed pre { max-height: 24em; overflow: auto; padding: 8px 10px; border-radius: 6px; background: var(--wash); white-space: pre; text-align: left; }
.formed pre code { padding: 0; background: none; }
.mention { color: var(--accent); font-weight: 500; }
.mention.mine { background: var(--wash); border-radius: 4px; padding: 0 3px; font-weight: 600; }
.waiting > .body > .text, .sending > .body > .text { opacity: 0.7; }
.refused:not(.comment) { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; margin-top: 6px; padding: 6px 10px; border-radius: 6px; background: var(--bad-wash); color: var(--bad); font-size: 0.9em; }
.refused .refused .link { color: inherit; text-decoration: underline; }
.refused .refused :is(p, .yours) { flex-basis: 100%; }
.yours { padding: 6px 8px; border-radius: 4px; background: var(--sheet); color: var(--ink); }
.gone { padding: 5px 0; font-style: italic; }
.gone .link { font-style: normal; margin-inline-start: 6px; }
.chips, .reactions { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 6px; }
.chip { display: inline-flex; align-items: center; gap: 6px; max-width: 100%; min-height: 26px; padding: 2px 10px; border: 1px solid var(--line); border-radius: 999px; font-size: 0.86em; text-align: start; }
.chip strong { color: var(--accent); font-weight: 600; }
.chip .icon { color: var(--soft); }
button.chip:hover, .chip[aria-pressed="true"] { background: var(--wash); border-color: var(--accent); }
.reaction { min-height: 26px; padding: 0 8px; border: 1px solid var(--line); border-radius: 999px; font-size: 0.86em; }
.reaction[aria-pressed="true"] { background: var(--wash); border-color: var(--accent); }
.reply, .earlier { margin-top: 6px; margin-inline-start: 36px; }
.earlier-all { display: block; margin: 8px auto; }

.actions { position: absolute; inset-block-start: -10px; inset-inline-end: -4px; display: flex; padding: 1px; border: 1px solid var(--line); border-radius: var(--radius); background: var(--raised); opacity: 0; }
.comment:hover > .body > .actions, .actions:focus-within { opacity: 1; z-index: 2; }
@media (hover: none) {
  .actions { opacity: 1; border-color: transparent; background: none; }
  .comment header { padding-inline-end: 92px; }
}
.popup-box { display: flex; }
.head .popup-box { position: relative; }
.popup { position: absolute; inset-block-start: 100%; inset-inline-end: 0; margin-top: 4px; padding: 4px; border: 1px solid var(--line); border-radius: var(--radius); background: var(--raised); box-shadow: 0 6px 20px rgb(0 0 0 / 16%); z-index: 3; }
.emojis { display: grid; grid-template-columns: repeat(4, auto); gap: 2px; }
.emojis button { width: 34px; height: 34px; font-size: 18px; color: inherit; }
.menu { display: grid; min-width: 140px; }
.menu button { text-align: start; white-space: nowrap; border-radius: 5px; }
.menu button:hover, .menu button:focus-visible { background: var(--wash); }
.menu .delete, .menu .leave { color: var(--bad); }

.resolved-by { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin-bottom: 8px; }
.thread:has(> .fold) { padding: 6px 16px; }
.fold { display: grid; grid-template-columns: auto minmax(0, max-content) 1fr; align-items: center; gap: 2px 6px; width: 100%; padding: 4px 0; color: var(--soft); font-size: 0.9em; text-align: start; }
.fold:hover { color: var(--ink); }
.fold .says { grid-column: 2 / -1; }

.empty { display: grid; place-content: center; justify-items: center; gap: 4px; min-height: 60%; padding: 32px 24px; text-align: center; }
.closed { display: grid; align-content: center; justify-items: center; gap: 10px; height: 100%; padding: 32px 24px; text-align: center; }
.closed h2 { font-size: 1.15em; font-weight: 600; }

.foot { position: relative; border-top: 1px solid var(--line); padding: 4px 12px 12px; }
.typing { min-height: 18px; padding: 0 4px; }
.may-not { padding: 8px 4px 4px; }
.pill { position: absolute; inset-inline: 0; bottom: 100%; display: flex; align-items: center; gap: 4px; width: fit-content; min-height: 32px; margin: 0 auto 8px; padding: 4px 12px; border-color: var(--line); border-radius: 999px; background: var(--raised); box-shadow: 0 4px 14px rgb(0 0 0 / 14%); font-size: 0.9em; font-weight: 600; }
.pill.fresh { border-color: transparent; background: var(--accent); color: var(--on-accent); }
.composer { position: relative; border: 1px solid var(--edge); border-radius: var(--radius); background: var(--sheet); }
.composer:focus-within { outline: 2px solid var(--accent); outline-offset: -2px; }
.thread .composer { margin-top: 8px; }
.thread > .composer { margin-inline-start: 38px; }
.composer textarea { display: block; width: 100%; min-height: 38px; max-height: 180px; padding: 9px 12px; border: 0; outline: 0; background: none; resize: none; field-sizing: content; overflow: auto; }
.composer > .text { padding: 0 12px 6px; }
.composer textarea::placeholder { color: var(--soft); opacity: 1; }
:placeholder-shown { direction: inherit; }
.forms { display: flex; }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; padding: 0 6px 6px; }
.row .chips { flex: 1 0 100%; min-width: 0; margin: 0; }
.row .end { display: flex; flex-wrap: wrap; justify-content: end; gap: 6px; margin-inline-start: auto; }
.foot .composer:not(.open) .row { display: none; }
.people { position: absolute; inset-inline: -1px; bottom: calc(100% + 4px); overflow: auto; padding: 4px; border: 1px solid var(--line); border-radius: var(--radius); background: var(--raised); box-shadow: 0 -4px 20px rgb(0 0 0 / 14%); z-index: 4; }
.people li { display: flex; align-items: center; gap: 8px; padding: 5px 8px; border-radius: 6px; cursor: pointer; }
.people li[aria-selected="true"] { background: var(--wash); }
.people .name { white-space: normal; }
.people .quiet { margin-inline-start: auto; white-space: nowrap; }
.people.below { bottom: auto; top: calc(100% + 4px); }
.people .none { padding: 6px 8px; }
.toast { position: absolute; inset-inline: 12px; bottom: 92px; z-index: 1; display: flex; align-items: center; justify-content: space-between; gap: 12px; padding: 10px 14px; border-radius: var(--radius); background: var(--ink); color: var(--sheet); box-shadow: 0 6px 20px rgb(0 0 0 / 20%); }
.toast .link { color: inherit; text-decoration: underline; }
.in-place { display: flex; align-items: center; gap: 6px; padding: 6px 16px; border-bottom: 1px solid var(--line); background: var(--wash); font-size: 0.9em; }
.in-place bdi { flex: 1; }
.handle { display: none; }
@media ${NARROW} {
  :host([sheet]) { position: fixed; inset-inline: 0; bottom: 0; z-index: var(--collab-sheet-layer, 10); width: auto; height: 56dvh; }
  :host([sheet="low"]) { height: 64px; }
  :host([sheet="full"]) { height: calc(100dvh - 48px); }
  :host([sheet]) .house { border: 1px solid var(--line); border-bottom: 0; border-radius: 16px 16px 0 0; overflow: hidden; box-shadow: 0 -6px 24px rgb(0 0 0 / 18%); }
  :host([sheet="low"]) .panel > :not(.head, .unseen) { display: none; }
  :host([sheet="low"]) .toast { bottom: 4px; }
  :host([sheet]) .head { padding-top: 0; }
  .handle { display: block; flex: none; width: 100%; min-height: 24px; padding: 0; border-radius: 0; touch-action: none; }
  .handle::before { content: ""; display: block; width: 40px; height: 4px; margin: auto; border-radius: 2px; background: var(--edge); }
  .handle:focus-visible { outline-offset: -2px; border-radius: 16px 16px 0 0; }
}

@media (prefers-reduced-motion: no-preference) {
  :host([sheet]) { transition: height 160ms ease-out; }
  .actions { transition: opacity 120ms; }
  .comment.shown { transition: background 160ms, box-shadow 160ms; }
}
@media (max-height: 420px) {
  .panel { overflow: auto; overscroll-behavior: contain; }
  .list { flex: 1 0 auto; min-height: 96px; max-height: 100%; overscroll-behavior: auto; }
}
@media (forced-colors: active) {
  .avatar, .composer, .pill, .popup { border: 1px solid; }
  .people li[aria-selected="true"], :is(.tab, .chip, .reaction)[aria-pressed="true"] { forced-color-adjust: none; background: Highlight; color: HighlightText; }
  :is([aria-pressed="true"], [aria-selected="true"]) :is(.icon, strong, .quiet) { color: inherit; }
  .send[aria-disabled="true"], .plain[aria-disabled="true"] { color: GrayText; }
  :is(.thread, .note).unread::before, .avatar.writes::after { forced-color-adjust: none; background: Highlight; }
  .new-line::before, .new-line::after { background: CanvasText; }
  .comment.shown { outline: 2px solid Highlight; }
}
`;
