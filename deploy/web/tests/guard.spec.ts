import type { Page } from "@playwright/test";
import { environment } from "./harness/environment";
import { Guard } from "./harness/guard";
import { Secrets } from "./harness/secrets";
import { expect, test } from "./harness/test";

const SECRET = "Kite-over-7-harbours";

/** What a page may not do, and what the guard of every test says about it. */
const MISDEEDS: [name: string, act: (page: Page) => Promise<unknown>, complaint: RegExp][] = [
  [
    "an image of another host",
    (page) =>
      page.evaluate(() => document.body.appendChild(new Image()).setAttribute("src", "https://cdn.example.com/a.png")),
    /img-src blocks https:\/\/cdn\.example\.com/,
  ],
  [
    "an inline style",
    (page) => page.evaluate(() => document.body.setAttribute("style", "color: red")),
    /style-src-attr blocks inline/,
  ],
  [
    "markup from text",
    (page) => page.evaluate(() => Reflect.set(document.body, "innerHTML", "<b>b</b>")).catch(() => undefined),
    /require-trusted-types-for/,
  ],
  [
    "an uncaught error",
    (page) => page.evaluate(() => void setTimeout(() => Promise.reject(new Error("lost its way")))),
    /uncaught error: .*lost its way/,
  ],
  [
    "a secret in a URL",
    (page) => page.evaluate((secret) => fetch(`/?password=${secret}`), SECRET),
    /a request to http:\/\/localhost:\d+\/ has the password in its URL/,
  ],
  [
    "a secret in a header",
    (page) => page.evaluate((secret) => fetch("/", { headers: { "x-password": secret } }), SECRET),
    /has the password in its URL or in a header/,
  ],
  [
    "a secret in the console",
    // biome-ignore lint/suspicious/noConsole: it is what the guard has to find
    (page) => page.evaluate((secret) => console.log("password:", secret), SECRET),
    /the console has the password/,
  ],
  [
    "a secret in the title",
    (page) => page.evaluate((secret) => Reflect.set(document, "title", secret), SECRET),
    /the title of a page has the password/,
  ],
  [
    "a secret in the address bar",
    (page) => page.evaluate((secret) => history.replaceState(null, "", `/#${secret}`), SECRET),
    /the address bar or the title of a page has the password/,
  ],
  [
    "a value in localStorage",
    (page) => page.evaluate(() => localStorage.setItem("token", "1")),
    /localStorage has token/,
  ],
  [
    "a value in sessionStorage",
    (page) => page.evaluate(() => sessionStorage.setItem("token", "1")),
    /sessionStorage has token/,
  ],
  ["a cookie", (page) => page.evaluate(() => Reflect.set(document, "cookie", "token=1")), /there is the cookie token/],
  [
    "a database",
    (page) =>
      page.evaluate(
        () =>
          new Promise((resolve) => {
            indexedDB.open("tokens").onsuccess = () => resolve(undefined);
          }),
      ),
    /IndexedDB has tokens/,
  ],
];

for (const [name, act, complaint] of MISDEEDS) {
  test(`the guard finds ${name}`, async ({ browser }) => {
    const secrets = new Secrets();
    secrets.add("password", SECRET);
    const context = await browser.newContext();
    const guard = new Guard(context, secrets);
    await guard.watch();
    const page = await context.newPage();
    await page.goto("/");
    await guard.check("");
    await act(page);
    await expect(async () => expect(guard.check("")).rejects.toThrow(complaint)).toPass({ timeout: 5_000 });
    await context.close();
  });
}

test("the guard finds what a service and the server of the pages have logged", async ({ browser, haven }) => {
  const secrets = new Secrets();
  const context = await browser.newContext();
  const guard = new Guard(context, secrets);
  const page = await context.newPage();
  await page.goto("/sign-in");
  await guard.check(await haven.logs());

  // Each call is logged with its id.
  const answer = await page.request.post(`${environment.identity}/haven.identity.v1.AccountService/GetPasswordPolicy`, {
    headers: { "content-type": "application/grpc-web+proto", origin: environment.pages },
    data: Buffer.alloc(5),
  });
  secrets.add("id", answer.headers()["x-request-id"] ?? "");
  await expect(guard.check(await haven.logs())).rejects.toThrow("a program has logged the id");

  // nginx logs the path of a call that it cannot pass on. The tests that follow search this log too, so it has no secret of theirs.
  await haven.data.stop();
  const path = secrets.add("path", crypto.randomUUID());
  await page.request.post(`/haven.data.v1.PersonService/${path}`);
  await expect(guard.check(await haven.logs())).rejects.toThrow("a program has logged the path");
  await context.close();
});

test("the guard knows the tokens that a page gets", async ({ browser, haven }) => {
  const secrets = new Secrets();
  const context = await browser.newContext();
  const guard = new Guard(context, secrets);
  await guard.watch();
  const page = await context.newPage();
  const ada = await haven.signUp();
  const answered = page.waitForResponse((response) => response.url().endsWith("/SignIn"));
  await page.goto("/sign-in");
  await page.getByLabel("E-mail address").fill(ada.email);
  await page.getByLabel("Password").fill(ada.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  const body = await (await answered).body();
  await guard.check("");
  expect(secrets.in(body.toString("latin1"))).toEqual(expect.arrayContaining(["device token", "refresh token"]));
  await context.close();
});
