import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { beforeEach, expect, test } from "vitest";
import { failing } from "../account/test-service";
import { failureOf } from "../api/failure";
import { AccountService, Goal } from "../gen-sign-up/haven/identity/v1/account_pb";
import { SignUpAttempts } from "./attempts";

const content = { email: "ada@example.org", password: "kX9vQ2wZ", goals: [Goal.MAKE_FRIENDS], consents: [] };
const changed = { ...content, password: "kX9vQ2wZ-2" };
const failure = new ConnectError("", Code.Unavailable);

/** The requests that arrived, by ID, and the answers to come: a failure, or nothing for a success. */
let sent: string[];
let answers: (ConnectError | undefined)[];
let attempts: SignUpAttempts;

beforeEach(() => {
  sent = [];
  answers = [];
  const transport = createRouterTransport(({ service }) => {
    service(AccountService, {
      signUp: ({ requestId }) => {
        sent.push(requestId);
        const answer = answers.shift();
        if (answer) {
          throw answer;
        }
        return {};
      },
    });
  });
  attempts = new SignUpAttempts(createClient(AccountService, transport));
});

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  return failureOf(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  ).reason;
}

test("an unchanged content keeps its ID, and a changed one gets another", async () => {
  answers = [failure, failure, failure];
  for (const one of [content, content, changed]) {
    expect(await reasonOf(attempts.send(one))).toBe("UNREACHABLE");
  }
  const [first, second, third] = sent;
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});

test("of several attempts without an answer the one that made the account is found", async () => {
  const other = { ...content, goals: [Goal.JOIN_ACTIVITIES] };
  answers = [failure, failure, failing("EMAIL_TAKEN"), failing("EMAIL_TAKEN"), undefined];
  await reasonOf(attempts.send(content));
  await reasonOf(attempts.send(changed));
  expect(await attempts.send(other)).toEqual(changed);
  expect(sent.slice(3)).toEqual([sent[0], sent[1]]);
});

test("the content of an attempt without an answer, typed once more, is that attempt", async () => {
  answers = [failure, failing("EMAIL_INVALID"), failing("EMAIL_TAKEN"), undefined];
  await reasonOf(attempts.send(content));
  await reasonOf(attempts.send(changed));
  expect(await attempts.send({ ...content })).toEqual(content);
  expect(sent[3]).toBe(sent[0]);
});

test("the address of another person stays taken", async () => {
  answers = [failure, failing("EMAIL_TAKEN"), failing("EMAIL_TAKEN"), failing("EMAIL_TAKEN")];
  await reasonOf(attempts.send(content));
  expect(await reasonOf(attempts.send(changed))).toBe("EMAIL_TAKEN");
  expect(sent).toHaveLength(3);
  expect(await reasonOf(attempts.send(changed))).toBe("EMAIL_TAKEN");
  expect(sent).toHaveLength(4);
});

test("an attempt with another address is not sent again: it could make a second account", async () => {
  answers = [failure, failing("EMAIL_TAKEN")];
  await reasonOf(attempts.send({ ...content, email: "adda@example.org" }));
  expect(await reasonOf(attempts.send(content))).toBe("EMAIL_TAKEN");
  expect(sent).toHaveLength(2);
});

test("a question about an earlier attempt without an answer is asked again", async () => {
  answers = [
    failure,
    failing("EMAIL_TAKEN"),
    failing("RATE_LIMITED", { retryAfter: 3 }),
    failing("EMAIL_TAKEN"),
    undefined,
  ];
  await reasonOf(attempts.send(content));
  expect(await reasonOf(attempts.send(changed))).toBe("RATE_LIMITED");
  expect(await attempts.send(changed)).toEqual(content);
});
