import { readFile } from "node:fs/promises";
import type { Locator } from "@playwright/test";
import { checkPage, checkPart, expect, type Page, type Person, test } from "./harness/test";

const region = (page: Page, name: string) => page.getByRole("region", { name });
const main = (page: Page) => page.getByRole("main");
/** Why a call failed. In a form it gets the focus, and elsewhere it is an alert. */
const failure = (part: Page | Locator) => part.locator("[data-failure] > .alert");
const heading = (page: Page, name: string) => page.getByRole("heading", { name, level: 1 });

async function fillSignIn(page: Page, { email, password }: Pick<Person, "email" | "password">): Promise<void> {
  await page.getByLabel("E-mail address", { exact: true }).fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Signs in, and waits for the account. */
async function signIn(page: Page, person: Pick<Person, "email" | "password">): Promise<void> {
  await page.goto("/sign-in");
  await fillSignIn(page, person);
  await expect(heading(page, "Account")).toBeVisible();
}

/** The account page has read everything. */
async function expectLoaded(page: Page): Promise<void> {
  await expect(page.getByText("Account ID")).toBeVisible();
  await expect(page.getByText("This session.")).toBeVisible();
  await expect(page.getByText("the account was created")).toBeVisible();
  await expect(page.getByText("Loading…")).toHaveCount(0);
}

/** Waits for the request of an RPC, and returns what the page has sent until then. */
function callsOf(page: Page): string[] {
  const calls: string[] = [];
  page.on("request", (request) => {
    if (request.method() === "POST") {
      calls.push(new URL(request.url()).pathname.split("/").at(-1) ?? "");
    }
  });
  return calls;
}

/** Lets the other forms of the account page show their errors too: one check sees all. */
async function showErrors(page: Page, haven: { secret(value: string): string }): Promise<void> {
  for (const box of await page.getByRole("group", { name: "What you work on" }).getByRole("checkbox").all()) {
    await box.uncheck();
  }
  await page.getByRole("button", { name: "Save the goals" }).click();
  await expect(page.getByText("At least one goal is required.")).toBeVisible();
  const password = region(page, "Password");
  await password.getByLabel("Current password").fill(newPassword(haven));
  await password.getByLabel("New password", { exact: true }).fill(newPassword(haven));
  await password.getByRole("button", { name: "Change the password" }).click();
  await expect(password.getByText("The password is wrong.")).toBeVisible();
}

const newPassword = (haven: { secret(value: string): string }) =>
  haven.secret(`Reef-${crypto.randomUUID().slice(0, 8)}-under-9-bridges`);

test("a person signs in with the keyboard alone, and signs out", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await page.goto("/account");
  await expect(page).toHaveURL("/sign-in");
  await expect(heading(page, "Sign in")).toBeVisible();
  await checkPage(page, "sign-in-empty");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByLabel("E-mail address", { exact: true })).toBeFocused();
  await checkPart(main(page), "sign-in-local-errors");
  await page.keyboard.type(ada.email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(ada.password);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL("/account");
  await expectLoaded(page);
  await expect(page).toHaveTitle("Account · Haven");
  await expect(page.getByText(`${ada.email}, not verified yet`)).toBeVisible();
  await checkPage(page, "account");
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page).toHaveURL("/sign-in");
  await expect(page.getByText("You are signed out.")).toBeVisible();
  await checkPart(main(page), "signed-out");
});

test("an unknown address and a wrong password are the same refusal", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await page.goto("/sign-in");
  const alert = failure(page);
  await fillSignIn(page, { email: ada.email, password: newPassword(haven) });
  await expect(alert).toHaveText("The e-mail address or the password is wrong.");
  await checkPart(main(page), "sign-in-wrong");
  await page
    .getByLabel("E-mail address", { exact: true })
    .fill(haven.secret(`unknown-${crypto.randomUUID()}@example.org`));
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(alert).toHaveText("The e-mail address or the password is wrong.");
});

