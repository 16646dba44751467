import { readFile } from "node:fs/promises";
import { checkPage, expect, type Page, type Share, test } from "./harness/test";

const CONTENT = "Cycles since March: 28, 31, 27.";

/** What the page says about every refusal of the service. */
const REFUSAL =
  "This share cannot be opened: the passcode may be missing or wrong, or the share has expired, was revoked, was opened as often as it may be, or is locked after five wrong passcodes.";

const openButton = (page: Page) => page.getByRole("button", { name: "Open the share" });
const againButton = (page: Page) => page.getByRole("button", { name: "Try again" });
const passcodeInput = (page: Page) => page.getByRole("textbox", { name: "Passcode" });

/** Opens the link, and clicks. */
async function open(page: Page, { link }: Pick<Share, "link">): Promise<void> {
  await page.goto(link);
  await openButton(page).click();
}

/** What is said of an attempt that did not open the share. It gets the focus. */
const message = (page: Page) => page.getByRole("group");

async function expectRefused(page: Page): Promise<void> {
  await expect(message(page)).toHaveText(REFUSAL);
  await expect(page.getByRole("main")).not.toContainText(CONTENT);
}

/** The bodies of the calls of OpenShare that a page makes. */
function openings(page: Page): Buffer[] {
  const bodies: Buffer[] = [];
  page.on("request", (request) => {
    if (request.method() === "POST" && request.url().endsWith("/haven.data.v1.ShareService/OpenShare")) {
      bodies.push(request.postDataBuffer() ?? Buffer.alloc(0));
    }
  });
  return bodies;
}

test("a share is opened by a click and not before, its secret stays in the page, and closing it leaves nothing", async ({
  page,
  haven,
}) => {
  const share = await haven.share({ content: CONTENT });
  const bodies = openings(page);
  await page.goto(share.link);
  await expect(openButton(page)).toBeVisible();
  await page.waitForLoadState("networkidle");
  expect(bodies).toHaveLength(0);
  await expect(page).toHaveURL("/share");
  await expect(page).toHaveTitle("Open a share – Haven");
  expect(await page.content()).not.toContain(share.token);
  await checkPage(page, "share-ready");

  await openButton(page).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
  await expect(page.getByRole("heading", { name: "Shared content" })).toBeFocused();
  expect(bodies).toHaveLength(1);
  expect(bodies[0]?.includes(share.token)).toBe(true);
  expect(bodies[0]?.includes(share.secret)).toBe(false);
  expect(bodies[0]?.includes(Buffer.from(share.secret, "base64url"))).toBe(false);
  await checkPage(page, "share-text");

  await page.getByRole("button", { name: "Close" }).click();
  await expect(page.getByText("The share is closed.")).toBeVisible();
  await expect(page.getByRole("main")).not.toContainText(CONTENT);
  await checkPage(page, "share-closed");
});

test("text is saved as a file", async ({ page, haven }) => {
  await open(page, await haven.share({ content: CONTENT, algorithm: "XCHACHA20_POLY1305" }));
  expect(await saved(page, "haven-share.txt")).toEqual(Buffer.from(CONTENT));
});

test("JSON is a table, its numbers are as they were written, and it is saved as it was sent", async ({
  page,
  haven,
}) => {
  const content = `{
    "note": "<b>not markup</b>",
    "cycles": [{"start": "2026-03-01", "temperature": 36.50}, {"start": "2026-03-29", "pain": true}],
    "reference": 12345678901234567890
  }`;
  await open(page, await haven.share({ content, contentType: "application/json", algorithm: "AES_256_GCM" }));
  const table = page.getByRole("region", { name: "Table: content, cycles" });
  await expect(table.getByRole("columnheader")).toHaveText(["start", "temperature", "pain"]);
  await expect(table.getByRole("cell")).toHaveText(["2026-03-01", "36.50", "", "2026-03-29", "", "yes"]);
  const definitions = page.getByRole("definition");
  await expect(definitions.filter({ hasText: "<b>not markup</b>" })).toBeVisible();
  await expect(definitions.filter({ hasText: "12345678901234567890" })).toBeVisible();
  await page.getByText("As it was sent").click();
  await checkPage(page, "share-json");
  expect(await saved(page, "haven-share.json")).toEqual(Buffer.from(content));
});

