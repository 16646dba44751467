import { screen, waitFor, within } from "@testing-library/react";
import { type UserEvent, userEvent } from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import { Goal } from "../gen/haven/identity/v1/account_pb";
import { expectFocus } from "../test-focus";
import AccountPage from "./account-page";
import {
  type Answers,
  failing,
  findFailure,
  newSession,
  renderWith,
  SESSION_ID,
  serve,
  signedInSession,
  tokens,
  USER_ID,
} from "./test-service";

const terms = { document: "terms", documentVersion: "2026-02" };
const time = (seconds: number) => ({ seconds: BigInt(1_790_000_000 + seconds) });
const account = {
  id: USER_ID,
  email: "ada@example.org",
  goals: [Goal.MAKE_FRIENDS],
  stage: 1,
  version: 1n,
  createTime: time(0),
  updateTime: time(0),
};

beforeEach(() => {
  history.replaceState(null, "", "/account");
  URL.createObjectURL = vi.fn(() => "blob:export");
  URL.revokeObjectURL = vi.fn();
});

/** What the services answer unless a test says otherwise. */
function answers(own: Answers = {}): Answers {
  return {
    accounts: {
      getAccount: () => ({ account }),
      getPasswordPolicy: () => ({ minLength: 8, maxLength: 128 }),
      checkPassword: () => ({}),
      listConsents: () => ({ consents: [] }),
      getConsentRequirements: () => ({ required: [], accepted: [] }),
      listAuditEvents: () => ({ events: [] }),
      ...own.accounts,
    },
    sessions: {
      listSessions: () => ({ sessions: [{ id: SESSION_ID, current: true, createTime: time(0) }] }),
      ...own.sessions,
    },
    people: { listAuditEvents: () => ({ events: [] }), ...own.people },
  };
}

async function open(own: Answers = {}, isDown?: () => boolean) {
  const calls = serve(answers(own), isDown);
  const session = await signedInSession();
  renderWith(session, <AccountPage />);
  return { session, calls, user: userEvent.setup() };
}

const section = (name: string) => within(screen.getByRole("region", { name }));

test("without a person the page leads to sign-in", async () => {
  serve({});
  renderWith(newSession(), <AccountPage />);
  await waitFor(() => expect(location.pathname).toBe("/sign-in"));
});

test("a session that ended elsewhere leads to sign-in", async () => {
  const { session } = await open({
    accounts: {
      getAccount: () => {
        throw failing("SESSION_REVOKED");
      },
    },
  });
  await waitFor(() => expect(location.pathname).toBe("/sign-in"));
  expect(session.lastEnd).toBe("ENDED");
});

test("signing out ends the session here, also without an answer", async () => {
  let isDown = false;
  const { session, user } = await open({}, () => isDown);
  await screen.findByText("ada@example.org", { exact: false });
  isDown = true;
  await user.click(screen.getByRole("button", { name: "Sign out" }));
  await waitFor(() => expect(location.pathname).toBe("/sign-in"));
  expect(session.lastEnd).toBe("SIGNED_OUT");
});

test("missing consents are asked for, granted, and then the whole page is there", async () => {
  const granted: unknown[] = [];
  const { user, calls } = await open({
    accounts: {
      grantConsent: ({ consent, requestId }) => {
        granted.push([consent?.document, consent?.documentVersion, requestId.length]);
        return {};
      },
    },
    sessions: { signIn: () => tokens([terms]), refreshSession: () => tokens() },
  });
  expect(screen.queryByRole("region", { name: "Goals" })).not.toBeInTheDocument();
  expect(screen.getByRole("region", { name: "Export" })).toBeInTheDocument();
  expect(screen.getByRole("region", { name: "Delete the account" })).toBeInTheDocument();
  expect(calls.map(({ method }) => method)).not.toContain("GetAccount");
  await user.click(screen.getByRole("button", { name: "Accept and go on" }));
  expect(await screen.findByText("“terms” is required.")).toBeInTheDocument();
  const choice = screen.getByRole("checkbox", { name: "I accept “terms”, version 2026-02" });
  await expectFocus(choice);
  await user.click(choice);
  await user.click(screen.getByRole("button", { name: "Accept and go on" }));
  expect(await screen.findByRole("region", { name: "Goals" })).toBeInTheDocument();
  expect(granted).toEqual([["terms", "2026-02", 36]]);
  await expectFocus(screen.getByRole("heading", { name: "Account" }));
  expect(screen.queryByRole("region", { name: "Your consent is needed" })).not.toBeInTheDocument();
});

