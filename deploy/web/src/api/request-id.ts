import { useRef } from "react";

/**
 * The ID of a request that may have to be sent again. The server applies a request once: a retry with the same ID gets the first
 * answer. So the ID belongs to the content, and a changed content gets a new one.
 */
export class RequestIds {
  #content: string | undefined;
  #id = "";

  /** Returns the ID for a request with this content. */
  for(content: unknown): string {
    const text = JSON.stringify(content);
    if (text !== this.#content) {
      this.#content = text;
      this.#id = crypto.randomUUID();
    }
    return this.#id;
  }

  /** Forgets the content, which may hold a password, after the request has its answer. */
  forget(): void {
    this.#content = undefined;
  }
}

/** Keeps the ID of a form's request for as long as the form is shown. */
export function useRequestIds(): RequestIds {
  const ids = useRef<RequestIds>(undefined);
  ids.current ??= new RequestIds();
  return ids.current;
}
