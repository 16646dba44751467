import { useCallback, useEffect, useRef, useState } from "react";
import { type Failure, failureOf } from "../api/failure";

/** A value that a section reads from a service. */
export interface Loaded<T> {
  value: T | undefined;
  failure: Failure | undefined;
  waitEnd: number | undefined;
  /** Reads the value again. The old one is shown until then. */
  reload: () => void;
  /** Replaces the value, for example with the answer to a change. */
  set: (value: T) => void;
}

/** Reads a value when the section is shown. `read` is a constant function, or one of useCallback. */
export function useLoaded<T>(read: () => Promise<T>): Loaded<T> {
  const [value, setValue] = useState<T>();
  const [failure, setFailure] = useState<Failure>();
  const [waitEnd, setWaitEnd] = useState<number>();
  const newest = useRef(0);
  const load = useCallback(async () => {
    newest.current += 1;
    const number = newest.current;
    const isNewest = () => number === newest.current;
    try {
      const answer = await read();
      if (isNewest()) {
        setValue(answer);
        setFailure(undefined);
        setWaitEnd(undefined);
      }
    } catch (error) {
      if (isNewest()) {
        const failed = failureOf(error);
        setFailure(failed);
        setWaitEnd(failed.retryAfter === undefined ? undefined : Date.now() + failed.retryAfter);
      }
    }
  }, [read]);
  useEffect(() => {
    void load();
    return () => {
      newest.current += 1;
    };
  }, [load]);
  const set = useCallback((changed: T) => {
    newest.current += 1;
    setValue(changed);
  }, []);
  return { value, failure, waitEnd, reload: load, set };
}