test("consents that a later call asks for are asked for too", async () => {
  await open({
    accounts: {
      listAuditEvents: () => {
        throw failing("CONSENT_OUTDATED");
      },
    },
    sessions: { refreshSession: () => tokens([terms]) },
  });
  expect(await screen.findByRole("region", { name: "Your consent is needed" })).toBeInTheDocument();
});

test("goals are changed, based on the version that is shown", async () => {
  const updates: unknown[] = [];
  const { user } = await open({
    accounts: {
      updateAccount: ({ account: change, updateMask, expectedVersion }) => {
        updates.push([change?.goals, updateMask?.paths, expectedVersion]);
        return { account: { ...account, goals: change?.goals ?? [], version: expectedVersion + 1n } };
      },
    },
  });
  await user.click(await screen.findByRole("checkbox", { name: "Join activities" }));
  await user.click(screen.getByRole("button", { name: "Save the goals" }));
  expect(await screen.findByText("The goals are saved.")).toBeInTheDocument();
  await user.click(screen.getByRole("checkbox", { name: "Make friends" }));
  await user.click(screen.getByRole("button", { name: "Save the goals" }));
  await waitFor(() => expect(updates).toHaveLength(2));
  expect(updates).toEqual([
    [[Goal.MAKE_FRIENDS, Goal.JOIN_ACTIVITIES], ["goals"], 1n],
    [[Goal.JOIN_ACTIVITIES], ["goals"], 2n],
  ]);
});

test("no goal at all is refused without a call", async () => {
  const { user, calls } = await open();
  await user.click(await screen.findByRole("checkbox", { name: "Make friends" }));
  await user.click(screen.getByRole("button", { name: "Save the goals" }));
  expect(screen.getByText("At least one goal is required.")).toBeInTheDocument();
  expect(calls.map(({ method }) => method)).not.toContain("UpdateAccount");
});

test("goals that were changed elsewhere are shown as they are, and it is said", async () => {
  let current = account;
  const { user } = await open({
    accounts: {
      getAccount: () => ({ account: current }),
      updateAccount: () => {
        current = { ...account, goals: [Goal.DATING_SKILLS], version: 2n };
        throw failing("VERSION_CONFLICT");
      },
    },
  });
  await user.click(await screen.findByRole("checkbox", { name: "Join activities" }));
  await user.click(screen.getByRole("button", { name: "Save the goals" }));
  expect(await screen.findByText(/your choice was not saved/)).toBeInTheDocument();
  expect(screen.getByRole("checkbox", { name: "Improve dating skills" })).toBeChecked();
  expect(screen.getByRole("checkbox", { name: "Join activities" })).not.toBeChecked();
});

test("a choice that was saved without an answer is replaced by the next one", async () => {
  let current = account;
  let isLost = true;
  const { user } = await open({
    accounts: {
      getAccount: () => ({ account: current }),
      updateAccount: ({ account: change, expectedVersion }) => {
        if (expectedVersion !== current.version) {
          throw failing("VERSION_CONFLICT");
        }
        current = { ...account, goals: change?.goals ?? [], version: current.version + 1n };
        if (isLost) {
          isLost = false;
          throw failing("DEADLINE");
        }
        return { account: current };
      },
    },
  });
  await user.click(await screen.findByRole("checkbox", { name: "Join activities" }));
  const save = screen.getByRole("button", { name: "Save the goals" });
  await user.click(save);
  await findFailure("The service is busy or did not answer in time.");
  await user.click(screen.getByRole("checkbox", { name: "Improve dating skills" }));
  await user.click(save);
  expect(await screen.findByText("The goals are saved.")).toBeInTheDocument();
  expect(current.goals).toEqual([Goal.MAKE_FRIENDS, Goal.JOIN_ACTIVITIES, Goal.DATING_SKILLS]);
});

