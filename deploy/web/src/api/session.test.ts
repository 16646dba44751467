import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, expect, test, vi } from "vitest";
import { failing, newSession, serve, signedInSession, tokens } from "../account/test-service";
import { failureOf } from "./failure";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const terms = { document: "terms", documentVersion: "2026-02" };

test("an exchange of which the answer is lost is repeated at once with the same token", async () => {
  const sent: string[] = [];
  serve({
    sessions: {
      refreshSession: ({ refreshToken }) => {
        sent.push(refreshToken);
        if (sent.length === 1) {
          throw new ConnectError("lost", Code.Unavailable);
        }
        return { ...tokens(), accessToken: "second-token" };
      },
    },
  });
  const session = await signedInSession();
  const begin = performance.now();
  await session.renew();
  expect(performance.now() - begin).toBeLessThan(5_000);
  expect(sent).toEqual(["refresh-token", "refresh-token"]);
  expect(await session.accessToken()).toBe("second-token");
});

test("an exchange without an answer is repeated within the ten seconds in which the server takes the token again", async () => {
  vi.useFakeTimers();
  serve({});
  const session = await signedInSession();
  const times: number[] = [];
  const begin = performance.now();
  vi.stubGlobal("fetch", (_: string, { signal }: { signal: AbortSignal }) => {
    times.push(performance.now() - begin);
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  const failure = session.renew().catch(failureOf);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await failure).toMatchObject({ reason: "DEADLINE" });
  expect(times.length).toBeGreaterThan(1);
  expect(Math.max(...times)).toBeLessThanOrEqual(7_000);
  expect(session.signedIn).toBeDefined();
});

test("an exchange that the server refuses is not repeated", async () => {
  let count = 0;
  const session = await signedInWith(() => {
    count += 1;
    throw failing("TOKEN_INVALID");
  });
  await expect(session.renew()).rejects.toThrow();
  expect(count).toBe(1);
  expect(session.signedIn).toBeUndefined();
});

test("a change is in the tokens, also when an exchange ran that is older than the change", async () => {
  let missing = [terms];
  const answers: (() => void)[] = [];
  const session = await signedInWith(async () => {
    const answer = tokens(missing);
    await new Promise<void>((resolve) => answers.push(resolve));
    return answer;
  });
  const older = session.renew();
  await vi.waitFor(() => expect(answers).toHaveLength(1));
  missing = [];
  const after = Promise.all([session.renew(), session.renew()]);
  answers[0]?.();
  await older;
  expect(session.signedIn?.missingConsents).toMatchObject([terms]);
  await vi.waitFor(() => expect(answers).toHaveLength(2));
  answers[1]?.();
  await after;
  expect(session.signedIn?.missingConsents).toEqual([]);
  // Both waited for one exchange, which began after the change.
  expect(answers).toHaveLength(2);
});

test("sign-out ends the session here at once, and sends the token to the server", async () => {
  let answer = () => {};
  const answered = new Promise<object>((resolve) => (answer = () => resolve({})));
  const calls = serve({ sessions: { signOut: () => answered } });
  const session = await signedInSession();
  const ended = session.signOut();
  expect(session.signedIn).toBeUndefined();
  expect(session.lastEnd).toBe("SIGNED_OUT");
  expect(await session.accessToken()).toBeUndefined();
  await vi.waitFor(() => expect(calls.at(-1)).toEqual({ method: "SignOut", authorization: "Bearer access-token" }));
  answer();
  await ended;
});

test("sign-out with an expired token exchanges it, and ends the session on the server too", async () => {
  let isEnded = false;
  const calls = serve({
    sessions: {
      signOut: (_, { requestHeader }) => {
        if (requestHeader.get("authorization") !== "Bearer second-token") {
          throw failing("TOKEN_EXPIRED");
        }
        isEnded = true;
        return {};
      },
      refreshSession: () => ({ ...tokens(), accessToken: "second-token" }),
    },
  });
  const session = await signedInSession();
  await session.signOut();
  expect(isEnded).toBe(true);
  expect(calls.map(({ method }) => method)).toEqual(["SignIn", "SignOut", "RefreshSession", "SignOut"]);
  expect(session.signedIn).toBeUndefined();
});

test.each([
  ["SIGNED_OUT", ""],
  ["DELETED", ""],
  ["ENDED", "device"],
] as const)("after %s the next sign-in states the device token “%s”", async (cause, expected) => {
  const stated: string[] = [];
  serve({
    sessions: {
      signIn: ({ deviceToken }) => {
        stated.push(deviceToken);
        return { ...tokens(), deviceToken: "device" };
      },
      signOut: () => ({}),
    },
  });
  const session = newSession();
  const signIn = () => session.signIn("ada@example.org", "kX9vQ2wZ-ada", crypto.randomUUID());
  await signIn();
  if (cause === "SIGNED_OUT") {
    await session.signOut();
  } else {
    session.end(cause);
  }
  await signIn();
  expect(stated).toEqual(["", expected]);
});

type Refresh = () => ReturnType<typeof tokens> | Promise<ReturnType<typeof tokens>>;

/** Returns a session of which `refresh` answers the exchanges. */
async function signedInWith(refresh: Refresh) {
  serve({ sessions: { refreshSession: refresh } });
  return await signedInSession();
}
