import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import type { Config } from "../config";
import { AccountService } from "../gen-sign-up/haven/identity/v1/account_pb";
import { SessionService } from "../gen-sign-up/haven/identity/v1/session_pb";

/** The time that a call has, in milliseconds. Without an answer until then it counts as lost. */
const TIMEOUT = 15_000;

/** Returns the access token to send; undefined for a call without a person. */
export type TokenSource = () => Promise<string | undefined>;

/**
 * The clients of the RPCs with which a person gets in. They are all that the sign-up page loads: the others have files of their
 * own, made from the whole contract.
 */
export interface EntryClients {
  accounts: Client<typeof AccountService>;
  sessions: Client<typeof SessionService>;
}

/** Opens a connection to a service. `token` is asked for each call. */
export function connect(baseUrl: string, token: TokenSource): Transport {
  const authorize: Interceptor = (next) => async (request) => {
    const value = await token();
    if (value !== undefined) {
      request.header.set("authorization", `Bearer ${value}`);
    }
    return next(request);
  };
  return createGrpcWebTransport({
    baseUrl,
    useBinaryFormat: true,
    defaultTimeoutMs: TIMEOUT,
    interceptors: [authorize],
    // No cookies, no cached answers, no referrer.
    fetch: (input, init) =>
      fetch(input, {
        ...init,
        credentials: "omit",
        cache: "no-store",
        referrerPolicy: "no-referrer",
        redirect: "error",
      }),
  });
}

export function entryClients(config: Config, token: TokenSource): EntryClients {
  const transport = connect(config.identity, token);
  return {
    accounts: createClient(AccountService, transport),
    sessions: createClient(SessionService, transport),
  };
}
