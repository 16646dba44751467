import { checkPage, expect, type Page, type Person, test } from "./harness/test";

const heading = (page: Page, name: string) => page.getByRole("heading", { level: 1, name });
const navigation = (page: Page) => page.getByRole("navigation");
const again = (page: Page) => page.getByRole("button", { name: "Load this page again" });

async function fillSignIn(page: Page, { email, password }: Person): Promise<void> {
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function signIn(page: Page, person: Person): Promise<void> {
  await page.goto("/sign-in");
  await fillSignIn(page, person);
  await expect(heading(page, "Account")).toBeVisible();
}

/** What a page had when it was shown again. */
interface Shown {
  /** Whether the browser had kept it. */
  persisted: boolean;
  /** Its text, and what is in its fields. */
  content: string;
}

/** Leaves the page, goes back, and returns what the page had in the moment in which it was shown again. */
async function leaveAndGoBack(page: Page): Promise<Shown> {
  const shown: Shown[] = [];
  await page.exposeFunction("reportShown", (persisted: boolean, content: string) => shown.push({ persisted, content }));
  await page.evaluate(() => {
    window.addEventListener("pageshow", ({ persisted }) => {
      const fields = [...document.querySelectorAll("input")].map(({ value }) => value);
      // biome-ignore lint/suspicious/noExplicitAny: the function is not of this page
      (window as any).reportShown(persisted, [document.body.textContent, ...fields].join("\n"));
    });
  });
  await page.goto("/icon.svg");
  // A page that was kept is not loaded, so there is no event to wait for.
  await page.goBack({ waitUntil: "commit" });
  await expect(() => expect(shown).toHaveLength(1)).toPass();
  return shown[0] ?? { persisted: false, content: "" };
}

test("a lost answer of an exchange of tokens does not end the session", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await signIn(page, ada);
  const lost = await haven.identity.cutAnswers("RefreshSession", 1);
  const consents = page.getByRole("region", { name: "Consents" });
  await consents.getByRole("button", { name: "Withdraw the consent to “privacy”, version 2026-01" }).click();
  const request = page.getByRole("region", { name: "Your consent is needed" });
  await expect(request).toBeVisible();
  expect(lost()).toBe(1);
  // The token that came with the second answer is exchanged too.
  await request.getByRole("checkbox").check();
  await request.getByRole("button", { name: "Accept and go on" }).click();
  await expect(request).toHaveCount(0);
  await expect(page.getByRole("region", { name: "Goals" })).toBeVisible();
});

test("an account that was left is not there when the browser goes back", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await signIn(page, ada);
  await expect(page.getByText(ada.email)).toBeVisible();
  const { persisted, content } = await leaveAndGoBack(page);
  expect(persisted).toBe(true);
  expect(content).not.toContain(ada.email);
  expect(content).not.toContain("Account");
  await expect(heading(page, "Sign in")).toBeVisible();
  await expect(navigation(page).getByRole("link", { name: "Account" })).toHaveCount(0);
});

test("what was typed into a form that was left is not there when the browser goes back", async ({ page, haven }) => {
  const email = haven.secret(`ada-${crypto.randomUUID()}@example.org`);
  const password = haven.secret("Kite-over-7-harbours");
  await page.goto("/");
  await page.getByLabel("E-mail address").fill(email);
  await page.getByRole("button", { name: "Show password" }).click();
  await page.getByLabel("Password", { exact: true }).fill(password);
  const { persisted, content } = await leaveAndGoBack(page);
  expect(persisted).toBe(true);
  expect(content).not.toContain(email);
  expect(content).not.toContain(password);
  await expect(page.getByLabel("Password", { exact: true })).toHaveValue("");
});

test("a page that was not loaded is said to be so, and is loaded again with the session", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await page.goto("/");
  await page.route(/\/assets\/(sign-in|account)-page-/, (route) => route.abort());
  await navigation(page).getByRole("link", { name: "Sign in" }).click();
  await expect(heading(page, "The page cannot be shown")).toBeFocused();
  await expect(page.getByRole("alert")).toContainText("Check the connection");
  await checkPage(page, "not-loaded");
  await again(page).click();
  await expect(heading(page, "The page cannot be shown")).toBeFocused();
  await page.unroute(/\/assets\/(sign-in|account)-page-/);
  await again(page).click();
  await expect(heading(page, "Sign in")).toBeFocused();

  await page.route(/\/assets\/account-page-/, (route) => route.abort());
  await fillSignIn(page, ada);
  await expect(heading(page, "The page cannot be shown")).toBeVisible();
  await expect(navigation(page).getByRole("link", { name: "Account" })).toHaveAttribute("aria-current", "page");
  await page.unroute(/\/assets\/account-page-/);
  await again(page).click();
  await expect(heading(page, "Account")).toBeFocused();
  await expect(page.getByText(ada.email)).toBeVisible();
});

test("the link of a share is not lost when its page was not loaded", async ({ page, haven }) => {
  const share = await haven.share({ content: "a note for the doctor" });
  await page.route(/\/assets\/share-page-.*\.js/, (route) => route.abort());
  await page.goto(share.link);
  await expect(heading(page, "The page cannot be shown")).toBeVisible();
  await page.unroute(/\/assets\/share-page-.*\.js/);
  await again(page).click();
  await expect(heading(page, "Open a share")).toBeFocused();
  expect(new URL(page.url()).hash).toBe("");
  await page.getByRole("button", { name: "Open the share" }).click();
  await expect(page.getByText("a note for the doctor")).toBeVisible();
});
