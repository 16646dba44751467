import type { BrowserContext } from "@playwright/test";
import type { Control } from "./control";
import { environment } from "./environment";
import type { Secrets } from "./secrets";

/** A person with an account. */
export interface Person {
  email: string;
  password: string;
  userId: string;
}

export interface ShareWish {
  content: string | Uint8Array;
  /** What the content is, for the reader of the spec: the envelope does not state it. */
  contentType?: string;
  passcode?: string;
  algorithm?: "XCHACHA20_POLY1305" | "AES_256_GCM";
  expireSeconds?: number;
  maxAccessCount?: number;
}

/** A share, with the link that its person would pass on. */
export interface Share {
  link: string;
  token: string;
  secret: string;
  shareId: string;
  person: Person;
}

/** The stack behind the pages. What it tells a spec is a secret for the checks of the test: see `guard.ts`. */
export class Haven {
  readonly identity: Service;
  readonly data: Service;
  readonly #control: Control;
  readonly #secrets: Secrets;
  #changed = false;

  constructor(control: Control, secrets: Secrets, context: BrowserContext) {
    this.#control = control;
    this.#secrets = secrets;
    const run = (command: string, parameters: object) => {
      this.#changed = true;
      return control.run<void>(command, parameters);
    };
    this.identity = new Service("identity", environment.identity, run, context);
    this.data = new Service("data", environment.data, run, context);
  }

  /** Makes an account through the API. What is not given is invented. */
  async signUp(overrides: Partial<Pick<Person, "email" | "password">> = {}): Promise<Person> {
    const person = await this.#control.run<Person>("signUp", overrides);
    this.#secrets.add("email", person.email);
    this.#secrets.add("password", person.password);
    return person;
  }

  /** Makes the token of a password reset, as the product's backend mails it. */
  async passwordReset(email: string): Promise<string> {
    const { token } = await this.#control.run<{ token: string }>("passwordReset", { email });
    return this.#secrets.add("reset token", token);
  }

  /** Makes the token that verifies the person's address. */
  async emailVerification({ userId }: Person): Promise<string> {
    const { token } = await this.#control.run<{ token: string }>("emailVerification", { userId });
    return this.#secrets.add("verification token", token);
  }

  /** Makes the tokens of a change of the address: `token` goes to the new address, `undoToken` to the old one. */
  async emailChange({ userId }: Person, email: string): Promise<{ token: string; undoToken: string }> {
    const tokens = await this.#control.run<{ token: string; undoToken: string }>("emailChange", { userId, email });
    this.#secrets.add("email", email);
    this.#secrets.add("change token", tokens.token);
    this.#secrets.add("undo token", tokens.undoToken);
    return tokens;
  }

  /** Shares a content, sealed by the reference client in Rust. */
  async share({ content, contentType: _, ...wish }: ShareWish): Promise<Share> {
    const bytes = Buffer.from(content);
    const share = await this.#control.run<Omit<Share, "link">>("share", { ...wish, content: bytes.toString("base64") });
    this.#secrets.add("share token", share.token);
    this.#secrets.add("share secret", share.secret);
    if (wish.passcode !== undefined && wish.passcode.length > 5) {
      this.#secrets.add("passcode", wish.passcode);
    }
    this.#secrets.add("email", share.person.email);
    this.#secrets.add("password", share.person.password);
    return { link: `/share#${share.token}.${share.secret}`, ...share };
  }

  /** Revokes a share, as its person. */
  async revokeShare({ shareId, person: { email, password } }: Share): Promise<void> {
    await this.#control.run("revokeShare", { shareId, email, password });
  }

  /** Changes a byte of the stored ciphertext. */
  async tamperShare({ shareId }: Share): Promise<void> {
    await this.#control.run("tamperShare", { shareId });
  }

  /** Moves the times of a share into the past. */
  async expireShare({ shareId }: Share): Promise<void> {
    await this.#control.run("expireShare", { shareId });
  }

  /** How many accounts have the address. */
  accounts(email: string): Promise<number> {
    return this.#control.run("accounts", { email });
  }

  /** All lines that both services and the server of the pages have logged. */
  logs(): Promise<string> {
    return this.#control.run("logs");
  }

  /** Names a value that must not leave the page but in the body of a call, and returns it. A spec names what it types itself. */
  secret(value: string): string {
    return this.#secrets.add("secret", value);
  }

  /** Runs both services as before the test. */
  async restore(): Promise<void> {
    if (this.#changed) {
      await this.#control.run("restore");
    }
  }
}

/** One of the services. After the test it runs as before. */
export class Service {
  readonly #name: string;
  readonly #origin: string;
  readonly #run: (command: string, parameters: object) => Promise<void>;
  readonly #context: BrowserContext;

  constructor(
    name: string,
    origin: string,
    run: (command: string, parameters: object) => Promise<void>,
    context: BrowserContext,
  ) {
    this.#name = name;
    this.#origin = origin;
    this.#run = run;
    this.#context = context;
  }

  /** Stops the service. Its port refuses connections. */
  stop(): Promise<void> {
    return this.#run("stop", { service: this.#name });
  }

  /** Starts the service again. */
  start(): Promise<void> {
    return this.#run("start", { service: this.#name });
  }

  /** Restarts the service with other settings beside its own. */
  restart(variables: Record<string, string>): Promise<void> {
    return this.#run("restart", { service: this.#name, variables });
  }

  /**
   * Loses the answers of the next `count` calls of an RPC, such as `SignUp`: the service applies the call, and the browser's
   * connection is reset before the answer arrives.
   *
   * Returns a function that returns how many answers were lost.
   */
  async cutAnswers(rpc: string, count: number): Promise<() => number> {
    let lost = 0;
    const isCall = (url: URL) => url.origin === this.#origin && url.pathname.endsWith(`/${rpc}`);
    await this.#context.route(
      isCall,
      async (route) => {
        // Throws when the service does not answer: then no answer was lost.
        const answer = await route.fetch({ timeout: 30_000 });
        await answer.dispose();
        lost += 1;
        await route.abort("connectionreset");
      },
      { times: count },
    );
    return () => lost;
  }
}
