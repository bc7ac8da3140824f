import { Store } from "./store.js";
/** @import { Client } from "./client.js" */
/** @import { TopicSubscribeAnswer } from "../types/wire.js" */
/**
 * A log, and what it has come to.
 * @template Snapshot
 * @extends {Store<Snapshot>}
 */
export declare class Log<Snapshot> extends Store<Snapshot> {
    #private;
    /** The topic, as the server spells it. */ name: string;
}