test("a choice without an answer does not hide that another tab changed the goals", async () => {
  let current = account;
  const updates: bigint[] = [];
  const { user } = await open({
    accounts: {
      getAccount: () => ({ account: current }),
      updateAccount: ({ expectedVersion }) => {
        updates.push(expectedVersion);
        if (updates.length === 1) {
          current = { ...account, goals: [Goal.DATING_SKILLS], version: 2n };
          throw failing("DEADLINE");
        }
        throw failing("VERSION_CONFLICT");
      },
    },
  });
  await user.click(await screen.findByRole("checkbox", { name: "Join activities" }));
  const save = screen.getByRole("button", { name: "Save the goals" });
  await user.click(save);
  await findFailure("The service is busy or did not answer in time.");
  await user.click(screen.getByRole("checkbox", { name: "Make friends" }));
  await user.click(save);
  await findFailure("your choice was not saved");
  expect(screen.getByRole("checkbox", { name: "Improve dating skills" })).toBeChecked();
  expect(updates).toEqual([1n, 1n]);
});

test("a changed password says how many sessions have ended", async () => {
  const { user } = await open({ accounts: { changePassword: () => ({ endedSessions: 1 }) } });
  const password = section("Password");
  await user.type(password.getByLabelText("Current password"), "kX9vQ2wZ-ada");
  await user.type(password.getByLabelText("New password"), "kX9vQ2wZ-new");
  await user.click(password.getByRole("button", { name: "Change the password" }));
  expect(await password.findByText(/One session was ended/)).toBeInTheDocument();
  expect(password.getByLabelText("Current password")).toHaveValue("");
});

test("a wrong password and violations are shown at their fields", async () => {
  let failure = failing("CREDENTIALS_INVALID");
  const { user } = await open({
    accounts: {
      changePassword: () => {
        throw failure;
      },
    },
  });
  const password = section("Password");
  await user.type(password.getByLabelText("Current password"), "wrong");
  await user.type(password.getByLabelText("New password"), "wrong");
  await user.click(password.getByRole("button", { name: "Change the password" }));
  await waitFor(() =>
    expect(password.getByLabelText("Current password")).toHaveAccessibleDescription("The password is wrong."),
  );
  await expectFocus(password.getByLabelText("Current password"));
  const description = "new_password must differ from current_password";
  failure = failing("PASSWORD_POLICY", {
    violations: [{ field: "new_password", reason: "SAME_AS_CURRENT", description }],
  });
  await user.click(password.getByRole("button", { name: "Change the password" }));
  await waitFor(() =>
    expect(password.getByLabelText("New password")).toHaveAccessibleDescription(expect.stringContaining(description)),
  );
});

test("sessions are listed by pages, this one is marked, and another one is ended", async () => {
  const revoked: string[] = [];
  const other = { id: "other", createTime: time(1) };
  const { user } = await open({
    sessions: {
      listSessions: ({ pageToken }) =>
        pageToken === ""
          ? { sessions: [{ id: SESSION_ID, current: true, createTime: time(2) }], nextPageToken: "next" }
          : { sessions: revoked.includes("other") ? [] : [other] },
      revokeSession: ({ sessionId }) => {
        revoked.push(sessionId);
        return {};
      },
    },
  });
  const sessions = section("Sessions");
  expect(await sessions.findByText("This session.")).toBeInTheDocument();
  expect(sessions.queryByRole("button", { name: /^End this session/ })).not.toBeInTheDocument();
  await user.click(sessions.getByRole("button", { name: "More sessions" }));
  await user.click(await sessions.findByRole("button", { name: /^End this session/ }));
  expect(await sessions.findByText(/The session is ended/)).toBeInTheDocument();
  expect(revoked).toEqual(["other"]);
});

