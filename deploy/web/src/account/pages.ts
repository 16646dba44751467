import { useCallback, useEffect, useRef, useState } from "react";
import { type Failure, failureOf } from "../api/failure";

/** A page of a list. An empty token marks the last one. */
export interface ListPage<T> {
  items: T[];
  nextPageToken: string;
}

/** A list that is read page by page. */
export interface Pages<T> {
  items: T[];
  isLoading: boolean;
  hasMore: boolean;
  failure: Failure | undefined;
  waitEnd: number | undefined;
  /** Reads the next page. */
  more: () => void;
  /** Reads the first page again, and forgets the others. */
  reload: () => void;
}

/** Reads a list. `read` is a function of useCallback, which gets the token of the page; empty for the first one. */
export function usePages<T>(read: (pageToken: string) => Promise<ListPage<T>>): Pages<T> {
  const [items, setItems] = useState<T[]>([]);
  const [next, setNext] = useState<string>();
  const [isLoading, setLoading] = useState(true);
  const [failure, setFailure] = useState<Failure>();
  const [waitEnd, setWaitEnd] = useState<number>();
  const newest = useRef(0);
  const load = useCallback(
    async (token: string) => {
      newest.current += 1;
      const number = newest.current;
      setLoading(true);
      try {
        const page = await read(token);
        if (number !== newest.current) {
          return;
        }
        setItems((before) => (token === "" ? page.items : [...before, ...page.items]));
        setNext(page.nextPageToken);
        setFailure(undefined);
        setWaitEnd(undefined);
      } catch (error) {
        if (number !== newest.current) {
          return;
        }
        const failed = failureOf(error);
        if (failed.reason === "PAGE_TOKEN_INVALID") {
          // Such as after a restore: the next attempt reads from the beginning.
          setNext("");
        }
        setFailure(failed);
        setWaitEnd(failed.retryAfter === undefined ? undefined : Date.now() + failed.retryAfter);
      }
      setLoading(false);
    },
    [read],
  );
  const reload = useCallback(() => void load(""), [load]);
  useEffect(() => {
    void load("");
    return () => {
      newest.current += 1;
    };
  }, [load]);
  return {
    items,
    isLoading,
    hasMore: next !== undefined && next !== "",
    failure,
    waitEnd,
    more: useCallback(() => void load(next ?? ""), [load, next]),
    reload,
  };
}
