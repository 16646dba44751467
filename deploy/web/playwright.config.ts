import { defineConfig } from "@playwright/test";
import { environment } from "./tests/harness/environment";

// `deploy/web/check` starts this: see tests/suite/web/browser, which starts what these variables name.
export default defineConfig({
  testDir: "tests",
  // One stack and one address of the browser: a spec that stops a service must not meet another one.
  workers: 1,
  forbidOnly: true,
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [["list"]],
  outputDir: "test-results",
  use: {
    baseURL: environment.pages,
    serviceWorkers: "block",
    locale: "en-GB",
    launchOptions: {
      executablePath: environment.chromium,
      // Browsers of people keep a page that was left, and show it again as it was.
      ignoreDefaultArgs: ["--disable-back-forward-cache"],
      // Chromium refuses to run as root with it.
      chromiumSandbox: process.getuid?.() !== 0,
      // Chromium trusts the authority of the stack's certificates, which is in this home directory.
      env: { ...process.env, HOME: environment.home },
    },
  },
});
