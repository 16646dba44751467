import { readFileSync } from "node:fs";
import { environment } from "./harness/environment";
import { checkPage, expect, type Page, type Person, test } from "./harness/test";

/** The pages by their paths. */
const PAGES = [
  "/",
  "/sign-in",
  "/account",
  "/reset-password",
  "/verify-email",
  "/confirm-email",
  "/undo-email",
  "/share",
];

/** The headers of headers.conf, as an installation has them. */
const HEADERS = [...readFileSync("headers.conf", "utf8").matchAll(/^add_header (\S+) "([^"]*)" always;$/gm)].map(
  ([, name = "", value = ""]) => [name.toLowerCase(), value] as const,
);

async function signIn(page: Page, { email, password }: Person): Promise<void> {
  await page.goto("/sign-in");
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page).toHaveURL("/account");
}

test("every page has the headers of headers.conf, and is asked for again", async ({ page }) => {
  expect(HEADERS.length).toBeGreaterThanOrEqual(6);
  for (const path of [...PAGES, "/no-such-page"]) {
    const response = await page.goto(path);
    expect(response?.status(), path).toBe(200);
    const headers = (await response?.allHeaders()) ?? {};
    for (const [name, value] of HEADERS) {
      const expected = value
        .replace("$wasm", "")
        .replace("connect-src 'self'", `connect-src 'self' ${environment.identity} ${environment.data}`);
      expect(headers[name], `${path}: ${name}`).toBe(expected);
    }
    expect(headers["cache-control"], path).toBe("no-cache");
    expect(headers["set-cookie"], path).toBeUndefined();
  }
});

test("the policy admits no inline script, no eval, no frame and no other host", async ({ page }) => {
  const response = await page.goto("/");
  const policy = (await response?.headerValue("content-security-policy")) ?? "";
  for (const rule of ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]) {
    expect(policy).toContain(rule);
  }
  expect(policy).not.toMatch(/unsafe-inline|unsafe-eval|data:|blob:|\*/);
});

test("WebAssembly runs in the worker that decrypts, and in no page", async ({ browser, page, haven }) => {
  // A browser without the guard, for which the attempt is a failure.
  const context = await browser.newContext({ baseURL: environment.pages });
  const other = await context.newPage();
  await other.goto("/share");
  const empty = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  const attempt = other.evaluate((bytes) => WebAssembly.compile(new Uint8Array(bytes)).then(() => "compiled"), empty);
  await expect(attempt).rejects.toThrow(/Content Security Policy/);
  await context.close();

  const share = await haven.share({ content: "Cycles since March: 28, 31, 27." });
  const loaded = page.waitForResponse((response) => response.url().includes("/assets/decryption-worker-"));
  await page.goto(share.link);
  await page.getByRole("button", { name: "Open the share" }).click();
  const policy = await (await loaded).headerValue("content-security-policy");
  expect(policy).toContain("script-src 'self' 'wasm-unsafe-eval';");
  await expect(page.getByText("Cycles since March")).toBeVisible();
});

test("the built files have the licences of what is in them", async ({ request }) => {
  const response = await request.get("/licenses.txt");
  expect(response.status()).toBe(200);
  const text = await response.text();
  // The last two are in the worker.
  for (const name of ["react", "@connectrpc/connect", "@bufbuild/protobuf", "hash-wasm", "@noble/ciphers"]) {
    expect(text).toContain(`\n${name} `);
  }
  for (const terms of ["Permission is hereby granted", "Apache License", "Copyright 2008 Google"]) {
    expect(text).toContain(terms);
  }
});

