import { type Failure, failureOf } from "../api/failure";
import { type EnvelopeErrorCode, parseShareFragment, type ShareLink } from "../envelope";
import type { OpenShareResponse } from "../gen/haven/data/v1/share_pb";
import { DecryptionError, type Decryptor, type EncryptedShare } from "./decryption";
import { deviceType } from "./device-type";
import type { ShareClient } from "./share-client";

/** Why an attempt did not open the share. */
export interface Attempt {
  /**
   * `refused`: for any reason of the service, which tells none. `busy`: refused for a moment, and not counted. `unanswered`: perhaps
   * counted. `passcode`: it cannot be one. `unprepared`: the page could not load what decrypts, and asked for nothing.
   */
  kind: "refused" | "busy" | "unanswered" | "passcode" | "unprepared";
  failure?: Failure;
  /** The time from which another attempt makes sense, in milliseconds since the epoch. */
  retryTime?: number | undefined;
}

/** What the page shows. */
export type ShareState =
  | { step: "reading" }
  | { step: "no-link"; malformed: boolean }
  | { step: "ready"; attempt?: Attempt }
  /** What decrypts is loaded. Nothing has been asked of the service. */
  | { step: "preparing" }
  | { step: "opening" }
  | { step: "decrypting" }
  | { step: "opened"; content: Uint8Array; answer: OpenShareResponse }
  | { step: "undecryptable"; code: EnvelopeErrorCode | "WORKER" }
  | { step: "closed" };

/** Failures after which the same answer may be decrypted by another try, without another opening. */
const TRY_AGAIN: (EnvelopeErrorCode | "WORKER")[] = ["OUT_OF_MEMORY", "WORKER"];

/**
 * The link, the answer and the content of one share, in memory alone. Nothing is asked of the service before {@link open}, so a
 * program that looks at links uses no opening.
 */
export class ShareReader {
  #state: ShareState = { step: "reading" };
  #link: ShareLink | undefined;
  #answer: OpenShareResponse | undefined;
  /** The attempt that runs. A later link or a close ends it, and what it still brings is dropped. */
  #running: AbortController | undefined;
  #listeners = new Set<() => void>();

  constructor(
    readonly client: Pick<ShareClient, "openShare">,
    readonly startDecryptor: (signal: AbortSignal) => Promise<Decryptor>,
  ) {}

  get state(): ShareState {
    return this.#state;
  }

  /** Whether {@link decryptAgain} may help. */
  get canDecryptAgain(): boolean {
    return this.#state.step === "undecryptable" && TRY_AGAIN.includes(this.#state.code);
  }

  /** Takes the fragment of a link; undefined when the page was opened without one. Content of an earlier link is closed. */
  receive(fragment: string | undefined): void {
    if (fragment === undefined) {
      if (this.#state.step === "reading") {
        this.#change({ step: "no-link", malformed: false });
      }
      return;
    }
    this.#wipe();
    try {
      this.#link = parseShareFragment(fragment);
      this.#change({ step: "ready" });
    } catch {
      this.#change({ step: "no-link", malformed: true });
    }
  }

