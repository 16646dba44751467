import { useCallback, useEffect, useRef, useState } from "react";
import type { EntryClients } from "../api/clients";
import { consentsOf } from "./consents";
import type { SignUpRules } from "./schema";

/** Reads what the server asks of a sign-up now. */
async function loadRules(accounts: EntryClients["accounts"]): Promise<SignUpRules> {
  const [policy, requirements] = await Promise.all([
    accounts.getPasswordPolicy({}),
    accounts.getConsentRequirements({}),
  ]);
  return { policy, consents: consentsOf(requirements) };
}

/**
 * Loads the rules, when the page is opened and when the browser is online again after a failure. `load` loads them again, and
 * returns undefined when that fails: the rules that are known then stay.
 */
export function useSignUpRules(accounts: EntryClients["accounts"]) {
  const [rules, setRules] = useState<SignUpRules>();
  const [hasFailed, setHasFailed] = useState(false);
  const newest = useRef(0);
  const load = useCallback(async () => {
    const call = ++newest.current;
    try {
      const loaded = await loadRules(accounts);
      // A late answer says less than one to a later question.
      if (call === newest.current) {
        setRules(loaded);
        setHasFailed(false);
      }
      return loaded;
    } catch {
      if (call === newest.current) {
        setHasFailed(true);
      }
      return undefined;
    }
  }, [accounts]);
  useEffect(() => {
    load();
  }, [load]);
  useEffect(() => {
    if (hasFailed) {
      window.addEventListener("online", load);
      return () => window.removeEventListener("online", load);
    }
  }, [hasFailed, load]);
  return { rules, hasFailed, load };
}
