import { useEffect, useRef, useState } from "react";
import type { EntryClients } from "../api/clients";
import { failureOf } from "../api/failure";

/** The time after the last key at which a password is checked, in milliseconds. */
export const DEBOUNCE = 300;

/** The time without checks after a failure without a delay of its own, in milliseconds. */
const PAUSE = 5_000;

/**
 * Asks the server which rules a password meets, shortly after the last key. Returns the answer for this very password and
 * address; undefined while there is none. A refusal is no error of the form: checks pause, and sign-up decides in any case.
 */
export function usePasswordCheck(
  accounts: Pick<EntryClients["accounts"], "checkPassword">,
  password: string,
  email: string,
  isWanted: boolean,
): ReadonlyMap<string, boolean> | undefined {
  const [answer, setAnswer] = useState<{ password: string; email: string; met: Map<string, boolean> }>();
  const [resumed, setResumed] = useState(0);
  const pauseEnd = useRef(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `resumed` asks again for the same password
  useEffect(() => {
    if (!isWanted) {
      setAnswer(undefined);
      return;
    }
    const abort = new AbortController();
    const ask = async () => {
      try {
        const { results } = await accounts.checkPassword({ password, email }, { signal: abort.signal });
        if (!abort.signal.aborted) {
          setAnswer({ password, email, met: new Map(results.map(({ rule, met }) => [rule?.name ?? "", met])) });
        }
      } catch (error) {
        if (!abort.signal.aborted) {
          const { retryAfter } = failureOf(error);
          pauseEnd.current = Date.now() + (retryAfter ?? PAUSE);
          // Without a delay the next key asks again: a service that is away is not asked for ever.
          if (retryAfter !== undefined) {
            setResumed((count) => count + 1);
          }
        }
      }
    };
    const timer = setTimeout(ask, Math.max(DEBOUNCE, pauseEnd.current - Date.now()));
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [accounts, password, email, isWanted, resumed]);
  return answer?.password === password && answer.email === email ? answer.met : undefined;
}
