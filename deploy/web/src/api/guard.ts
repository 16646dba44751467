import type { Transport } from "@connectrpc/connect";
import { failureOf } from "./failure";
import type { Session } from "./session";

/** The reasons with which the server refuses the session of a call. */
const REFUSED = ["TOKEN_INVALID", "TOKEN_EXPIRED", "SESSION_REVOKED"];

/**
 * Wraps a transport: calls that the server refuses because of the session's state bring the session up to date.
 *
 * An expired access token is exchanged, and the call is made again: a refused call was not applied. The same happens with a token
 * that states missing consents, if none are missing any more. A session that has ended on the server ends here too. Streams
 * are passed on: an export reacts itself.
 */
export function guard(transport: Transport, session: Session): Transport {
  return {
    stream: (...call) => transport.stream(...call),
    async unary(...call) {
      const caller = session.signedIn?.sessionId;
      try {
        return await transport.unary(...call);
      } catch (error) {
        // A late answer to an earlier session says nothing about this one.
        if (session.signedIn?.sessionId !== caller || !(await recover(failureOf(error).reason, session))) {
          throw error;
        }
      }
      try {
        return await transport.unary(...call);
      } catch (error) {
        if (session.signedIn?.sessionId === caller && REFUSED.includes(failureOf(error).reason)) {
          session.end();
        }
        throw error;
      }
    },
  };
}

/** Brings the session up to date after a refusal. Returns whether the call can succeed now. Throws as the exchange does. */
async function recover(reason: string, session: Session): Promise<boolean> {
  switch (reason) {
    case "TOKEN_EXPIRED":
      await session.replaceExpired();
      return session.signedIn !== undefined;
    case "CONSENT_OUTDATED":
      await session.renew();
      return session.signedIn?.missingConsents.length === 0;
    case "TOKEN_INVALID":
    case "SESSION_REVOKED":
      session.end();
      return false;
    default:
      return false;
  }
}
