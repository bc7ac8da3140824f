// crypto.randomUUID() is offered over HTTPS and on localhost only; getRandomValues everywhere.

/** 32 random hex digits. */
export const randomId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * A UUIDv7 (RFC 9562) of this moment.
 * @param {number} now milliseconds of the server's clock since 1970
 */
export const uuid7 = (now) =>
  (now.toString(16).padStart(12, "0") + randomId()).replace(
    /(.{8})(.{4}).(.{3})(.)(.{3})(.{12}).*/,
    (_, high, low, some, variant, more, rest) => `${high}-${low}-7${some}-${"89ab"[parseInt(variant, 16) % 4]}${more}-${rest}`,
  );