test("what is not text is only saved", async ({ page, haven }) => {
  const content = Uint8Array.from({ length: 5000 }, (_, at) => (at * 7) % 256);
  await open(page, await haven.share({ content, algorithm: "AES_256_GCM" }));
  await expect(page.getByText("The content is not text")).toBeVisible();
  await checkPage(page, "share-binary");
  expect(await saved(page, "haven-share.bin")).toEqual(Buffer.from(content));
});

/** Saves the content, and returns the bytes of the file. */
async function saved(page: Page, name: string): Promise<Buffer> {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: `Save as ${name}` }).click();
  const file = await download;
  expect(file.suggestedFilename()).toBe(name);
  return readFile(await file.path());
}

test("a passcode opens in its normal form, by the keyboard alone, and its absence and errors are refused alike", async ({
  page,
  haven,
}) => {
  const passcode = "Grüße aus Köln";
  const share = await haven.share({ content: CONTENT, passcode });
  haven.secret(passcode.normalize("NFD"));
  await page.goto(share.link);
  await openButton(page).click();
  await expectRefused(page);
  await expect(message(page)).toBeFocused();
  await checkPage(page, "share-refused");

  await page.keyboard.press("Tab");
  await expect(passcodeInput(page)).toBeFocused();
  await page.keyboard.type(haven.secret("Grüße aus Bonn"));
  await page.keyboard.press("Enter");
  await expect(againButton(page)).toBeEnabled();
  await expectRefused(page);

  await passcodeInput(page).fill("abc");
  await againButton(page).click();
  await expect(page.getByText("A passcode has at least 4 characters.")).toBeVisible();
  await expect(passcodeInput(page)).toBeFocused();
  await checkPage(page, "share-passcode-short");

  await passcodeInput(page).fill(passcode.normalize("NFD").replaceAll(" ", "\u{a0}"));
  await page.keyboard.press("Enter");
  await expect(page.getByText(CONTENT)).toBeVisible();
});

test("five wrong passcodes lock the share, also for the right one", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT, passcode: "harbour seven" });
  const bodies = openings(page);
  await page.goto(share.link);
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    await passcodeInput(page).fill(`wrong harbour ${attempt}`);
    await page.getByRole("button", { name: /Open the share|Try again/ }).click();
    await expect(() => expect(bodies).toHaveLength(attempt)).toPass();
    await expect(againButton(page)).toBeEnabled();
    await expectRefused(page);
  }
  await passcodeInput(page).fill("harbour seven");
  await againButton(page).click();
  await expect(() => expect(bodies).toHaveLength(6)).toPass();
  await expect(againButton(page)).toBeEnabled();
  await expectRefused(page);
});

test("expired, revoked and unknown shares are refused with one sentence", async ({ page, haven }) => {
  const expired = await haven.share({ content: CONTENT });
  await haven.expireShare(expired);
  await open(page, expired);
  await expectRefused(page);

  const revoked = await haven.share({ content: CONTENT });
  await haven.revokeShare(revoked);
  await open(page, revoked);
  await expectRefused(page);

  const unknown = "A".repeat(43);
  await open(page, { link: `/share#${unknown}.${revoked.secret}` });
  await expectRefused(page);
});

test("a share that may be opened once is opened in one of two tabs", async ({ page, context, haven }) => {
  const share = await haven.share({ content: CONTENT, maxAccessCount: 1 });
  const other = await context.newPage();
  await page.goto(share.link);
  await other.goto(share.link);
  await expect(openButton(other)).toBeVisible();
  await openButton(page).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
  await openButton(other).click();
  await expectRefused(other);
});

test("a double click uses one opening", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT, maxAccessCount: 2 });
  const bodies = openings(page);
  await page.goto(share.link);
  await openButton(page).dblclick();
  await expect(page.getByText(CONTENT)).toBeVisible();
  expect(bodies).toHaveLength(1);
  await open(page, share);
  await expect(page.getByText(CONTENT)).toBeVisible();
  await open(page, share);
  await expectRefused(page);
});