  /** Opens the share. Does nothing while an attempt runs, so that a double click uses one opening. */
  async open(passcode: string): Promise<void> {
    const link = this.#link;
    if (!link || this.#state.step !== "ready") {
      return;
    }
    await this.#run("preparing", async (signal, decryptor) => {
      this.#change({ step: "opening" });
      const { token } = link;
      const answer = await this.client.openShare({ token, passcode, deviceType: deviceType() }, { signal });
      signal.throwIfAborted();
      this.#answer = answer;
      await this.#decrypt(signal, decryptor, link, answer);
    });
  }

  /** Decrypts the answer again, for example after other programs have given memory back. */
  async decryptAgain(): Promise<void> {
    const [link, answer] = [this.#link, this.#answer];
    if (!link || !answer || !this.canDecryptAgain) {
      return;
    }
    await this.#run("decrypting", (signal, decryptor) => this.#decrypt(signal, decryptor, link, answer));
  }

  /** Ends an attempt that has asked nothing of the service yet, so that no opening is used. */
  cancel(): void {
    if (this.#state.step === "preparing") {
      this.#running?.abort();
      this.#change({ step: "ready" });
    }
  }

  /** Wipes the content and the secret, and drops the token. */
  close(): void {
    if (this.#link) {
      this.#wipe();
      this.#change({ step: "closed" });
    }
  }

  /** Ends the attempt that runs, if any. */
  abort(): void {
    this.#running?.abort();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  async #run(
    step: "preparing" | "decrypting",
    work: (signal: AbortSignal, decryptor: Decryptor) => Promise<void>,
  ): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    this.#change({ step });
    let decryptor: Decryptor | undefined;
    try {
      decryptor = await this.startDecryptor(running.signal);
      running.signal.addEventListener("abort", decryptor.end);
      running.signal.throwIfAborted();
      await work(running.signal, decryptor);
    } catch (error) {
      if (!running.signal.aborted) {
        this.#fail(error);
      }
    } finally {
      decryptor?.end();
    }
  }

  async #decrypt(signal: AbortSignal, decryptor: Decryptor, link: ShareLink, answer: OpenShareResponse): Promise<void> {
    this.#change({ step: "decrypting" });
    const content = await decryptor.decrypt(encryptedShare(link, answer));
    if (signal.aborted) {
      content.fill(0);
      return;
    }
    this.#answer = undefined;
    this.#change({ step: "opened", content, answer });
  }

  #fail(error: unknown): void {
    if (error instanceof DecryptionError) {
      const undecryptable: ShareState = { step: "undecryptable", code: error.code };
      this.#change(this.#answer ? undecryptable : { step: "ready", attempt: { kind: "unprepared" } });
      return;
    }
    const failure = failureOf(error);
    if (failure.violations.some(({ field }) => field === "token")) {
      this.#wipe();
      this.#change({ step: "no-link", malformed: true });
      return;
    }
    const retryTime = failure.retryAfter === undefined ? undefined : Date.now() + failure.retryAfter;
    this.#change({ step: "ready", attempt: { kind: kindOf(failure), failure, retryTime } });
  }

  #wipe(): void {
    this.#running?.abort();
    this.#running = undefined;
    this.#link?.secret.fill(0);
    this.#link = undefined;
    this.#answer = undefined;
    if (this.#state.step === "opened") {
      this.#state.content.fill(0);
    }
  }

  #change(state: ShareState): void {
    this.#state = state;
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

function kindOf({ reason, violations }: Failure): Attempt["kind"] {
  if (violations.some(({ field }) => field === "passcode")) {
    return "passcode";
  }
  switch (reason) {
    case "SHARE_UNAVAILABLE":
      return "refused";
    case "RATE_LIMITED":
    case "OVERLOADED":
    case "TOO_MANY_CALLS":
      return "busy";
    default:
      return "unanswered";
  }
}

/** The answer as the worker takes it: without the classes of the generated code, which cannot be sent to it. */
function encryptedShare(link: ShareLink, answer: OpenShareResponse): EncryptedShare {
  const envelope = answer.cryptoEnvelope;
  const derivation = envelope?.keyDerivation;
  return {
    payload: answer.encryptedShareData,
    envelope: {
      envelopeVersion: envelope?.envelopeVersion ?? 0,
      algorithm: envelope?.algorithm ?? 0,
      keyId: envelope?.keyId ?? "",
      keyVersion: envelope?.keyVersion ?? 0,
      nonce: envelope?.nonce ?? new Uint8Array(),
      salt: envelope?.salt ?? new Uint8Array(),
      keyDerivation: derivation && {
        memoryKib: derivation.memoryKib,
        iterations: derivation.iterations,
        parallelism: derivation.parallelism,
      },
      associatedDataVersion: envelope?.associatedDataVersion ?? 0,
    },
    userId: answer.userId,
    shareId: answer.shareId,
    // A copy, which the worker overwrites.
    secret: new Uint8Array(link.secret),
  };
}