test("after too many attempts the page counts down until the next one", async ({ page, haven }) => {
  test.slow();
  const ada = await haven.signUp();
  await haven.identity.restart({ SIGN_IN_LIMITS: "network=1000/1m,email=2/20s,service=1000/1m" });
  await page.goto("/sign-in");
  const alert = failure(page);
  const button = page.getByRole("button", { name: "Sign in" });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const answer = page.waitForResponse((response) => response.url().endsWith("/SignIn"));
    await fillSignIn(page, { email: ada.email, password: newPassword(haven) });
    await answer;
    await expect(alert).toHaveText("The e-mail address or the password is wrong.");
  }
  await fillSignIn(page, ada);
  await expect(alert).toHaveText("There were too many attempts.");
  await expect(page.getByRole("timer")).toHaveText(/Try again in \d+ seconds\./);
  await expect(button).toBeDisabled();
  await checkPart(main(page), "sign-in-limited");
  await expect(button).toBeEnabled({ timeout: 30_000 });
  await button.click();
  await expect(heading(page, "Account")).toBeVisible();
});

test("an answer that is lost starts no second session", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await page.goto("/sign-in");
  const lost = await haven.identity.cutAnswers("SignIn", 1);
  await fillSignIn(page, ada);
  await expect(failure(page)).toContainText("The service cannot be reached.");
  expect(lost()).toBe(1);
  await checkPart(main(page), "sign-in-unreachable");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expectLoaded(page);
  // The other one is that of the sign-up.
  await expect(region(page, "Sessions").getByRole("listitem")).toHaveCount(2);
});

test("a service that is down is said, and works when it is back", async ({ page, haven }) => {
  test.slow();
  const ada = await haven.signUp();
  await page.goto("/sign-in");
  await haven.identity.stop();
  await fillSignIn(page, ada);
  await expect(failure(page)).toContainText("The service cannot be reached.");
  await haven.identity.start();
  await haven.data.stop();
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(heading(page, "Account")).toBeVisible();
  const log = region(page, "Security log");
  await expect(failure(log)).toContainText("The service cannot be reached.");
  await expect(page.getByText("Account ID")).toBeVisible();
  await checkPart(log, "account-data-down");
  await haven.data.start();
  await log.getByRole("button", { name: "Try again" }).click();
  await expect(log.getByText("There are no events.")).toBeVisible();
  await expect(failure(log)).toHaveCount(0);
});

test("a lost password is reset by the link, which works once and is used by no scanner", async ({ page, haven }) => {
  const ada = await haven.signUp();
  const token = await haven.passwordReset(ada.email);
  const calls = callsOf(page);
  await page.goto(`/reset-password#${token}`);
  await expect(page).toHaveURL("/reset-password");
  await expect(page.getByText("The password must have a digit")).toBeVisible();
  await checkPage(page, "reset-password");
  expect(calls).not.toContain("ResetPassword");
  const field = page.getByLabel("New password", { exact: true });
  const button = page.getByRole("button", { name: "Set the password" });
  await field.fill("Password1");
  await button.click();
  await expect(page.locator(".errors").getByText("The password must not be easy to guess")).toBeVisible();
  await expect(field).toBeFocused();
  await checkPart(main(page), "reset-password-refused");
  const password = newPassword(haven);
  await field.fill(password);
  // The answer is lost, and the retry is not refused as a second use.
  const lost = await haven.identity.cutAnswers("ResetPassword", 1);
  await button.click();
  await expect(failure(page)).toContainText("The service cannot be reached.");
  expect(lost()).toBe(1);
  await button.click();
  await expect(page.getByText("The new password is set. One session was ended.")).toBeVisible();
  await checkPart(main(page), "reset-password-done");
  await page.getByRole("link", { name: "Sign in with the new password" }).click();
  await fillSignIn(page, ada);
  await expect(failure(page)).toHaveText("The e-mail address or the password is wrong.");
  await fillSignIn(page, { email: ada.email, password });
  await expect(heading(page, "Account")).toBeVisible();
  await page.goto(`/reset-password#${token}`);
  await field.fill(newPassword(haven));
  await button.click();
  await expect(failure(page)).toHaveText(
    "This link cannot be used: it is wrong, expired, or was used before. Ask for another one.",
  );
  await checkPart(main(page), "reset-password-used");
});

test("links of e-mails that are opened without a token say where they come from", async ({ page }) => {
  for (const path of ["/reset-password", "/verify-email", "/confirm-email", "/undo-email"]) {
    await page.goto(path);
    await expect(page.getByText("Open this page by the link in the e-mail.")).toBeVisible();
  }
  await checkPage(page, "link-without-token");
});

