import { readFileSync } from "node:fs";
import { checkPage, expect, type Page, test } from "./harness/test";

interface Case {
  password: string;
  email?: string;
  broken: string[];
  server_only?: string[];
}

/** The table of cases that the form's schema and the server's policy are held to. */
const table: { passwords: Case[] } = JSON.parse(
  readFileSync(new URL("../../../services/identity/src/domain/sign_up_cases.json", import.meta.url), "utf8"),
);

type Haven = { secret(value: string): string };

interface Person {
  email: string;
  password: string;
}

/** A person without an account. What the form gets of them is a secret for the guard of the test. */
function invent(haven: Haven, { email, password }: Partial<Person> = {}): Person {
  const number = crypto.randomUUID().slice(0, 8);
  return {
    email: haven.secret(email ?? `ada-${number}@example.org`),
    password: haven.secret(password ?? `Kite-${number}-over-7-harbours`),
  };
}

const emailInput = (page: Page) => page.getByLabel("E-mail address");
const passwordInput = (page: Page) => page.getByLabel("Password", { exact: true });
const submit = (page: Page) => page.getByRole("button", { name: "Create account" });
const consent = (page: Page, document: string) => page.getByRole("checkbox", { name: `“${document}”` });
const rule = (page: Page, name: string) => page.locator(`[data-rule=${name}]`);

async function open(page: Page): Promise<void> {
  await page.goto("/");
  await expect(consent(page, "terms")).toBeVisible();
}

async function fillIn(page: Page, { email, password }: Person): Promise<void> {
  await emailInput(page).fill(email);
  await passwordInput(page).fill(password);
  await page.getByLabel("Make friends").check();
  await consent(page, "terms").check();
  await consent(page, "privacy").check();
}

/** What was typed is in the form. */
async function expectKept(page: Page, { email, password }: Person): Promise<void> {
  await expect(emailInput(page)).toHaveValue(email);
  await expect(passwordInput(page)).toHaveValue(password);
  await expect(page.getByLabel("Make friends")).toBeChecked();
}