test("changed ciphertext and another secret show an error, and nothing else", async ({ page, haven }) => {
  for (const algorithm of ["XCHACHA20_POLY1305", "AES_256_GCM"] as const) {
    const share = await haven.share({ content: CONTENT, algorithm });
    const another = await haven.share({ content: CONTENT, algorithm });
    await open(page, { link: `/share#${share.token}.${another.secret}` });
    await expectUndecryptable(page);
    await haven.tamperShare(share);
    await open(page, share);
    await expectUndecryptable(page);
  }
  await checkPage(page, "share-undecryptable");
  await page.getByRole("button", { name: "Close" }).click();
  await expect(page.getByText("The share is closed.")).toBeVisible();
});

async function expectUndecryptable(page: Page): Promise<void> {
  await expect(page.getByRole("alert")).toContainText("nothing of it is shown");
  await expect(page.getByRole("main")).not.toContainText("Cycles");
  await expect(page.getByRole("button", { name: /Save/ })).toHaveCount(0);
}

test("a lost answer is said to count, and another try uses another opening", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT, maxAccessCount: 2 });
  const lost = await haven.data.cutAnswers("OpenShare", 1);
  await open(page, share);
  await expect(message(page)).toContainText("may have been counted");
  expect(lost()).toBe(1);
  await checkPage(page, "share-unanswered");
  await againButton(page).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
  await open(page, share);
  await expectRefused(page);
});

test("a service that is down is said to give no answer, and the share opens when it is back", async ({
  page,
  haven,
}) => {
  const share = await haven.share({ content: CONTENT, maxAccessCount: 1 });
  await haven.data.stop();
  await open(page, share);
  await expect(message(page)).toContainText("There was no answer");
  await haven.data.start();
  await againButton(page).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
});

test("without what decrypts, no opening is used", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT, maxAccessCount: 1 });
  const bodies = openings(page);
  await page.route(/decryption-worker/, (route) => route.abort());
  await open(page, share);
  await expect(message(page)).toContainText("could not load what decrypts");
  expect(bodies).toHaveLength(0);
  await checkPage(page, "share-unprepared");
  await page.unroute(/decryption-worker/);
  await againButton(page).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
});

test("a link that is not whole is named, and the whole one opens in the same tab", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT });
  await page.goto(share.link.slice(0, -5));
  await expect(page.getByRole("alert")).toContainText("The link is not complete");
  await checkPage(page, "share-malformed");
  await page.goto(share.link);
  await openButton(page).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
});

test("a reload asks for the link again", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT });
  await open(page, share);
  await expect(page.getByText(CONTENT)).toBeVisible();
  await page.reload();
  await expect(page.getByText("This page needs the link that you were sent.")).toBeVisible();
  await expect(page.getByRole("main")).not.toContainText(CONTENT);
  await checkPage(page, "share-no-link");
});

test("a page that was left shows nothing when the browser goes back", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT });
  await open(page, share);
  await expect(page.getByText(CONTENT)).toBeVisible();
  await page.getByRole("link", { name: "Sign in" }).click();
  await expect(page).toHaveURL("/sign-in");
  await page.goBack();
  await expect(page).toHaveURL("/share");
  await expect(page.getByText("This page needs the link that you were sent.")).toBeVisible();
});

test("a page that the browser has kept shows nothing of the share when it comes back", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT });
  const shown: { persisted: boolean; text: string }[] = [];
  await page.exposeFunction("report", (persisted: boolean, text: string) => shown.push({ persisted, text }));
  await open(page, share);
  await expect(page.getByText(CONTENT)).toBeVisible();
  await page.evaluate(() => {
    window.addEventListener("pageshow", ({ persisted }) => {
      // biome-ignore lint/suspicious/noExplicitAny: the function is not of this page
      (window as any).report(persisted, document.body.textContent);
    });
  });
  await page.goto("/icon.svg");
  // A page that was kept is not loaded, so there is no event to wait for.
  await page.goBack({ waitUntil: "commit" });
  await expect(() => expect(shown).toHaveLength(1)).toPass();
  expect(shown[0]?.persisted).toBe(true);
  expect(shown[0]?.text).not.toContain(CONTENT);
  await expect(page.getByText("This page needs the link that you were sent.")).toBeVisible();
  await expect(page.getByRole("main")).not.toContainText(CONTENT);
});