test("an address is verified, without which sign-in can be refused", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await haven.identity.restart({ REQUIRE_VERIFIED_EMAIL: "on" });
  await page.goto("/sign-in");
  await fillSignIn(page, ada);
  await expect(failure(page)).toContainText("The e-mail address is not verified yet.");
  await checkPart(main(page), "sign-in-not-verified");
  const token = await haven.emailVerification(ada);
  const calls = callsOf(page);
  await page.goto(`/verify-email#${token}`);
  await expect(page).toHaveURL("/verify-email");
  await checkPart(main(page), "verify-email");
  expect(calls).not.toContain("VerifyEmail");
  const lost = await haven.identity.cutAnswers("VerifyEmail", 1);
  await page.getByRole("button", { name: "Verify the address" }).click();
  await expect(failure(page)).toContainText("The service cannot be reached.");
  expect(lost()).toBe(1);
  await page.getByRole("button", { name: "Verify the address" }).click();
  await expect(page.getByText("The address is verified since")).toBeVisible();
  await checkPart(main(page), "verify-email-done");
  await page.getByRole("link", { name: "Go on to the account" }).click();
  await fillSignIn(page, ada);
  await expect(page.getByText(`${ada.email}, verified on`)).toBeVisible();
});

test("an address is changed, taken back, and the password is new at once", async ({ page, haven }) => {
  test.slow();
  const ada = await haven.signUp();
  const email = `ada-${crypto.randomUUID()}@example.org`;
  const { token, undoToken } = await haven.emailChange(ada, email);
  await page.goto(`/confirm-email#${token}`);
  await expect(page).toHaveURL("/confirm-email");
  await checkPage(page, "confirm-email");
  await page.getByRole("button", { name: "Change the address" }).click();
  await expect(page.getByText("The account has the new address since")).toBeVisible();
  await checkPart(main(page), "confirm-email-done");
  await signIn(page, { email, password: ada.password });
  await expect(page.getByText(`${email}, verified on`)).toBeVisible();

  const tab = await page.context().newPage();
  await tab.goto(`/undo-email#${undoToken}`);
  await expect(tab).toHaveURL("/undo-email");
  await checkPage(tab, "undo-email");
  await tab.getByRole("button", { name: "Take the change back" }).click();
  await expect(tab.getByText("The account has its old address again since")).toContainText("2 sessions were ended.");
  await checkPart(main(tab), "undo-email-done");
  const password = newPassword(haven);
  await tab.getByLabel("New password", { exact: true }).fill(password);
  await tab.getByRole("button", { name: "Set the password" }).click();
  await expect(tab.getByText("The new password is set.")).toBeVisible();
  await tab.getByRole("link", { name: "Sign in with the new password" }).click();
  await fillSignIn(tab, { email: ada.email, password });
  await expect(heading(tab, "Account")).toBeVisible();
  await expect(tab.getByText(`${ada.email}, verified on`)).toBeVisible();

  // The first tab is told.
  await page.getByRole("button", { name: "Save the goals" }).click();
  await expect(page).toHaveURL("/sign-in");
  await expect(page.getByText("Your session has ended")).toBeVisible();

  await tab.goto(`/undo-email#${undoToken}`);
  await tab.getByRole("button", { name: "Take the change back" }).click();
  await expect(failure(tab)).toContainText("This link cannot be used");
});

test("a session is ended from another tab, which is told and comes back after sign-in", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await signIn(page, ada);
  const tab = await page.context().newPage();
  await signIn(tab, ada);
  const sessions = region(tab, "Sessions");
  // The first two are those of the tabs, the newest first; the third one is that of the sign-up.
  await expect(sessions.getByRole("listitem")).toHaveCount(3);
  await expect(sessions.getByText("This session.")).toHaveCount(1);
  await sessions
    .getByRole("button", { name: /^End this session/ })
    .first()
    .click();
  await expect(sessions.getByText("The session is ended.")).toBeVisible();
  await expect(sessions.getByRole("listitem")).toHaveCount(2);

  await page.getByRole("button", { name: "Save the goals" }).click();
  await expect(page).toHaveURL("/sign-in");
  await expect(page.getByText("Your session has ended")).toBeVisible();
  await checkPart(main(page), "sign-in-session-ended");
  await fillSignIn(page, ada);
  await expect(page).toHaveURL("/account");
  await expectLoaded(page);
});