test("a person signs up with the keyboard alone, is signed in, and is at the account without a reload", async ({
  page,
  haven,
}) => {
  const ada = invent(haven);
  await open(page);
  await expect(page).toHaveTitle("Create an account · Haven");
  await checkPage(page, "sign-up-empty");
  const entries = await page.evaluate(() => Object.assign(window, { isFirstLoad: true }).history.length);
  await emailInput(page).focus();
  await page.keyboard.type(ada.email);
  await page.keyboard.press("Tab");
  await expect(passwordInput(page)).toBeFocused();
  await page.keyboard.type(ada.password);
  await expect(page.getByText("The password meets all rules.")).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Show password" })).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await expect(page.getByLabel("Build self-confidence")).toBeChecked();
  for (const name of ["terms", "privacy"]) {
    // Tab by Tab, as a person does.
    while (!(await consent(page, name).evaluate((box) => box === document.activeElement))) {
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Space");
    await expect(consent(page, name)).toBeChecked();
  }
  await checkPage(page, "sign-up-filled-in");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL("/account");
  expect(await page.evaluate(() => "isFirstLoad" in window)).toBe(true);
  expect(await haven.accounts(ada.email)).toBe(1);
  expect(await page.content()).not.toContain(ada.password);
  // The way back does not lead to the form, for which a person who is signed in has no use.
  expect(await page.evaluate(() => history.length)).toBe(entries);
});

test("every rule of passwords is shown as met or not while a person types, as the server decides", async ({ page }) => {
  test.slow();
  await open(page);
  const names = await page.locator("[data-rule]").evaluateAll((rules) => rules.map((one) => one.dataset?.rule ?? ""));
  expect(names).toHaveLength(7);
  const isUnmet = new Set<string>();
  for (const { password, email = "", broken, server_only = [] } of table.passwords) {
    await emailInput(page).fill(email);
    await passwordInput(page).fill(password);
    for (const name of broken) {
      await expect(rule(page, name), `${password} ${name}`).toHaveAttribute("data-state", "unmet");
    }
    if (password === "" || broken.includes("TOO_LONG")) {
      continue;
    }
    for (const name of names) {
      const state = [...broken, ...server_only].includes(name) ? "unmet" : "met";
      await expect(rule(page, name), `${password} ${name}`).toHaveAttribute("data-state", state);
      if (state === "unmet") {
        isUnmet.add(name);
      }
    }
  }
  expect([...isUnmet, "TOO_LONG"].sort()).toEqual([...names].sort());
});

test("everything that the page finds is shown at once, and nothing is sent", async ({ page }) => {
  await open(page);
  const calls: string[] = [];
  page.on("request", (request) => calls.push(request.url()));
  await emailInput(page).fill("a..b@localhost");
  await passwordInput(page).fill("short");
  await submit(page).click();
  await expect(emailInput(page)).toBeFocused();
  for (const text of [
    "Before the @, each dot must be between other characters.",
    "The part after the @ must have a dot.",
    "The password must have at least 8 characters",
    "The password must have an upper-case letter",
    "The password must have a digit",
    "Choose at least one goal.",
    "Accept “terms”, version 2026-01.",
    "Accept “privacy”, version 2026-01.",
  ]) {
    await expect(page.locator(".errors").getByText(text, { exact: true })).toBeVisible();
  }
  await checkPage(page, "sign-up-local-errors");
  expect(calls.filter((url) => url.endsWith("/SignUp"))).toEqual([]);
});

test("everything that the server alone finds is shown at once, on its field", async ({ page, haven }) => {
  const ada = invent(haven, { email: "😀😀😀😀-ada@example.org", password: "Password1" });
  await open(page);
  await fillIn(page, ada);
  await haven.identity.restart({
    REQUIRED_CONSENTS: "terms=2026-02,privacy=2026-01,research=1",
    CONSENT_VERSIONS: "privacy=2025-01",
  });
  await submit(page).click();
  await expect(emailInput(page)).toBeFocused();
  await expect(emailInput(page)).toHaveAccessibleDescription(
    "The part before the @ has a character that is not allowed there.",
  );
  await expect(page.locator(".errors").getByText("The password must not be easy to guess")).toBeVisible();
  const documents = page.getByRole("group", { name: "Documents" });
  await expect(documents).toContainText("“terms”, version 2026-01: This version is no longer accepted.");
  await expect(documents).toContainText("Accept “terms”, version 2026-02.");
  await expect(documents).toContainText("Accept “research”, version 1.");
  await expect(page.getByRole("alert")).toContainText("Correct what is marked");
  await expectKept(page, ada);
  await checkPage(page, "sign-up-server-errors");
});

test("documents that change in between are asked for again, and what was typed stays", async ({ page, haven }) => {
  const ada = invent(haven);
  await open(page);
  await fillIn(page, ada);
  await haven.identity.restart({ REQUIRED_CONSENTS: "terms=2026-02,privacy=2026-01" });
  await submit(page).click();
  await expect(page.getByText("“terms” has a new version: 2026-02 instead of 2026-01.")).toBeVisible();
  await expect(consent(page, "terms")).not.toBeChecked();
  await expect(consent(page, "privacy")).toBeChecked();
  await expectKept(page, ada);
  expect(await haven.accounts(ada.email)).toBe(0);
  await checkPage(page, "sign-up-consents-changed");
  await consent(page, "terms").check();
  await submit(page).click();
  await expect(page).toHaveURL("/account");
  expect(await haven.accounts(ada.email)).toBe(1);
});

test("a double click makes one account", async ({ page, haven }) => {
  const ada = invent(haven);
  await open(page);
  await fillIn(page, ada);
  const calls: string[] = [];
  page.on("request", (request) => request.method() === "POST" && calls.push(request.url()));
  await submit(page).dblclick();
  await expect(page).toHaveURL("/account");
  expect(calls.filter((url) => url.endsWith("/SignUp"))).toHaveLength(1);
  expect(await haven.accounts(ada.email)).toBe(1);
});

test("after a lost answer the form is sent again, and there is one account", async ({ page, haven }) => {
  const ada = invent(haven);
  await open(page);
  await fillIn(page, ada);
  const lost = await haven.identity.cutAnswers("SignUp", 1);
  await submit(page).click();
  await expect(page.getByRole("group", { name: "The service did not answer." })).toBeFocused();
  expect(lost()).toBe(1);
  expect(await haven.accounts(ada.email)).toBe(1);
  await expectKept(page, ada);
  await checkPage(page, "sign-up-no-answer");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page).toHaveURL("/account");
  expect(await haven.accounts(ada.email)).toBe(1);
});

test("a form that is changed after a lost answer finds the account that was made", async ({ page, haven }) => {
  const ada = invent(haven);
  await open(page);
  await fillIn(page, ada);
  await haven.identity.cutAnswers("SignUp", 1);
  await submit(page).click();
  await expect(page.getByRole("group", { name: "The service did not answer." })).toBeFocused();
  await passwordInput(page).fill(haven.secret(`${ada.password}-changed`));
  await submit(page).click();
  await expect(page.getByText("It was made by your earlier attempt")).toBeVisible();
  await checkPage(page, "sign-up-earlier-attempt");
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await expect(page).toHaveURL("/account");
  expect(await haven.accounts(ada.email)).toBe(1);
});

test("after a lost answer of sign-in the account exists, and the person signs in again", async ({ page, haven }) => {
  const ada = invent(haven);
  await open(page);
  await fillIn(page, ada);
  await haven.identity.cutAnswers("SignIn", 1);
  await submit(page).click();
  await expect(page.getByText("Your account exists.")).toBeVisible();
  await expect(page.getByText("You are not signed in yet: the service did not answer.")).toBeVisible();
  await checkPage(page, "sign-up-not-signed-in");
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await expect(page).toHaveURL("/account");
});

