export type Soon = {
    text?: string;
    act?: () => void;
};
/** What happens soon, by what it is about; at the latest when what is shown goes. @param {any[]} of what is shown */
export declare function useLater(of: any[]): {
    due: Map<string, Soon & {
        timer: any;
    }>;
    undo: (key: string) => void;
    later: (key: string, soon: Soon) => void;
};