test("goals that another tab has changed are not overwritten", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await signIn(page, ada);
  await expectLoaded(page);
  const tab = await page.context().newPage();
  await signIn(tab, ada);
  await tab.getByRole("checkbox", { name: "Join activities" }).check();
  await tab.getByRole("button", { name: "Save the goals" }).click();
  await expect(tab.getByText("The goals are saved.")).toBeVisible();

  await page.getByRole("checkbox", { name: "Improve dating skills" }).check();
  await page.getByRole("button", { name: "Save the goals" }).click();
  await expect(page.getByText("your choice was not saved")).toBeVisible();
  await expect(page.getByRole("checkbox", { name: "Join activities" })).toBeChecked();
  await expect(page.getByRole("checkbox", { name: "Improve dating skills" })).not.toBeChecked();
  await checkPart(region(page, "Goals"), "account-goals-conflict");
  await page.getByRole("checkbox", { name: "Improve dating skills" }).check();
  const lost = await haven.identity.cutAnswers("UpdateAccount", 1);
  await page.getByRole("button", { name: "Save the goals" }).click();
  await expect(failure(region(page, "Goals"))).toContainText("The service cannot be reached.");
  expect(lost()).toBe(1);
  await page.getByRole("button", { name: "Save the goals" }).click();
  await expect(page.getByText("The goals are saved.")).toBeVisible();
});

test("a changed password ends the other sessions, and says so", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await signIn(page, ada);
  const tab = await page.context().newPage();
  await signIn(tab, ada);
  const section = region(tab, "Password");
  const current = section.getByLabel("Current password");
  const next = section.getByLabel("New password", { exact: true });
  const button = section.getByRole("button", { name: "Change the password" });
  const password = newPassword(haven);
  await current.fill(newPassword(haven));
  await next.fill(password);
  await button.click();
  await expect(current).toHaveAccessibleDescription("The password is wrong.");
  await expect(current).toBeFocused();
  await current.fill(ada.password);
  await next.fill(ada.password);
  await button.click();
  await expect(section.locator(".errors")).toContainText("new_password must differ from current_password");
  await next.fill(password);
  const lost = await haven.identity.cutAnswers("ChangePassword", 1);
  await button.click();
  await expect(failure(section)).toContainText("The service cannot be reached.");
  expect(lost()).toBe(1);
  await button.click();
  await expect(section.getByText("The password is changed. 2 sessions were ended.")).toBeVisible();
  await checkPart(section, "account-password-changed");

  await page.getByRole("button", { name: "Save the goals" }).click();
  await expect(page).toHaveURL("/sign-in");
  await fillSignIn(page, ada);
  await expect(failure(page)).toHaveText("The e-mail address or the password is wrong.");
  await fillSignIn(page, { email: ada.email, password });
  await expect(heading(page, "Account")).toBeVisible();
});

