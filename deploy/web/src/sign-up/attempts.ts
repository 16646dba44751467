import type { EntryClients } from "../api/clients";
import { type Failure, failureOf } from "../api/failure";
import { RequestIds } from "../api/request-id";
import type { Goal } from "../gen-sign-up/haven/identity/v1/account_pb";
import { trimAscii } from "./email-rules";

/** The content of a sign-up. */
export interface SignUpContent {
  email: string;
  password: string;
  goals: Goal[];
  consents: { document: string; documentVersion: string }[];
}

/** The reasons after which the account may exist: the answer was lost, or the server failed at an unknown point. */
const UNDECIDED = [
  "UNREACHABLE",
  "DEADLINE",
  "CANCELLED",
  "CLIENT_TOO_SLOW",
  "DEPENDENCY_UNAVAILABLE",
  "DRAINING",
  "INTERNAL",
];

export function isUndecided({ reason }: Failure): boolean {
  return UNDECIDED.includes(reason);
}

/**
 * The attempts of one form to sign up, which make one account together.
 *
 * The same content is sent with the same request ID, and the server applies it once. A changed content is another request. If the
 * server then says that the address is taken, the account may be that of an earlier attempt without an answer: this attempt is
 * sent again, and the server answers it if it made the account. It cannot make another one, because its address is taken.
 */
export class SignUpAttempts {
  #ids = new RequestIds();
  #undecided: { content: SignUpContent; requestId: string }[] = [];

  constructor(private readonly accounts: Pick<EntryClients["accounts"], "signUp">) {}

  /** Signs up. Returns the content of the account: `content`, or that of an earlier attempt. Throws as the call does. */
  async send(content: SignUpContent): Promise<SignUpContent> {
    const requestId = this.#ids.for(content);
    try {
      await this.accounts.signUp({ ...content, requestId });
    } catch (error) {
      const failure = failureOf(error);
      if (isUndecided(failure)) {
        this.#undecided = [...this.#undecided.filter((other) => other.requestId !== requestId), { content, requestId }];
      }
      if (failure.reason === "REQUEST_ID_REUSED" || failure.reason === "ACCOUNT_ERASED") {
        // The account of this request was made, and changed or erased since. The next attempt is for another one.
        this.forget();
      }
      const earlier = failure.reason === "EMAIL_TAKEN" ? await this.#earlier(content) : undefined;
      if (earlier === undefined) {
        throw error;
      }
      content = earlier;
    }
    this.forget();
    return content;
  }

  /** Forgets all attempts with their passwords. */
  forget(): void {
    this.#ids.forget();
    this.#undecided = [];
  }

  /** Returns the earlier attempt that made the account with the address of `taken`. */
  async #earlier(taken: SignUpContent): Promise<SignUpContent | undefined> {
    for (const attempt of this.#undecided.filter(({ content }) => addressOf(content) === addressOf(taken))) {
      try {
        await this.accounts.signUp({ ...attempt.content, requestId: attempt.requestId });
        return attempt.content;
      } catch (error) {
        if (!["EMAIL_TAKEN", "REQUEST_ID_REUSED", "ACCOUNT_ERASED"].includes(failureOf(error).reason)) {
          throw error;
        }
        this.#undecided = this.#undecided.filter((other) => other !== attempt);
      }
    }
    return undefined;
  }
}

/** Only letter case and white space: two of these spellings are one address in any case. */
function addressOf({ email }: SignUpContent): string {
  return trimAscii(email).toLowerCase();
}
