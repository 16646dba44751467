import type { Page } from "@playwright/test";
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

test("the guard finds a secret in the logs", async ({ context }) => {
  const secrets = new Secrets();
  secrets.add("password", SECRET);
  const guard = new Guard(context, secrets);
  await guard.check('{"message":"an ordinary line"}');
  await expect(guard.check(`{"message":"${SECRET}"}`)).rejects.toThrow("a service has logged the password");
});
