import { useCallback, useEffect, useRef, useState } from "react";
import { type Failure, failureOf } from "../api/failure";

/** A call that a person starts, such as by a button. */
export interface Action {
  isBusy: boolean;
  failure: Failure | undefined;
  /** The time, in milliseconds since the epoch, before which another attempt is refused. */
  waitEnd: number | undefined;
  /** Makes the call. Does nothing while an earlier one is in progress, so a double click makes one call. */
  run: (call: () => Promise<void>) => Promise<void>;
}

export function useAction(): Action {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const [waitEnd, setWaitEnd] = useState<number>();
  const running = useRef(false);
  const run = useCallback(async (call: () => Promise<void>) => {
    if (running.current) {
      return;
    }
    running.current = true;
    setBusy(true);
    try {
      await call();
      setFailure(undefined);
      setWaitEnd(undefined);
    } catch (error) {
      const failed = failureOf(error);
      setFailure(failed);
      setWaitEnd(failed.retryAfter === undefined ? undefined : Date.now() + failed.retryAfter);
    } finally {
      running.current = false;
      setBusy(false);
    }
  }, []);
  return { isBusy, failure, waitEnd, run };
}

/**
 * Moves the focus when a call fails: to the first field with an error, or else to the message. Returns the reference for the
 * element that has both.
 */
export function useFailureFocus<E extends HTMLElement>(failure: Failure | undefined) {
  const container = useRef<E>(null);
  useEffect(() => {
    if (failure) {
      const invalid = container.current?.querySelector<HTMLElement>('[aria-invalid="true"]');
      (invalid ?? container.current?.querySelector<HTMLElement>("[data-failure] > .alert"))?.focus();
    }
  }, [failure]);
  return container;
}
