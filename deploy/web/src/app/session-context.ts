import { createContext, useContext } from "react";
import type { Session } from "../api/session";

export const SessionContext = createContext<Session | undefined>(undefined);

/** Returns the session of this page. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) {
    throw new Error("useSession is outside of SessionContext");
  }
  return session;
}
