import type { Envelope, EnvelopeErrorCode } from "../envelope";
import workerUrl from "./decryption-worker?worker&url";

/** What the worker decrypts: the answer of OpenShare, and the secret of the link. */
export interface EncryptedShare {
  payload: Uint8Array;
  envelope: Envelope;
  userId: string;
  shareId: string;
  secret: Uint8Array;
}

/** What the worker says: that it can work, then one result. */
export type WorkerMessage =
  | { kind: "ready" }
  | { kind: "content"; content: Uint8Array }
  | { kind: "failed"; code: EnvelopeErrorCode | "WORKER" };

/** Why a share cannot be shown. WORKER: the worker did not load, or was ended by the browser. */
export class DecryptionError extends Error {
  constructor(readonly code: EnvelopeErrorCode | "WORKER") {
    super(`the share was not decrypted: ${code}`);
    this.name = "DecryptionError";
  }
}

/** Decrypts one share beside the page, which the derivation of the key would freeze. */
export interface Decryptor {
  decrypt(share: EncryptedShare): Promise<Uint8Array>;
  /** Ends the worker, with all that it has in memory. */
  end(): void;
}

/** The time that the worker has to load and start, in milliseconds. */
export const START_TIMEOUT = 20_000;

/**
 * Starts a worker. Throws a {@link DecryptionError} when it cannot work, does not start in time, or `signal` ends the start: so it is
 * known before an opening is used.
 */
export async function startDecryptor(signal: AbortSignal): Promise<Decryptor> {
  const worker = new Worker(trusted(workerUrl), { type: "module", name: "decryption" });
  const ready = await Promise.race([next(worker), ended(signal, START_TIMEOUT)]);
  if (ready.kind !== "ready") {
    worker.terminate();
    throw new DecryptionError("WORKER");
  }
  return {
    decrypt: async (share) => {
      const result = next(worker);
      worker.postMessage(share);
      const message = await result;
      if (message.kind === "content") {
        return message.content;
      }
      throw new DecryptionError(message.kind === "failed" ? message.code : "WORKER");
    },
    end: () => worker.terminate(),
  };
}

/** The next message of the worker; WORKER when it fails instead. */
function next(worker: Worker): Promise<WorkerMessage> {
  return new Promise((resolve) => {
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      resolve({ kind: "failed", code: "WORKER" });
    };
    worker.onmessageerror = () => resolve({ kind: "failed", code: "WORKER" });
  });
}

/** Comes when `signal` is aborted, or after some time. */
function ended(signal: AbortSignal, milliseconds: number): Promise<WorkerMessage> {
  return new Promise((resolve) => {
    const end = () => resolve({ kind: "failed", code: "WORKER" });
    signal.addEventListener("abort", end);
    setTimeout(end, milliseconds);
    if (signal.aborted) {
      end();
    }
  });
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

/** The policy that the Content-Security-Policy of the pages names. It admits the address of the worker alone. */
let policy: { createScriptURL(url: string): string } | undefined;

function trusted(url: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  policy ??= trustedTypes?.createPolicy("haven-worker", {
    createScriptURL: (url) => {
      if (url !== workerUrl) {
        throw new TypeError("this is not the address of the worker");
      }
      return url;
    },
  });
  return policy ? policy.createScriptURL(url) : url;
}
