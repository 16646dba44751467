/** Returns random bytes. Tests pass a source of their own, to make known ciphertext. */
export type RandomSource = (length: number) => Uint8Array<ArrayBuffer>;

/** The generator of the browser or of Node, which is meant for keys and nonces. */
export const randomBytes: RandomSource = (length) => crypto.getRandomValues(new Uint8Array(length));
