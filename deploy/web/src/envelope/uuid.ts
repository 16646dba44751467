import { EnvelopeError } from "./error.js";

const FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Returns the 16 bytes of a UUID in the order of its text form. `name` is the name of the field in an error. */
export function uuidBytes(name: string, uuid: string): Uint8Array<ArrayBuffer> {
  if (!FORM.test(uuid)) {
    throw new EnvelopeError("OUT_OF_RANGE", `${name} must be a UUID`);
  }
  const digits = uuid.replaceAll("-", "");
  return Uint8Array.from({ length: 16 }, (_, at) => Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16));
}
