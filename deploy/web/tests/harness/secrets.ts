/** The values of a test that must appear nowhere but in the bodies of calls. */
export class Secrets {
  #values = new Map<string, string>();

  /** Adds a value, and returns it. `kind` is what a failure of the test calls it. */
  add(kind: string, value: string): string {
    // A short value would be found by chance.
    if (value.length < 6) {
      throw new Error(`a secret of ${value.length} characters would be found by chance`);
    }
    this.#values.set(value, kind);
    return value;
  }

  /** Returns the kinds of the secrets that `text` has, as they are or as a URL has them. */
  in(text: string): string[] {
    return [...this.#values].flatMap(([value, kind]) =>
      text.includes(value) || text.includes(encodeURIComponent(value)) ? [kind] : [],
    );
  }
}
