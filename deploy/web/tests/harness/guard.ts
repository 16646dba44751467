import type { BrowserContext, Page, Request } from "@playwright/test";
import { environment } from "./environment";
import type { Secrets } from "./secrets";

/** Where `watchViolations` puts the violations of a page. */
const REPORT = "reportViolation";

/** What no test may do. It is watched in all pages of its browser. */
export class Guard {
  readonly #context: BrowserContext;
  readonly #secrets: Secrets;
  readonly #problems: string[] = [];
  /** The URL and the referrer of each request. */
  readonly #requests: Promise<string[]>[] = [];

  constructor(context: BrowserContext, secrets: Secrets) {
    this.#context = context;
    this.#secrets = secrets;
  }

  /** Watches all pages that are opened from now on. */
  async watch(): Promise<void> {
    const context = this.#context;
    await context.exposeBinding(REPORT, (_, violation: string) => {
      this.#problems.push(`violation of the Content-Security-Policy: ${violation}`);
    });
    await context.addInitScript(watchViolations, REPORT);
    context.on("weberror", (error) => {
      this.#problems.push(`uncaught error: ${error.error().stack ?? error.error().message}`);
    });
    context.on("console", (message) => {
      // Those of a worker or of a document that is blocked do not reach the listener in the page.
      if (/content security policy|trusted ?types/i.test(message.text())) {
        this.#problems.push(`console: ${message.text()}`);
      }
    });
    context.on("request", (request) => this.#requests.push(this.#sent(request)));
  }

  /** Throws what the test has done that it may not do. `logs` are the lines of the services since its start. */
  async check(logs: string): Promise<void> {
    const problems = [...this.#problems];
    for (const [url = "", ...headers] of await Promise.all(this.#requests)) {
      for (const kind of this.#secrets.in([url, ...headers].join("\n"))) {
        problems.push(`a request to ${url.split("?")[0]} has the ${kind} in its URL or in a header`);
      }
    }
    for (const kind of this.#secrets.in(logs)) {
      problems.push(`a service has logged the ${kind}`);
    }
    for (const page of this.#context.pages()) {
      problems.push(...(await stored(page)));
    }
    const cookies = await this.#context.cookies();
    problems.push(...cookies.map(({ name }) => `there is the cookie ${name}`));
    if (problems.length > 0) {
      throw new Error(`The pages have done what they may not do:\n- ${[...new Set(problems)].join("\n- ")}`);
    }
  }

  /** Returns the URL of a request without its fragment, which is not sent, and its headers; and keeps its token as a secret. */
  async #sent(request: Request): Promise<string[]> {
    const [url = ""] = request.url().split("#");
    // A request that has been cancelled has no headers any more.
    const { authorization, ...headers } = await request.allHeaders().catch(() => request.headers());
    if (authorization !== undefined) {
      this.#secrets.add("access token", authorization.replace("Bearer ", ""));
    }
    return [url, ...Object.values(headers)];
  }
}

/** Runs in each page before its own scripts. */
function watchViolations(report: string): void {
  document.addEventListener("securitypolicyviolation", (event) => {
    const { effectiveDirective, blockedURI, sourceFile, lineNumber, sample } = event;
    const where = `${sourceFile}:${lineNumber}`;
    // biome-ignore lint/suspicious/noExplicitAny: the binding is not of this page
    (window as any)[report](`${effectiveDirective} blocks ${blockedURI} at ${where} ${sample}`);
  });
}

/** Returns what a page has stored in the browser. */
async function stored(page: Page): Promise<string[]> {
  if (!page.url().startsWith(environment.pages)) {
    return [];
  }
  return page.evaluate(async () => {
    const found = [];
    for (const [name, storage] of Object.entries({ localStorage, sessionStorage })) {
      found.push(...Object.keys(storage).map((key) => `${name} has ${key}`));
    }
    if (document.cookie) {
      found.push("document.cookie is not empty");
    }
    for (const { name } of await indexedDB.databases()) {
      found.push(`IndexedDB has ${name}`);
    }
    for (const name of await caches.keys()) {
      found.push(`the cache has ${name}`);
    }
    for (const { scope } of await navigator.serviceWorker.getRegistrations()) {
      found.push(`there is a service worker of ${scope}`);
    }
    return found;
  });
}