test("a page token that is not accepted any more is followed by the first page", async () => {
  let isRestored = false;
  const { user } = await open({
    accounts: {
      listAuditEvents: ({ pageToken }) => {
        if (pageToken !== "") {
          isRestored = true;
          throw failing("PAGE_TOKEN_INVALID");
        }
        return { events: [{ number: isRestored ? 2n : 1n, eventType: 1 }], nextPageToken: isRestored ? "" : "next" };
      },
    },
  });
  const log = section("Security log");
  await user.click(await log.findByRole("button", { name: "More events of the account" }));
  await user.click(await log.findByRole("button", { name: "Try again" }));
  await waitFor(() => expect(log.queryByRole("alert")).not.toBeInTheDocument());
  expect(log.getAllByText(/the account was created/)).toHaveLength(1);
});

test("a required consent is withdrawn, and asked for again", async () => {
  let isWithdrawn = false;
  const { user } = await open({
    accounts: {
      listConsents: () => ({
        consents: [{ id: "consent", ...terms, grantTime: time(0), ...(isWithdrawn && { withdrawTime: time(1) }) }],
      }),
      getConsentRequirements: () => ({ required: [terms], accepted: [{ document: "news", documentVersion: "1" }] }),
      withdrawConsent: ({ consentId }) => {
        expect(consentId).toBe("consent");
        isWithdrawn = true;
        return {};
      },
    },
    sessions: { refreshSession: () => tokens(isWithdrawn ? [terms] : []) },
  });
  const consents = section("Consents");
  expect(await consents.findByRole("button", { name: "Accept “news”, version 1" })).toBeInTheDocument();
  await user.click(consents.getByRole("button", { name: "Withdraw the consent to “terms”, version 2026-02" }));
  expect(await screen.findByRole("region", { name: "Your consent is needed" })).toBeInTheDocument();
  await waitFor(() => expect(consents.getByText(/withdrawn/, { selector: "li p" })).toBeInTheDocument());
  expect(consents.queryByRole("button", { name: /^Withdraw/ })).not.toBeInTheDocument();
});

test("a consent that was withdrawn elsewhere is granted by a new request", async () => {
  const requestIds: string[] = [];
  const { user } = await open({
    accounts: {
      // It is withdrawn elsewhere each time before the list is read.
      listConsents: () => ({ consents: [] }),
      getConsentRequirements: () => ({ required: [], accepted: [{ document: "news", documentVersion: "1" }] }),
      grantConsent: ({ requestId }) => {
        requestIds.push(requestId);
        return {};
      },
    },
  });
  const accept = () => section("Consents").findByRole("button", { name: "Accept “news”, version 1" });
  await user.click(await accept());
  await waitFor(() => expect(requestIds).toHaveLength(1));
  await screen.findByText("The consent to “news” is granted.");
  await user.click(await accept());
  await waitFor(() => expect(requestIds).toHaveLength(2));
  expect(requestIds[1]).not.toBe(requestIds[0]);
});

test("what can be granted is offered after the last page of the consents", async () => {
  const consent = (id: string, document: string) => ({ id, document, documentVersion: "1", grantTime: time(0) });
  const { user } = await open({
    accounts: {
      listConsents: ({ pageToken }) =>
        pageToken === ""
          ? { consents: [consent("1", "terms")], nextPageToken: "next" }
          : { consents: [consent("2", "news")] },
      getConsentRequirements: () => ({
        required: [],
        accepted: ["terms", "news", "survey"].map((document) => ({ document, documentVersion: "1" })),
      }),
    },
  });
  const consents = section("Consents");
  await consents.findByText(/“terms”, version 1: granted/);
  // “news” is in effect, which the second page says.
  await waitFor(() => expect(screen.queryByText("Loading…")).not.toBeInTheDocument());
  expect(consents.queryByRole("button", { name: /^Accept/ })).not.toBeInTheDocument();
  await user.click(consents.getByRole("button", { name: "More consents" }));
  expect(await consents.findByRole("button", { name: "Accept “survey”, version 1" })).toBeInTheDocument();
  expect(consents.getAllByRole("button", { name: /^Accept/ })).toHaveLength(1);
});

