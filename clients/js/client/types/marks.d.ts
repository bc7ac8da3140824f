import { Store } from "./store.js";
import type { Topic } from "./topic.js";
import type { Client } from "./client.js";
import type { ThreadMark } from "../types/wire.js";
export type MarksState = {
    /**
     * what is chosen for a
     * thread, or is about to be; the same object while nothing changed there
     */
    of: (threadId: string) => {
        readonly following: boolean;
        readonly muted: boolean;
    };
};
/** @extends {Store<MarksState>} */
export declare class Marks extends Store<MarksState> {
    #private;
    /** Be told of every reply in a thread, or no more. @param {string} threadId @param {boolean} following */
    follow(threadId: string, following?: boolean): Promise<ThreadMark>;
    /** Be told nothing of a thread, or again. @param {string} threadId @param {boolean} muted */
    mute(threadId: string, muted?: boolean): Promise<ThreadMark>;
}
/**
 * Which threads of a topic this person follows or has muted: one for all who want to know.
 * @param {Client} client
 * @param {Topic} topic
 */
export declare function marksOf(client: Client, topic: Topic): Marks;