test("files with a hash in their names are kept, and config.json is asked for again", async ({ page, request }) => {
  const assets: string[] = [];
  page.on("request", (sent) => assets.push(sent.url()));
  await page.goto("/");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  const hashed = assets.filter((url) => new URL(url).pathname.startsWith("/assets/"));
  expect(hashed.length).toBeGreaterThanOrEqual(2);
  for (const url of hashed) {
    const response = await request.get(url);
    expect(response.headers()["cache-control"], url).toBe("public, max-age=31536000, immutable");
    expect(response.headers()["x-content-type-options"], url).toBe("nosniff");
  }
  const config = await request.get("/config.json");
  expect(config.headers()["cache-control"]).toBe("no-cache");
  expect(config.headers()["content-type"]).toBe("application/json");
  const missing = await request.get("/assets/missing.js");
  expect(missing.status()).toBe(404);
  expect(missing.headers()["cache-control"]).toBeUndefined();
});

test("a page loads nothing from another host", async ({ page }) => {
  const origins = new Set<string>();
  page.on("request", (sent) => origins.add(new URL(sent.url()).origin));
  for (const path of PAGES) {
    await page.goto(path);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  }
  const known = [environment.pages, environment.identity, environment.data];
  expect([...origins].filter((origin) => !known.includes(origin))).toEqual([]);
});

test("an unknown path says so, and leads on", async ({ page }) => {
  await page.goto("/no-such-page");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Page not found");
  await checkPage(page, "not-found");
  await page.getByRole("main").getByRole("link", { name: "Sign in", exact: false }).last().click();
  await expect(page).toHaveURL("/sign-in");
});

test("the first Tab leads to a link to the content, which leaves the fragment alone", async ({ page }) => {
  await page.goto("/no-such-page#fragment");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to the content" });
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toBeFocused();
  expect(new URL(page.url()).hash).toBe("#fragment");
});

test("without its configuration the page says that it could not be started", async ({ page }) => {
  await page.route("**/config.json", (route) => route.fulfill({ status: 503, body: "" }));
  await page.goto("/");
  await expect(page.getByRole("alert")).toContainText("could not be started");
  await checkPage(page, "not-started");
});

test("without JavaScript the page says that it needs it", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false, baseURL: environment.pages });
  const page = await context.newPage();
  await page.goto("/");
  // With JavaScript it has no box.
  await expect(page.locator("noscript")).toBeVisible();
  await context.close();
});

test("a reload signs out, and nothing is left in the browser", async ({ page, haven }) => {
  const ada = await haven.signUp();
  await signIn(page, ada);
  await expect(page.getByRole("navigation").getByRole("link", { name: "Account" })).toBeVisible();
  await page.reload();
  await expect(page.getByRole("navigation").getByRole("link", { name: "Sign in" })).toBeVisible();
  // The guard of the test looks for what is stored, and for the address, the password and the tokens elsewhere.
  expect(await page.content()).not.toContain(ada.email);
});

test("calls go to the services themselves, which admit the origin of the pages", async ({ page, haven }) => {
  const ada = await haven.signUp();
  const answered = page.waitForResponse((response) => response.url().endsWith("/SignIn"));
  await signIn(page, ada);
  const answer = await answered;
  expect(answer.status()).toBe(200);
  expect(answer.url()).toBe(`${environment.identity}/haven.identity.v1.SessionService/SignIn`);
  const headers = await answer.allHeaders();
  expect(headers["access-control-allow-origin"]).toBe(environment.pages);
  expect(headers["access-control-allow-credentials"]).toBeUndefined();
  expect(headers["set-cookie"]).toBeUndefined();
});

test("with empty addresses in config.json the calls go to the origin of the pages, which passes them on", async ({
  page,
  haven,
}) => {
  const ada = await haven.signUp();
  await page.route("**/config.json", (route) => route.fulfill({ json: { identity: "", data: "" } }));
  const answered = page.waitForResponse((response) => response.url().endsWith("/SignIn"));
  await signIn(page, ada);
  const answer = await answered;
  expect(answer.url()).toBe(`${environment.pages}/haven.identity.v1.SessionService/SignIn`);
  // A failure arrives with its details: the page knows the reason.
  await page.goto("/sign-in");
  await page.getByLabel("E-mail address").fill(ada.email);
  await page.getByLabel("Password").fill(haven.secret("Wrong-horse-8-battery"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText("The e-mail address or the password is wrong.")).toBeVisible();
});