test("a list of consents that was not read offers none", async () => {
  await open({
    accounts: {
      listConsents: () => {
        throw failing("OVERLOADED");
      },
      getConsentRequirements: () => ({ required: [], accepted: [{ document: "news", documentVersion: "1" }] }),
    },
  });
  const consents = section("Consents");
  await consents.findByRole("alert");
  await waitFor(() => expect(screen.queryByText("Loading…")).not.toBeInTheDocument());
  expect(consents.queryByRole("button", { name: /^Accept/ })).not.toBeInTheDocument();
});

test("a section says that its service is away, and reads again", async () => {
  let isAway = true;
  const { user } = await open({
    people: {
      listAuditEvents: () => {
        if (isAway) {
          throw failing("DEPENDENCY_UNAVAILABLE");
        }
        return { events: [{ eventId: "1", eventType: 5 }] };
      },
    },
  });
  const log = section("Security log");
  expect(await log.findByRole("alert")).toHaveTextContent("The service is busy");
  isAway = false;
  await user.click(log.getByRole("button", { name: "Try again" }));
  expect(await log.findByText(/a share was created/)).toBeInTheDocument();
});

test("the export of both services is offered as one file", async () => {
  const { user } = await open({
    accounts: {
      async *exportAccount() {
        yield { account: { account }, resumeToken: "one" };
        yield { manifest: { userId: USER_ID, exported: [{ table: "identity.users", rows: 1n }] } };
      },
    },
    people: {
      async *exportData({ resumeToken }) {
        if (resumeToken === "") {
          yield { messages: [{ text: "hello" }], resumeToken: "one" };
          throw failing("DRAINING");
        }
        yield { manifest: { userId: USER_ID, exported: [{ table: "data.conversations", rows: 1n }] } };
      },
    },
  });
  const exports = section("Export");
  await user.click(exports.getByRole("button", { name: "Export everything" }));
  const link = await exports.findByRole("link", { name: "Save the export" }, { timeout: 3000 });
  expect(link).toHaveAttribute("download", expect.stringMatching(/^haven-export-\d{4}-\d\d-\d\d\.json$/));
  expect(exports.getByText(/The export is complete: 2 rows/)).toBeInTheDocument();
  const [file] = vi.mocked(URL.createObjectURL).mock.calls[0] as [Blob];
  const text = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsText(file);
  });
  expect(JSON.parse(String(text))).toMatchObject({
    account: [{ account: { account: { email: "ada@example.org" } } }, { manifest: { user_id: USER_ID } }],
    data: [{ messages: [{ text: "hello" }] }, { manifest: {} }],
  });
  expect(text).not.toContain("resume_token");
});

test("the file of an export has the day where the person is", async () => {
  vi.stubEnv("TZ", "Pacific/Kiritimati");
  vi.useFakeTimers({ toFake: ["Date"], now: new Date("2026-11-29T12:00:00Z") });
  try {
    const manifest = { manifest: { userId: USER_ID } };
    const { user } = await open({
      accounts: {
        async *exportAccount() {
          yield manifest;
        },
      },
      people: {
        async *exportData() {
          yield manifest;
        },
      },
    });
    await user.click(section("Export").getByRole("button", { name: "Export everything" }));
    const link = await section("Export").findByRole("link", { name: "Save the export" });
    expect(link).toHaveAttribute("download", "haven-export-2026-11-30.json");
  } finally {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  }
});

