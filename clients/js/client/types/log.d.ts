import { Refused } from "./refused.js";
import type { Connection } from "./connection.js";
import type { TopicSubscribeAnswer } from "../types/wire.js";
export type Reader = {
    /**
     * nothing before `answer.seq` will be told: read what
     * is to be shown
     */
    begin: (answer: TopicSubscribeAnswer) => Promise<void>;
    /**
     * after `begin`, or after what was missed: what is so by now
     * beside the events
     */
    ready: (answer: TopicSubscribeAnswer) => void;
    /**
     * the next one
     */
    event: (event: any) => void;
    signal: (name: string, said: any) => void;
    /**
     * it cannot be followed now, or not any more
     */
    trouble: (problem: Refused, isOver: boolean) => void;
};
/** @import { Connection } from "./connection.js" */
/** @import { Event, TopicSubscribeAnswer } from "../types/wire.js" */
/**
 * Who reads a log.
 *
 * @typedef {object} Reader
 * @property {(answer: TopicSubscribeAnswer) => Promise<void>} begin nothing before `answer.seq` will be told: read what
 *   is to be shown
 * @property {(answer: TopicSubscribeAnswer) => void} ready after `begin`, or after what was missed: what is so by now
 *   beside the events
 * @property {(event: any) => void} event the next one
 * @property {(name: string, said: any) => void} signal
 * @property {(problem: Refused, isOver: boolean) => void} trouble it cannot be followed now, or not any more
 */
export declare class Log {
    #private;
    seq: number;
    isReady: boolean;
    /**
     * @param {Connection} connection
     * @param {string} topic as the server spells it
     * @param {Reader} reader
     */
    constructor(connection: Connection, topic: string, reader: Reader);
    /** Follow it, or go on after a loss. */
    start(): Promise<void>;
    /** Follow it no more. What is known of it is kept: `start` goes on from there. */
    stop(): void;
    /** Throw away where one is: the next start is the first. */
    forget(): void;
    /**
     * Something that was said of this topic.
     * @param {string} name
     * @param {any} said
     */
    said(name: string, said: any): void;
}
