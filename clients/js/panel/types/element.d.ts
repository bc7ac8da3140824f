import type { Client, Options } from "collab-client";
/**
 * Connect: the elements of this page talk over this client, unless they have one of their own.
 * @param {(Options & {url: string | URL}) | Client} options what `createClient` of collab-client takes, with the `url`,
 *   for a panel may come from another server than its page; or a client of one's own
 * @returns {Client}
 * @throws {TypeError} for what is neither
 */
export declare function connect(options: (Options & {
    url: string | URL;
}) | Client): Client;
/**
 * An element that says what it shows in `draw`.
 *
 * @attr topic the dashboard that is open
 * @attr lang the language, also from an element around it; else that of the browser
 * @attr keys `off`: no keys of a single letter
 * @attr enter `send`: Enter sends, and Shift with Enter makes a new line
 */
export declare class CollabElement extends HTMLElement {
    #private;
    /** @param {string[]} styles */
    constructor(...styles: string[]);
    /** Its client; that of `connect` unless set. @returns {Client | null} */
    get client(): Client | null;
    set client(client: Client | null);
    /** The topic that it is about. */
    get topic(): string;
    set topic(name: string);
    connectedCallback(): void;
    disconnectedCallback(): void;
    /** @param {string} _name @param {string | null} _before @param {string | null} _value */
    attributeChangedCallback(_name: string, _before: string | null, _value: string | null): void;
    /** Draw it anew, once in a turn. */
    redraw(): void;
}
/** @param {string} name @param {CustomElementConstructor} element */
export declare function define(name: string, element: CustomElementConstructor): void;
