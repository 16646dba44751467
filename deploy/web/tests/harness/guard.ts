import { fromBinary } from "@bufbuild/protobuf";
import type { BrowserContext, Page, Request, Response } from "@playwright/test";
import { RefreshSessionResponseSchema, SignInResponseSchema } from "../../src/gen/haven/identity/v1/session_pb";
import { environment } from "./environment";
import type { Secrets } from "./secrets";

/** Where `watchViolations` puts the violations of a page. */
const REPORT = "reportViolation";

/** What no test may do. It is watched in all pages of its browser. */
export class Guard {
  readonly #context: BrowserContext;
  readonly #secrets: Secrets;
  readonly #problems: string[] = [];
  /** The URL and the headers of each request. */
  readonly #requests: Promise<string[]>[] = [];
  /** Answers with tokens that are being read. */
  readonly #answers: Promise<void>[] = [];
  /** What was written to the console. */
  readonly #console: string[] = [];

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
      this.#console.push(message.text());
      // Those of a worker or of a document that is blocked do not reach the listener in the page.
      if (/content security policy|trusted ?types/i.test(message.text())) {
        this.#problems.push(`console: ${message.text()}`);
      }
    });
    context.on("request", (request) => this.#requests.push(this.#sent(request)));
    context.on("response", (response) => this.#answers.push(this.#received(response)));
  }

  /** Throws what the test has done that it may not do. `logs` is what the services and the server of the pages have logged. */
  async check(logs: string): Promise<void> {
    const problems = [...this.#problems];
    const requests = await Promise.all(this.#requests);
    await Promise.all(this.#answers);
    for (const [url = "", ...headers] of requests) {
      for (const kind of this.#secrets.in([url, ...headers].join("\n"))) {
        problems.push(`a request to ${url.split("?")[0]} has the ${kind} in its URL or in a header`);
      }
    }
    for (const kind of this.#secrets.in(logs)) {
      problems.push(`a program has logged the ${kind}`);
    }
    for (const kind of this.#secrets.in(this.#console.join("\n"))) {
      problems.push(`the console has the ${kind}`);
    }
    for (const page of this.#context.pages()) {
      for (const kind of this.#secrets.in(`${page.url()}\n${await page.title()}`)) {
        problems.push(`the address bar or the title of a page has the ${kind}`);
      }
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

  /** Keeps the tokens of an answer as secrets. */
  async #received(response: Response): Promise<void> {
    const schema = ANSWERS[new URL(response.url()).pathname];
    if (!schema || response.request().method() !== "POST") {
      return;
    }
    // A page that is closed or left takes the body of the answer along.
    const body = await response.body().catch(() => undefined);
    const message = body && firstMessage(body);
    if (message) {
      const tokens = fromBinary(schema, message);
      this.#secrets.add("refresh token", tokens.refreshToken);
      if ("deviceToken" in tokens) {
        this.#secrets.add("device token", tokens.deviceToken);
      }
    }
  }
}

/** The answers with tokens that outlive the test. */
const ANSWERS: Record<string, typeof SignInResponseSchema | typeof RefreshSessionResponseSchema> = {
  "/haven.identity.v1.SessionService/SignIn": SignInResponseSchema,
  "/haven.identity.v1.SessionService/RefreshSession": RefreshSessionResponseSchema,
};

/** Returns the first message of an answer in gRPC-Web; nothing when there is none. */
function firstMessage(body: Buffer): Buffer | undefined {
  return body.length > 5 && body[0] === 0 ? body.subarray(5, 5 + body.readUInt32BE(1)) : undefined;
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
