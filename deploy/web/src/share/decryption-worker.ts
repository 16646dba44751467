import { decryptShare } from "./decrypt-share";
import type { EncryptedShare, WorkerMessage } from "./decryption";

/** The scope of a worker: the types of a page's window would take other arguments. */
const scope = self as unknown as {
  onmessage: ((event: MessageEvent<EncryptedShare>) => void) | null;
  postMessage(message: WorkerMessage, transfer?: Transferable[]): void;
};

scope.onmessage = async ({ data }) => {
  const message = await decryptShare(data);
  scope.postMessage(message, message.kind === "content" ? [message.content.buffer as ArrayBuffer] : []);
};

// The smallest module: where a policy forbids WebAssembly, this fails, before an opening is used.
WebAssembly.compile(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])).then(
  () => scope.postMessage({ kind: "ready" }),
  () => scope.postMessage({ kind: "failed", code: "WORKER" }),
);
