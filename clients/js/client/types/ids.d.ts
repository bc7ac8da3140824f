/** 32 random hex digits. */
export declare const randomId: () => string;
/**
 * A UUIDv7 (RFC 9562) of this moment.
 * @param {number} now milliseconds of the server's clock since 1970
 */
export declare function uuid7(now: number): string;
