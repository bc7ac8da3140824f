/**
 * Mark as read what is seen. What is read is one number, so it goes as far as there is nothing before it that was not seen.
 * @param {{topic: any, state: any, list: {current: any}, isUnread: (comment: any) => boolean, isPaused: () => boolean}} of
 */
export declare function useReading({ topic, state, list, isUnread, isPaused }: {
    topic: any;
    state: any;
    list: {
        current: any;
    };
    isUnread: (comment: any) => boolean;
    isPaused: () => boolean;
}): void;
