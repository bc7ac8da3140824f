export { attach } from "./attach.js";
export { filtersInWords } from "./filters.js";
export type Applied = import("./attach.js").Applied;
export type Attached = import("./attach.js").Attached;
export type AttachedState = import("./attach.js").AttachedState;
export type AttachOptions = import("./attach.js").AttachOptions;
export type Panel = import("./attach.js").Panel;
export type Dossier = import("./filters.js").Dossier;
export type SavedFilter = import("./filters.js").SavedFilter;
/** @typedef {import("./attach.js").Applied} Applied */
/** @typedef {import("./attach.js").Attached} Attached */
/** @typedef {import("./attach.js").AttachedState} AttachedState */
/** @typedef {import("./attach.js").AttachOptions} AttachOptions */
/** @typedef {import("./attach.js").Panel} Panel */
/** @typedef {import("./filters.js").Dossier} Dossier */
/** @typedef {import("./filters.js").SavedFilter} SavedFilter */
