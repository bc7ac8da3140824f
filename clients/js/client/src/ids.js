// crypto.randomUUID() is offered over HTTPS and on localhost only; getRandomValues everywhere.

/** 32 random hex digits. */
export const randomId = () =>
  crypto.getRandomValues(new Uint8Array(32)).reduce((digits, byte) => digits + (byte % 16).toString(16), "");

/**
 * A UUIDv7 (RFC 9562) of this moment.
 * @param {number} now milliseconds of the server's clock since 1970
 */
export function uuid7(now) {
  const time = now.toString(16).padStart(12, "0");
  const id = randomId();
  return `${time.slice(0, 8)}-${time.slice(8)}-7${id.slice(1, 4)}-8${id.slice(4, 7)}-${id.slice(7, 19)}`;
}
