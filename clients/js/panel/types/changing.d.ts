import type { Client } from "collab-client";
/** Forget what was refused and is shown nowhere. @param {Client} client */
export declare function forgetRefused(client: Client): void;
/**
 * Have a change take effect once.
 * @param {Client} client
 * @param {any} name
 * @param {any} payload
 * @param {string} [topic]
 * @returns {Promise<any>}
 */
export declare function change(client: Client, name: any, payload: any, topic?: string): Promise<any>;
