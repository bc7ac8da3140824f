// Hooks over the client's stores. Each returns what a store shows, the same object while nothing has changed; on a
// server they return what is shown before anything has come.

import { placesOf } from "collab-client/places";
import { summariesOf } from "collab-client/summaries";
import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useSyncExternalStore } from "react";

/** @import { Client, ConnectionState, Entry, InboxState, Thread, Topic, TopicState } from "collab-client" */
/** @import { Counts } from "collab-client/places" */
/** @import { CommandsByName, Summary, User } from "collab-client/wire" */

/**
 * @template Snapshot
 * @typedef {{subscribe: (listener: () => void) => () => void, snapshot: () => Snapshot}} Watched
 */

const Context = createContext(/** @type {Client | null} */ (null));

/**
 * Gives a client to everything in it.
 * @param {{client: Client, children?: import("react").ReactNode}} props
 * @returns {import("react").ReactElement}
 */
export function CollabProvider({ client, children }) {
  return createElement(Context.Provider, { value: client }, children);
}

/** The client of the nearest `CollabProvider`. @returns {Client} */
export function useClient() {
  const client = useContext(Context);
  if (!client) throw new Error("expected a <CollabProvider client={…}> around this component");
  return client;
}

/**
 * What a store of the client shows.
 * @template Snapshot
 * @param {Watched<Snapshot>} store
 * @returns {Snapshot}
 */
export function useStore({ subscribe, snapshot }) {
  return useSyncExternalStore(subscribe, snapshot, snapshot);
}

/** Whether one is connected, and as whom. @returns {Readonly<ConnectionState>} */
export function useConnection() {
  return useStore(useClient().connection);
}

/** What a topic shows; it is followed while this is used. @param {string} name @returns {Readonly<TopicState>} */
export function useTopic(name) {
  return useStore(useClient().topic(name));
}

/**
 * The threads of a topic.
 * @param {string} name
 * @param {{pageKey?: string, visualizationKey?: string, resolved?: boolean}} [which] left out: all
 * @returns {readonly Thread[]}
 */
export function useThreads(name, { pageKey, visualizationKey, resolved } = {}) {
  const { threads } = useTopic(name);
  return useMemo(() => {
    if (pageKey === undefined && visualizationKey === undefined && resolved === undefined) return threads;
    return threads.filter(({ root }) => {
      /** @type {{pageKey?: string, visualizationKey?: string}} */ const anchor = root?.anchor ?? {};
      return (
        (pageKey === undefined || anchor.pageKey === pageKey) &&
        (visualizationKey === undefined || anchor.visualizationKey === visualizationKey) &&
        (resolved === undefined || Boolean(root?.resolved) === resolved)
      );
    });
  }, [threads, pageKey, visualizationKey, resolved]);
}

/**
 * One thread, or undefined while it is not loaded.
 * @param {string} name
 * @param {string} threadId
 * @returns {Thread | undefined}
 */
export function useThread(name, threadId) {
  return useTopic(name).threads.find(({ id }) => id === threadId);
}

/**
 * How much there is at a place of a topic: open threads, unread comments, all comments.
 * @param {string} name
 * @param {{pageKey?: string | null, visualizationKey?: string | null}} anchor
 * @returns {Counts}
 */
export function useCounts(name, anchor) {
  const client = useClient();
  return useStore(placesOf(client, client.topic(name))).at(anchor);
}

/**
 * What is new in a topic that is not open; undefined while that is not known.
 * @param {string} name as the server spells it
 * @returns {Summary | undefined}
 */
export function useSummary(name) {
  const summaries = summariesOf(useClient());
  useEffect(() => summaries.watch(name), [summaries, name]);
  return useStore(summaries).of(name);
}

/** This person's notifications, and the badge. @returns {Readonly<InboxState>} */
export function useInbox() {
  return useStore(useClient().inbox);
}

/** The badge: how many notifications are unread. */
export function useUnread() {
  return useInbox().unread;
}

/** Who has a topic open. @param {string} name @returns {readonly User[]} */
export function usePresence(name) {
  return useTopic(name).present;
}

/**
 * Who is writing, and how to say that one is.
 * @param {string} name
 * @returns {[readonly User[], (isTyping?: boolean) => void]}
 */
export function useTyping(name) {
  const topic = useClient().topic(name);
  const { typing } = useStore(topic);
  const say = useCallback((/** @type {boolean | undefined} */ isTyping) => topic.type(isTyping), [topic]);
  return [typing, say];
}

/** What is not sent yet, and what was refused. @returns {readonly Entry[]} */
export function useOutbox() {
  return useStore(useClient().outbox);
}

/**
 * What can be done in a topic: `add`, `edit`, `react`, `read`, … of `collab-client`.
 * @param {string} name
 * @returns {Topic}
 */
export function useCommands(name) {
  return useClient().topic(name);
}

/**
 * Have any other command take effect, once.
 * @template {keyof CommandsByName} Name
 * @param {Name} name
 * @returns {(payload: CommandsByName[Name]["payload"]) => Promise<CommandsByName[Name]["answer"]>}
 */
export function useCommand(name) {
  const client = useClient();
  return useCallback((payload) => client.change(name, payload), [client, name]);
}