test("an export that is not complete is no file", async () => {
  const { user } = await open({
    accounts: {
      async *exportAccount() {
        yield { manifest: { userId: USER_ID, exported: [{ table: "identity.users", rows: 1n }] } };
      },
    },
    people: {
      async *exportData() {
        yield { manifest: { userId: USER_ID } };
      },
    },
  });
  const exports = section("Export");
  await user.click(exports.getByRole("button", { name: "Export everything" }));
  const message = await findFailure("identity.users: 0 rows arrived, and the service exported 1.", exports);
  await waitFor(() => expect(message).toHaveFocus());
  expect(exports.queryByRole("link")).not.toBeInTheDocument();
});

test("an export that is refused for a time says when it goes on", async () => {
  const { user } = await open({
    accounts: {
      // biome-ignore lint/correctness/useYield: it is refused before its first part
      async *exportAccount() {
        throw failing("RATE_LIMITED", { retryAfter: 600 });
      },
    },
  });
  const exports = section("Export");
  await user.click(exports.getByRole("button", { name: "Export everything" }));
  await waitFor(() => expect(exports.getByRole("timer")).toHaveTextContent("10:00 minutes"));
  expect(exports.getByRole("button", { name: "Try again" })).toBeDisabled();
});

test("a deletion needs the words and the right password, and ends with the receipt", async () => {
  const requestIds: string[] = [];
  const { user, session, calls } = await open({
    accounts: {
      deleteAccount: ({ password, requestId }) => {
        requestIds.push(requestId);
        if (password !== "kX9vQ2wZ-ada") {
          throw failing("CREDENTIALS_INVALID");
        }
        if (requestIds.length === 2) {
          throw failing("DEADLINE");
        }
        const erased = [{ table: "identity.users", rows: 1n }];
        return { deletion: { userId: USER_ID, state: 1, requestTime: time(0), erased } };
      },
    },
  });
  const deletion = section("Delete the account");
  const button = deletion.getByRole("button", { name: "Delete the account" });
  await user.type(deletion.getByLabelText("Password"), "wrong");
  await user.click(button);
  await waitFor(() => expect(deletion.getByLabelText("Confirmation")).toHaveFocus());
  expect(calls.map(({ method }) => method)).not.toContain("DeleteAccount");
  await user.type(deletion.getByLabelText("Confirmation"), "Delete my account");
  await user.click(button);
  await waitFor(() =>
    expect(deletion.getByLabelText("Password")).toHaveAccessibleDescription("The password is wrong."),
  );
  await user.clear(deletion.getByLabelText("Password"));
  await user.type(deletion.getByLabelText("Password"), "kX9vQ2wZ-ada");
  await user.click(button);
  await findFailure("The service is busy or did not answer in time.", deletion);
  await user.click(button);
  expect(await screen.findByRole("heading", { name: "The account is deleted" })).toBeInTheDocument();
  expect(requestIds[2]).toBe(requestIds[1]);
  expect(requestIds[1]).not.toBe(requestIds[0]);
  expect(screen.getByText(/Pending/)).toBeInTheDocument();
  expect(screen.getByRole("row", { name: "identity.users 1" })).toBeInTheDocument();
  expect(session.signedIn).toBeUndefined();
  expect(session.lastEnd).toBe("DELETED");
  expect(location.pathname).toBe("/account");
});

/** Fills in the deletion, and clicks. */
async function clickDelete(user: UserEvent) {
  const deletion = section("Delete the account");
  await user.type(deletion.getByLabelText("Password"), "kX9vQ2wZ-ada");
  await user.type(deletion.getByLabelText("Confirmation"), "delete my account");
  await user.click(deletion.getByRole("button", { name: "Delete the account" }));
}

