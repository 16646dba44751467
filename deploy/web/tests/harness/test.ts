import { test as base } from "@playwright/test";
import { Control } from "./control";
import { environment } from "./environment";
import { Guard } from "./guard";
import { Haven } from "./haven";
import { Secrets } from "./secrets";

export { expect, type Page } from "@playwright/test";
export { checkPage, checkPart } from "./check-page";
export type { Person, Share, ShareWish } from "./haven";

interface TestFixtures {
  secrets: Secrets;
  /** The stack behind the pages. */
  haven: Haven;
}

interface WorkerFixtures {
  control: Control;
}

/** A test with the stack. Every page of its browser is guarded: see `guard.ts`. */
export const test = base.extend<TestFixtures, WorkerFixtures>({
  control: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures here
    async ({}, use) => {
      const control = new Control(environment.control);
      await use(control);
      control.close();
    },
    { scope: "worker" },
  ],
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures here
  secrets: async ({}, use) => use(new Secrets()),
  context: async ({ context, control, secrets }, use) => {
    const guard = new Guard(context, secrets);
    await guard.watch();
    await use(context);
    // All of it, because lines of this test may be anywhere in it: each program has a log of its own.
    await guard.check(await control.run<string>("logs"));
  },
  haven: async ({ context, control, secrets }, use) => {
    const haven = new Haven(control, secrets, context);
    await use(haven);
    await haven.restore();
  },
});