test("a limit is counted down, and then the form is accepted", async ({ page, haven }) => {
  await haven.identity.restart({ SIGN_UP_LIMITS: "network=2/20s,email=off,service=off" });
  const ada = invent(haven);
  await open(page);
  // The server alone refuses this address, and counts the attempts.
  await fillIn(page, { ...ada, email: "😀@example.org" });
  await expect(async () => {
    await submit(page).click();
    await expect(page.getByRole("timer")).toHaveText(/You can send the form in \d+ s\./, { timeout: 1_000 });
  }).toPass();
  await emailInput(page).fill(ada.email);
  await expect(submit(page)).toHaveAttribute("aria-disabled", "true");
  await checkPage(page, "sign-up-limited");
  await expect(page.getByText("The time is over: you can send the form now.")).toBeVisible({ timeout: 20_000 });
  await expectKept(page, ada);
  await checkPage(page, "sign-up-limit-over");
  await submit(page).click();
  await expect(page).toHaveURL("/account");
});

test("a limit of the checks of passwords does not hold up the form", async ({ page, haven }) => {
  await haven.identity.restart({ CHECK_PASSWORD_LIMITS: "network=1/1h,service=off" });
  const ada = invent(haven);
  await open(page);
  await fillIn(page, ada);
  await expect(rule(page, "GUESSABLE")).toHaveAttribute("data-state", "met");
  const refused = page.waitForResponse((response) => response.url().endsWith("/CheckPassword"));
  await passwordInput(page).fill(haven.secret(`${ada.password}-2`));
  await refused;
  await expect(rule(page, "GUESSABLE")).toHaveAttribute("data-state", "unknown");
  await expect(rule(page, "TOO_SHORT")).toHaveAttribute("data-state", "met");
  await expect(page.getByRole("alert")).toHaveCount(0);
  await submit(page).click();
  await expect(page).toHaveURL("/account");
});

test("a taken address is an error of the address, in each tab", async ({ page, context, haven }) => {
  const ada = invent(haven);
  const other = await context.newPage();
  for (const tab of [page, other]) {
    await open(tab);
    await fillIn(tab, ada);
  }
  await submit(page).click();
  await expect(page).toHaveURL("/account");
  await submit(other).click();
  await expect(other.getByRole("alert")).toContainText("An account with this address exists.");
  await expect(emailInput(other)).toBeFocused();
  await expectKept(other, ada);
  await checkPage(other, "sign-up-taken");
  expect(await haven.accounts(ada.email)).toBe(1);
  // The tabs have sessions of their own: this one goes on with another address.
  const grace = invent(haven);
  await emailInput(other).fill(grace.email);
  await submit(other).click();
  await expect(other).toHaveURL("/account");
  expect(await haven.accounts(grace.email)).toBe(1);
});

test("a service that goes down and comes back loses nothing", async ({ page, haven, context }) => {
  const ada = invent(haven);
  await open(page);
  await fillIn(page, ada);
  await haven.identity.stop();
  await submit(page).click();
  await expect(page.getByRole("group", { name: "The service did not answer." })).toBeFocused();
  await expectKept(page, ada);
  // The browser itself loses its connection, and gets it back.
  await context.setOffline(true);
  await context.setOffline(false);
  await expect(page.getByText("The browser is online again. You can try again now.")).toBeVisible();
  await checkPage(page, "sign-up-online-again");
  await haven.identity.start();
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page).toHaveURL("/account");
  expect(await haven.accounts(ada.email)).toBe(1);
});

test("a service that is down when the page is opened is asked again", async ({ page, haven }) => {
  const ada = invent(haven);
  await haven.identity.stop();
  await page.goto("/");
  await expect(page.getByText("The rules and the documents could not be loaded.")).toBeVisible();
  await emailInput(page).fill(ada.email);
  await passwordInput(page).fill(ada.password);
  await checkPage(page, "sign-up-not-loaded");
  await haven.identity.start();
  await page.getByRole("button", { name: "Load again" }).click();
  await fillIn(page, ada);
  await submit(page).click();
  await expect(page).toHaveURL("/account");
});

test("a password can be pasted and shown, and nothing cuts it off", async ({ page }) => {
  await open(page);
  await passwordInput(page).fill("x".repeat(300));
  await expect(passwordInput(page)).toHaveValue("x".repeat(300));
  await expect(rule(page, "TOO_LONG")).toHaveAttribute("data-state", "unmet");
  const toggle = page.getByRole("button", { name: "Show password" });
  await toggle.click();
  await expect(passwordInput(page)).toHaveAttribute("type", "text");
  await expect(toggle).toHaveAttribute("aria-pressed", "true");
  await expect(passwordInput(page)).toHaveAttribute("autocomplete", "new-password");
});
