import type { Client, ConnectionState, Entry, InboxState, Thread, Topic, TopicState } from "collab-client";
import type { Counts } from "collab-client/places";
import type { CommandsByName, Summary, User } from "collab-client/wire";
export type Watched<Snapshot> = {
    subscribe: (listener: () => void) => () => void;
    snapshot: () => Snapshot;
};
/**
 * Gives a client to everything in it.
 * @param {{client: Client, children?: import("react").ReactNode}} props
 * @returns {import("react").ReactElement}
 */
export declare function CollabProvider({ client, children }: {
    client: Client;
    children?: import("react").ReactNode;
}): import("react").ReactElement;
/** The client of the nearest `CollabProvider`. @returns {Client} */
export declare function useClient(): Client;
/**
 * What a store of the client shows.
 * @template Snapshot
 * @param {Watched<Snapshot>} store
 * @returns {Snapshot}
 */
export declare function useStore<Snapshot>({ subscribe, snapshot }: Watched<Snapshot>): Snapshot;
/** Whether one is connected, and as whom. @returns {Readonly<ConnectionState>} */
export declare function useConnection(): Readonly<ConnectionState>;
/** What a topic shows; it is followed while this is used. @param {string} name @returns {Readonly<TopicState>} */
export declare function useTopic(name: string): Readonly<TopicState>;
/**
 * The threads of a topic.
 * @param {string} name
 * @param {{pageKey?: string, visualizationKey?: string, resolved?: boolean}} [which] left out: all
 * @returns {readonly Thread[]}
 */
export declare function useThreads(name: string, { pageKey, visualizationKey, resolved }?: {
    pageKey?: string;
    visualizationKey?: string;
    resolved?: boolean;
}): readonly Thread[];
/**
 * One thread, or undefined while it is not loaded.
 * @param {string} name
 * @param {string} threadId
 * @returns {Thread | undefined}
 */
export declare function useThread(name: string, threadId: string): Thread | undefined;
/**
 * How much there is at a place of a topic: open threads, unread comments, all comments.
 * @param {string} name
 * @param {{pageKey?: string | null, visualizationKey?: string | null}} anchor
 * @returns {Counts}
 */
export declare function useCounts(name: string, anchor: {
    pageKey?: string | null;
    visualizationKey?: string | null;
}): Counts;
/**
 * What is new in a topic that is not open; undefined while that is not known.
 * @param {string} name as the server spells it
 * @returns {Summary | undefined}
 */
export declare function useSummary(name: string): Summary | undefined;
/** This person's notifications, and the badge. @returns {Readonly<InboxState>} */
export declare function useInbox(): Readonly<InboxState>;
/** The badge: how many notifications are unread. */
export declare function useUnread(): number;
/** Who has a topic open. @param {string} name @returns {readonly User[]} */
export declare function usePresence(name: string): readonly User[];
/**
 * Who is writing, and how to say that one is.
 * @param {string} name
 * @returns {[readonly User[], (isTyping?: boolean) => void]}
 */
export declare function useTyping(name: string): [readonly User[], (isTyping?: boolean) => void];
/** What is not sent yet, and what was refused. @returns {readonly Entry[]} */
export declare function useOutbox(): readonly Entry[];
/**
 * What can be done in a topic: `add`, `edit`, `react`, `read`, … of `collab-client`.
 * @param {string} name
 * @returns {Topic}
 */
export declare function useCommands(name: string): Topic;
/**
 * Have any other command take effect, once.
 * @template {keyof CommandsByName} Name
 * @param {Name} name
 * @returns {(payload: CommandsByName[Name]["payload"]) => Promise<CommandsByName[Name]["answer"]>}
 */
export declare function useCommand<Name extends keyof CommandsByName>(name: Name): (payload: CommandsByName[Name]["payload"]) => Promise<CommandsByName[Name]["answer"]>;