test("a deletion without an answer closes the rest of the page until it has one", async () => {
  const requestIds: string[] = [];
  const { user, session } = await open({
    accounts: {
      deleteAccount: ({ requestId }) => {
        requestIds.push(requestId);
        if (requestIds.length < 3) {
          // Of the second attempt it is known that it was not applied, and of the first one still not.
          throw failing(["DEADLINE", "RATE_LIMITED"][requestIds.length - 1] ?? "");
        }
        return { deletion: { userId: USER_ID, state: 2 } };
      },
    },
  });
  await screen.findByText("ada@example.org", { exact: false });
  const click = () => user.click(screen.getByRole("button", { name: "Delete the account" }));
  await clickDelete(user);
  await waitFor(() => expect(screen.getAllByRole("region")).toHaveLength(1));
  await expectFocus(await findFailure("nothing is done twice"));
  expect(screen.getByText(/is closed until the deletion has an answer/)).toBeInTheDocument();
  await click();
  await findFailure("There were too many attempts.");
  expect(screen.getAllByRole("region")).toHaveLength(1);
  await click();
  expect(await screen.findByRole("heading", { name: "The account is deleted" })).toBeInTheDocument();
  expect(new Set(requestIds).size).toBe(1);
  expect(session.lastEnd).toBe("DELETED");
});

test("a wrong password after a deletion without an answer opens the page again", async () => {
  let reason = "DEADLINE";
  const { user } = await open({
    accounts: {
      deleteAccount: () => {
        throw failing(reason);
      },
    },
  });
  await clickDelete(user);
  await waitFor(() => expect(screen.getAllByRole("region")).toHaveLength(1));
  reason = "CREDENTIALS_INVALID";
  await user.click(screen.getByRole("button", { name: "Delete the account" }));
  expect(await screen.findByRole("region", { name: "Export" })).toBeInTheDocument();
  expect(screen.getByLabelText("Confirmation")).toHaveValue("delete my account");
});

test("a call that finds no account while it is deleted does not take the receipt away", async () => {
  let answer = () => {};
  const { user, session } = await open({
    accounts: {
      deleteAccount: async () => {
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        return { deletion: { userId: USER_ID, state: 2 } };
      },
      updateAccount: () => {
        throw failing("SESSION_REVOKED");
      },
    },
  });
  await screen.findByText("ada@example.org", { exact: false });
  await clickDelete(user);
  await user.click(screen.getByRole("button", { name: "Save the goals" }));
  await waitFor(() => expect(session.signedIn).toBeUndefined());
  expect(location.pathname).toBe("/account");
  answer();
  expect(await screen.findByRole("heading", { name: "The account is deleted" })).toBeInTheDocument();
  expect(await screen.findByRole("link", { name: "Save the receipt" })).toBeInTheDocument();
  expect(location.pathname).toBe("/account");
});

test("a session that ends before the deletion has an answer is said, and does not lead away", async () => {
  let reason = "DEADLINE";
  const { user, session } = await open({
    accounts: {
      deleteAccount: () => {
        throw failing(reason);
      },
    },
  });
  await clickDelete(user);
  await findFailure("nothing is done twice");
  reason = "TOKEN_INVALID";
  await user.click(screen.getByRole("button", { name: "Delete the account" }));
  await expectFocus(await screen.findByRole("heading", { name: "Is the account deleted?" }));
  expect(session.signedIn).toBeUndefined();
  expect(location.pathname).toBe("/account");
});

test("an account that is gone at the next attempt is deleted, without a receipt", async () => {
  const { user, session } = await open({
    accounts: {
      deleteAccount: () => {
        throw failing("ACCOUNT_ERASED");
      },
    },
  });
  await clickDelete(user);
  expect(await screen.findByRole("heading", { name: "The account is deleted" })).toBeInTheDocument();
  expect(screen.getByText("The answer with the receipt was lost.")).toBeInTheDocument();
  expect(session.lastEnd).toBe("DELETED");
});

test("a person who signs out before the deletion has an answer leaves", async () => {
  const { user } = await open({
    accounts: {
      deleteAccount: () => {
        throw failing("DEADLINE");
      },
    },
    sessions: { signOut: () => ({}) },
  });
  await clickDelete(user);
  await findFailure("nothing is done twice");
  await user.click(screen.getByRole("button", { name: "Sign out" }));
  await waitFor(() => expect(location.pathname).toBe("/sign-in"));
});
