// crypto.randomUUID() is offered over HTTPS and on localhost only; getRandomValues everywhere.

const bytes = () => crypto.getRandomValues(new Uint8Array(16));

/** @param {Uint8Array} array */
const hex = (array) => Array.from(array, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** 32 random hex digits. */
export const randomId = () => hex(bytes());

/**
 * A UUIDv7 (RFC 9562) of this moment.
 * @param {number} now milliseconds of the server's clock since 1970
 */
export function uuid7(now) {
  const id = bytes();
  for (let place = 5, rest = now; place >= 0; place -= 1, rest = Math.floor(rest / 256)) id[place] = rest % 256;
  id[6] = 0x70 | (id[6] & 0x0f);
  id[8] = 0x80 | (id[8] & 0x3f);
  return hex(id).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