test("documents that change in between are asked for, and most of the page is closed until then", async ({
  page,
  haven,
}) => {
  test.slow();
  const ada = await haven.signUp();
  await page.clock.install();
  await signIn(page, ada);
  await expectLoaded(page);
  const settings = { REQUIRED_CONSENTS: "terms=2026-02,privacy=2026-01", CONSENT_ENFORCEMENT: "on" };
  await haven.identity.restart(settings);
  await haven.data.restart({ CONSENT_ENFORCEMENT: "on" });

  // The next access token states what is missing.
  await page.clock.fastForward("14:30");
  await page.getByRole("button", { name: "Save the goals" }).click();
  const request = region(page, "Your consent is needed");
  await expect(request).toBeVisible();
  await expect(region(page, "Goals")).toHaveCount(0);
  await expect(region(page, "Export")).toBeVisible();
  await expect(region(page, "Delete the account")).toBeVisible();
  await checkPage(page, "account-consents-missing");
  await request.getByRole("button", { name: "Accept and go on" }).click();
  await expect(request.getByText("“terms” is required.")).toBeVisible();
  await request.getByRole("checkbox", { name: "I accept “terms”, version 2026-02" }).check();
  await request.getByRole("button", { name: "Accept and go on" }).click();
  await expect(region(page, "Goals")).toBeVisible();
  await expectLoaded(page);

  // A sign-in asks too, and so does a withdrawal.
  const consents = region(page, "Consents");
  await expect(consents.getByRole("listitem")).toHaveCount(3);
  await consents.getByRole("button", { name: "Withdraw the consent to “privacy”, version 2026-01" }).click();
  await expect(request.getByRole("checkbox", { name: "I accept “privacy”, version 2026-01" })).toBeVisible();
  await expect(consents.getByText("“privacy”, version 2026-01: granted")).toContainText(", withdrawn");
  await page.getByRole("button", { name: "Sign out" }).click();
  await fillSignIn(page, ada);
  await expect(request).toBeVisible();
  await request.getByRole("checkbox").check();
  await request.getByRole("button", { name: "Accept and go on" }).click();
  await expect(region(page, "Goals")).toBeVisible();
});

test("the export has what the person made, as one file that is complete after a broken stream", async ({
  page,
  haven,
}) => {
  const share = await haven.share({ content: "a note for the doctor" });
  const ada = share.person;
  await signIn(page, ada);
  await expectLoaded(page);
  const section = region(page, "Export");
  await page.route(
    (url) => url.pathname.endsWith("/ExportAccount"),
    async (route) => {
      // The first part is lost, and the stream goes on.
      const answer = await route.fetch();
      const body = await answer.body();
      await route.fulfill({ response: answer, body: body.subarray(5 + body.readUInt32BE(1)) });
    },
    { times: 1 },
  );
  await section.getByRole("button", { name: "Export everything" }).click();
  await expect(section.getByText("identity.users: 0 rows arrived, and the service exported 1.")).toBeVisible();
  await expect(section.getByRole("link")).toHaveCount(0);
  await checkPart(section, "account-export-incomplete");

  let cut = 0;
  await page.route(
    (url) => url.pathname.endsWith("/ExportAccount"),
    async (route) => {
      // The first part arrives, and then the connection breaks.
      const answer = await route.fetch();
      const body = await answer.body();
      cut = 5 + body.readUInt32BE(1);
      expect(cut).toBeLessThan(body.length);
      await route.fulfill({ response: answer, body: body.subarray(0, cut) });
    },
    { times: 1 },
  );
  const calls = callsOf(page);
  await section.getByRole("button", { name: "Export again" }).click();
  const link = section.getByRole("link", { name: "Save the export" });
  await expect(link).toBeVisible();
  expect(cut).toBeGreaterThan(5);
  expect(calls.filter((rpc) => rpc === "ExportAccount")).toHaveLength(2);
  await checkPart(section, "account-exported");
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  expect(download.suggestedFilename()).toMatch(/^haven-export-\d{4}-\d\d-\d\d\.json$/);
  const text = await readFile(await download.path(), "utf8");
  expect(text).not.toContain("resume_token");
  const file = JSON.parse(text);
  expect(file).toMatchObject({ format: "haven.export", format_version: 1 });

  const rows = (parts: Record<string, unknown[]>[], field: string) => parts.flatMap((part) => part[field] ?? []);
  const manifest = (parts: { manifest?: { exported: { table: string; rows?: string }[] } }[]) =>
    new Map(parts.at(-1)?.manifest?.exported.map(({ table, rows: count }) => [table, Number(count ?? 0)]));
  expect(file.account[0].account.account).toMatchObject({ id: ada.userId, email: ada.email });
  const documents = rows(file.account, "consents").map((row) => (row as { document: string }).document);
  expect(documents.sort()).toEqual(["privacy", "terms"]);
  expect(rows(file.data, "shares")).toMatchObject([{ share: { share_id: share.shareId } }]);
  for (const [field, table] of [
    ["consents", "identity.consents"],
    ["sessions", "identity.sessions"],
    ["audit_events", "identity.security_audit_log"],
  ] as const) {
    expect(rows(file.account, field), table).toHaveLength(manifest(file.account).get(table) ?? -1);
  }
  for (const [field, table] of [
    ["devices", "data.device_key"],
    ["shares", "data.healthcare_share"],
    ["audit_events", "data.security_audit_log"],
  ] as const) {
    expect(rows(file.data, field), table).toHaveLength(manifest(file.data).get(table) ?? -1);
  }
  expect(manifest(file.data).get("data.healthcare_share")).toBe(1);
});

