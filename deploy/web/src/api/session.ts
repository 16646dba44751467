import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useSyncExternalStore } from "react";
import type { Config } from "../config";
import type { ConsentGrant } from "../gen-sign-up/haven/identity/v1/account_pb";
import type { RefreshSessionResponse, SignInResponse } from "../gen-sign-up/haven/identity/v1/session_pb";
import { type EntryClients, entryClients } from "./clients";
import { failureOf, isTransient } from "./failure";

/** The time in which the server takes a refresh token again after its first use, in milliseconds. */
const RETRY_WINDOW = 10_000;

/** The time that one attempt to exchange a refresh token has, in milliseconds: three fit into the window. */
const EXCHANGE_TIMEOUT = 3_000;

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
  /** Calls that carry no token by themselves: an exchange would wait for itself, and a session that has ended here has none. */
  readonly #bare: EntryClients["sessions"];
  #signedIn: SignedIn | undefined;
  #tokens: Tokens | undefined;
  #deviceToken = "";
  #renewal: Promise<void> | undefined;
  #listeners = new Set<() => void>();
  #lastEnd: EndCause | undefined;

  constructor(readonly config: Config) {
    this.entry = entryClients(config, () => this.accessToken());
    this.#bare = entryClients(config, async () => undefined).sessions;
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

  /** Ends the session: here at once, also without an answer, and on the server. Throws as the call does. */
  async signOut(): Promise<void> {
    const tokens = this.#tokens;
    this.end("SIGNED_OUT");
    if (!tokens) {
      return;
    }
    const call = (token: string) => this.#bare.signOut({}, { headers: { authorization: `Bearer ${token}` } });
    try {
      await call(tokens.access);
    } catch (error) {
      if (failureOf(error).reason !== "TOKEN_EXPIRED") {
        throw error;
      }
      await call((await this.#refresh(tokens.refresh)).accessToken);
    }
  }

  /** Forgets the session, for example because the server says that it has ended. */
  end(cause: EndCause = "ENDED"): void {
    if (!this.#signedIn) {
      return;
    }
    this.#lastEnd = cause;
    this.#tokens = undefined;
    if (cause !== "ENDED") {
      // The next person at this page may be another one.
      this.#deviceToken = "";
    }
    this.#change(undefined);
  }

  /**
   * Exchanges the tokens for new ones, which state what has changed until now, such as consents that were granted. An exchange
   * that runs already may be older than the change.
   */
  async renew(): Promise<void> {
    await this.#renewal?.catch(() => undefined);
    await this.replaceExpired();
  }

  /** Exchanges the tokens, or waits for the exchange that runs. */
  async replaceExpired(): Promise<void> {
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
        await this.replaceExpired();
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
      const response = await this.#refresh(tokens.refresh);
      // The session may have ended here in the meantime.
      if (this.#tokens === tokens && this.#signedIn) {
        this.#tokens = tokensOf(response);
        this.#change({ ...this.#signedIn, missingConsents: response.missingConsents });
      }
    } catch (error) {
      const { reason } = failureOf(error);
      // Without an answer the session stays as it is: the server may not have seen the token, and the next call sends it again.
      if (this.#tokens === tokens && ["TOKEN_INVALID", "TOKEN_EXPIRED", "SESSION_REVOKED"].includes(reason)) {
        this.end();
      }
      throw error;
    }
  }

  /**
   * Exchanges a refresh token. An answer that is lost is asked for again at once: later the server takes the token for a copy,
   * and ends the session.
   */
  async #refresh(refreshToken: string): Promise<RefreshSessionResponse> {
    const lastBegin = performance.now() + RETRY_WINDOW - EXCHANGE_TIMEOUT;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#bare.refreshSession({ refreshToken }, { timeoutMs: EXCHANGE_TIMEOUT });
      } catch (error) {
        const failure = failureOf(error);
        const pause = failure.retryAfter ?? 500 * attempt;
        if (attempt === 2 || !isTransient(failure) || performance.now() + pause > lastBegin) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
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
