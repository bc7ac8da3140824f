export { attach } from "./attach.js";
export { filtersInWords } from "./filters.js";

/** @typedef {import("./attach.js").Applied} Applied */
/** @typedef {import("./attach.js").Attached} Attached */
/** @typedef {import("./attach.js").AttachedState} AttachedState */
/** @typedef {import("./attach.js").AttachOptions} AttachOptions */
/** @typedef {import("./attach.js").Panel} Panel */
/** @typedef {import("./filters.js").Dossier} Dossier */
/** @typedef {import("./filters.js").SavedFilter} SavedFilter */
