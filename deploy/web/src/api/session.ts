import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useSyncExternalStore } from "react";
import type { Config } from "../config";
import type { ConsentGrant } from "../gen-sign-up/haven/identity/v1/account_pb";
import type { RefreshSessionResponse, SignInResponse } from "../gen-sign-up/haven/identity/v1/session_pb";
import { type EntryClients, entryClients } from "./clients";
import { failureOf } from "./failure";

/** The time before its end at which an access token is exchanged, in milliseconds: longer than a call takes. */
const RENEWAL = 60_000;

/** A signed-in person. */
export interface SignedIn {
  userId: string;
  sessionId: string;
  /** The required documents to which the person has not consented. The server refuses most calls until then. */
  missingConsents: ConsentGrant[];
}

/** Why the last session of this page ended. */
export type EndCause = "SIGNED_OUT" | "DELETED" | "ENDED";

interface Tokens {
  access: string;
  /** The end of the access token, and the time from which it is exchanged, in milliseconds since the epoch. */
  accessEnd: number;
  renewal: number;
  refresh: string;
}

/**
 * The session of this page. Its tokens are in memory alone: a reload signs out, and there is nothing that another page, an
 * extension's storage view or a later visitor of the computer can read. Two tabs have two sessions.
 */
export class Session {
  readonly entry: EntryClients;
  /** Exchanges tokens: calls without a token, which would wait for themselves. */
  readonly #exchanges: EntryClients["sessions"];
  #signedIn: SignedIn | undefined;
  #tokens: Tokens | undefined;
  #deviceToken = "";
  #renewal: Promise<void> | undefined;
  #listeners = new Set<() => void>();
  #lastEnd: EndCause | undefined;

  constructor(readonly config: Config) {
    this.entry = entryClients(config, () => this.accessToken());
    this.#exchanges = entryClients(config, async () => undefined).sessions;
  }

  get signedIn(): SignedIn | undefined {
    return this.#signedIn;
  }

  get lastEnd(): EndCause | undefined {
    return this.#lastEnd;
  }

  /** Keeps the device token of a password reset for the next sign-in. */
  rememberDevice(deviceToken: string): void {
    this.#deviceToken = deviceToken;
  }

  /** Signs in. `requestId` belongs to the attempt, and a retry of it has the same. Throws as the call does. */
  async signIn(email: string, password: string, requestId: string): Promise<SignedIn> {
    const response = await this.entry.sessions.signIn({
      email,
      password,
      requestId,
      deviceToken: this.#deviceToken,
    });
    this.#deviceToken = response.deviceToken;
    this.#tokens = tokensOf(response);
    const { userId, sessionId, missingConsents } = response;
    this.#change({ userId, sessionId, missingConsents });
    return { userId, sessionId, missingConsents };
  }

  /** Ends the session, here in any case, and on the server. */
  async signOut(): Promise<void> {
    try {
      await this.entry.sessions.signOut({});
    } finally {
      this.end("SIGNED_OUT");
    }
  }

  /** Forgets the session, for example because the server says that it has ended. */
  end(cause: EndCause = "ENDED"): void {
    if (!this.#signedIn) {
      return;
    }
    this.#lastEnd = cause;
    this.#tokens = undefined;
    this.#change(undefined);
  }

  /** Exchanges the tokens now, for example because consents were granted, which the access token states. */
  async renew(): Promise<void> {
    this.#renewal ??= this.#exchange().finally(() => {
      this.#renewal = undefined;
    });
    await this.#renewal;
  }

  /** Returns a valid access token; undefined when the person is not signed in. */
  async accessToken(): Promise<string | undefined> {
    const tokens = this.#tokens;
    if (tokens && tokens.renewal <= Date.now()) {
      try {
        await this.renew();
      } catch (error) {
        if (this.#tokens !== tokens || tokens.accessEnd <= Date.now()) {
          throw error;
        }
      }
    }
    return this.#tokens?.access;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  async #exchange(): Promise<void> {
    const tokens = this.#tokens;
    if (!tokens) {
      return;
    }
    try {
      const response = await this.#exchanges.refreshSession({ refreshToken: tokens.refresh });
      // The session may have ended here in the meantime.
      if (this.#tokens === tokens && this.#signedIn) {
        this.#tokens = tokensOf(response);
        this.#change({ ...this.#signedIn, missingConsents: response.missingConsents });
      }
    } catch (error) {
      const { reason } = failureOf(error);
      // A lost answer leaves the session as it is: the next call exchanges the same token again.
      if (this.#tokens === tokens && ["TOKEN_INVALID", "TOKEN_EXPIRED", "SESSION_REVOKED"].includes(reason)) {
        this.end();
      }
      throw error;
    }
  }

  #change(signedIn: SignedIn | undefined): void {
    this.#signedIn = signedIn;
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

/** Returns the signed-in person, and renders again when that changes. */
export function useSignedIn(session: Session): SignedIn | undefined {
  return useSyncExternalStore(session.subscribe, () => session.signedIn);
}

function tokensOf(response: SignInResponse | RefreshSessionResponse): Tokens {
  const accessEnd = response.accessTokenExpireTime ? timestampMs(response.accessTokenExpireTime) : 0;
  return {
    access: response.accessToken,
    accessEnd,
    // With a clock that is ahead, each call would exchange a new token.
    renewal: Math.max(accessEnd - RENEWAL, Date.now() + RENEWAL),
    refresh: response.refreshToken,
  };
}
