import { afterEach, expect, test, vi } from "vitest";
import { failing, serve, signedInSession, tokens } from "../account/test-service";
import { accountClients } from "./account-clients";
import { failureOf } from "./failure";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const terms = { document: "terms", documentVersion: "2026-02" };

test("an expired token is exchanged, and the call is made again", async () => {
  let isExpired = true;
  const calls = serve({
    accounts: {
      getAccount: () => {
        if (isExpired) {
          throw failing("TOKEN_EXPIRED");
        }
        return { account: { stage: 2 } };
      },
    },
    sessions: {
      refreshSession: () => {
        isExpired = false;
        return { ...tokens(), accessToken: "second-token" };
      },
    },
  });
  const session = await signedInSession();
  const { account } = await accountClients(session).accounts.getAccount({});
  expect(account?.stage).toBe(2);
  expect(calls.map(({ method }) => method)).toEqual(["SignIn", "GetAccount", "RefreshSession", "GetAccount"]);
  expect(calls[3]?.authorization).toBe("Bearer second-token");
});

test.each(["SESSION_REVOKED", "TOKEN_INVALID"])("%s ends the session here", async (reason) => {
  serve({
    accounts: {
      getAccount: () => {
        throw failing(reason);
      },
    },
  });
  const session = await signedInSession();
  await expect(accountClients(session).accounts.getAccount({})).rejects.toThrow();
  expect(session.signedIn).toBeUndefined();
  expect(session.lastEnd).toBe("ENDED");
});

test.each(["TOKEN_INVALID", "TOKEN_EXPIRED", "SESSION_REVOKED"])(
  "a session of which the exchange is refused by %s ends here",
  async (reason) => {
    serve({
      accounts: {
        getAccount: () => {
          throw failing("TOKEN_EXPIRED");
        },
      },
      sessions: {
        refreshSession: () => {
          throw failing(reason);
        },
      },
    });
    const session = await signedInSession();
    await expect(accountClients(session).accounts.getAccount({})).rejects.toThrow();
    expect(session.signedIn).toBeUndefined();
  },
);

test("a token that stays expired ends the session, and not the page in a loop", async () => {
  const calls = serve({
    accounts: {
      getAccount: () => {
        throw failing("TOKEN_EXPIRED");
      },
    },
  });
  const session = await signedInSession();
  await expect(accountClients(session).accounts.getAccount({})).rejects.toThrow();
  expect(session.signedIn).toBeUndefined();
  expect(calls.filter(({ method }) => method === "GetAccount")).toHaveLength(2);
});

test("a lost answer to the exchange does not end the session", async () => {
  let isDown = false;
  serve(
    {
      accounts: {
        getAccount: () => {
          isDown = true;
          throw failing("TOKEN_EXPIRED");
        },
      },
    },
    () => isDown,
  );
  const session = await signedInSession();
  const failure = await accountClients(session).accounts.getAccount({}).catch(failureOf);
  expect(failure).toMatchObject({ reason: "UNREACHABLE" });
  expect(session.signedIn).toBeDefined();
});

test("missing consents are learnt from the server when it refuses a call for them", async () => {
  const calls = serve({
    accounts: {
      getAccount: () => {
        throw failing("CONSENT_OUTDATED");
      },
    },
    sessions: { refreshSession: () => tokens([terms]) },
  });
  const session = await signedInSession();
  const failure = await accountClients(session).accounts.getAccount({}).catch(failureOf);
  expect(failure).toMatchObject({ reason: "CONSENT_OUTDATED" });
  expect(session.signedIn?.missingConsents).toMatchObject([terms]);
  expect(calls.filter(({ method }) => method === "GetAccount")).toHaveLength(1);
});

test("a token that is older than the consents is exchanged, and the call is made again", async () => {
  let isOutdated = true;
  serve({
    accounts: {
      getAccount: () => {
        if (isOutdated) {
          isOutdated = false;
          throw failing("CONSENT_OUTDATED");
        }
        return {};
      },
    },
  });
  const session = await signedInSession();
  await accountClients(session).accounts.getAccount({});
  expect(session.signedIn?.missingConsents).toEqual([]);
});

test("a token that is about to expire is exchanged once, before the calls", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const calls = serve({
    accounts: { getAccount: () => ({}) },
    sessions: { refreshSession: () => ({ ...tokens(), accessToken: "second-token" }) },
  });
  const session = await signedInSession();
  const { accounts } = accountClients(session);
  await accounts.getAccount({});
  vi.setSystemTime(Date.now() + 850_000);
  await Promise.all([1, 2, 3].map(() => accounts.getAccount({})));
  await accounts.getAccount({});
  const ofTokens = calls.filter(({ method }) => method === "RefreshSession");
  expect(ofTokens).toEqual([{ method: "RefreshSession", authorization: null }]);
  expect(calls.slice(-4).map(({ authorization }) => authorization)).toEqual(Array(4).fill("Bearer second-token"));
});

test("a token that is still valid is used when its exchange has no answer", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const calls = serve({
    accounts: { getAccount: () => ({}) },
    sessions: {
      refreshSession: () => {
        throw failing("OVERLOADED");
      },
    },
  });
  const session = await signedInSession();
  vi.setSystemTime(Date.now() + 850_000);
  await accountClients(session).accounts.getAccount({});
  expect(calls.at(-1)).toEqual({ method: "GetAccount", authorization: "Bearer access-token" });
  vi.setSystemTime(Date.now() + 100_000);
  const failure = await accountClients(session).accounts.getAccount({}).catch(failureOf);
  expect(failure).toMatchObject({ reason: "OVERLOADED" });
  expect(session.signedIn).toBeDefined();
});

test("a clock that is ahead does not exchange the tokens with each call", async () => {
  const calls = serve({ accounts: { getAccount: () => ({}) }, sessions: { signIn: () => tokens([], -3600) } });
  const session = await signedInSession();
  await accountClients(session).accounts.getAccount({});
  expect(calls.map(({ method }) => method)).toEqual(["SignIn", "GetAccount"]);
});

test("other failures leave the session as it is", async () => {
  serve({
    accounts: {
      getAccount: () => {
        throw failing("RATE_LIMITED", { retryAfter: 3 });
      },
    },
  });
  const session = await signedInSession();
  const failure = await accountClients(session).accounts.getAccount({}).catch(failureOf);
  expect(failure).toMatchObject({ reason: "RATE_LIMITED", retryAfter: 3000 });
  expect(session.signedIn).toBeDefined();
});