test("an export that a service cannot finish is continued by the person", async ({ page, haven }) => {
  test.slow();
  const ada = await haven.signUp();
  await page.clock.install();
  await signIn(page, ada);
  await expectLoaded(page);
  await haven.data.stop();
  const section = region(page, "Export");
  await section.getByRole("button", { name: "Export everything" }).click();
  await expect(section.getByText("The connection broke.")).toBeVisible();
  await checkPart(section, "account-exporting");
  // Without the pauses between the attempts.
  await expect(async () => {
    await page.clock.fastForward(8_000);
    await expect(failure(section)).toContainText("What has arrived is kept here", { timeout: 500 });
  }).toPass();
  await checkPart(section, "account-export-failed");
  await haven.data.start();
  const calls = callsOf(page);
  await section.getByRole("button", { name: "Try again" }).click();
  await expect(section.getByText("The export is complete:")).toBeVisible();
  expect(calls).not.toContain("ExportAccount");
});

test("a deletion is confirmed, has a receipt, and no sign-in follows it", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await signIn(page, ada);
  const section = region(page, "Delete the account");
  const password = section.getByLabel("Password", { exact: true });
  const confirmation = section.getByLabel("Confirmation");
  const button = section.getByRole("button", { name: "Delete the account" });
  await button.click();
  await expect(password).toBeFocused();
  await password.fill(newPassword(haven));
  await button.click();
  await expect(confirmation).toBeFocused();
  await expect(section.getByText("The words “delete my account” are required.")).toBeVisible();
  await showErrors(page, haven);
  await checkPage(page, "account-errors");
  await confirmation.fill("delete my account");
  await button.click();
  await expect(password).toHaveAccessibleDescription("The password is wrong.");
  expect(await haven.accounts(ada.email)).toBe(1);
  await password.fill(ada.password);
  // The answer is lost: the retry gets the same receipt.
  const lost = await haven.identity.cutAnswers("DeleteAccount", 1);
  await button.click();
  await expect(failure(section)).toContainText("The service cannot be reached.");
  expect(lost()).toBe(1);
  // No other call can find that the account is gone, and end the session.
  await expect(main(page).getByRole("region")).toHaveCount(1);
  await checkPart(main(page), "account-deletion-undecided");
  await button.click();
  await expect(heading(page, "The account is deleted")).toBeVisible();
  await expect(page.getByText(ada.userId)).toBeVisible();
  await expect(page.getByRole("row", { name: "identity.users 1" })).toBeVisible();
  await checkPage(page, "account-deleted");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: "Save the receipt" }).click(),
  ]);
  expect(JSON.parse(await readFile(await download.path(), "utf8"))).toMatchObject({ user_id: ada.userId });
  expect(await haven.accounts(ada.email)).toBe(0);
  await page.getByRole("link", { name: "Sign in" }).click();
  await expect(heading(page, "Sign in")).toBeVisible();
  await fillSignIn(page, ada);
  await expect(failure(page)).toHaveText("The e-mail address or the password is wrong.");
});

test("a deletion without an answer stays open when the session ends", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await page.clock.install();
  await signIn(page, ada);
  const section = region(page, "Delete the account");
  await section.getByLabel("Password", { exact: true }).fill(ada.password);
  await section.getByLabel("Confirmation").fill("delete my account");
  const lost = await haven.identity.cutAnswers("DeleteAccount", 1);
  const button = section.getByRole("button", { name: "Delete the account" });
  await button.click();
  await expect(failure(section)).toContainText("The service cannot be reached.");
  expect(lost()).toBe(1);
  // The tokens of the account cannot be exchanged any more.
  await page.clock.fastForward("14:30");
  await button.click();
  await expect(heading(page, "Is the account deleted?")).toBeVisible();
  await checkPart(main(page), "account-deletion-unknown");
  expect(await haven.accounts(ada.email)).toBe(0);
});
