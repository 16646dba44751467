import { EnvelopeError, Secret, shareBinding } from "../envelope";
import type { EncryptedShare, WorkerMessage } from "./decryption";

/** Decrypts a share, and overwrites the copy of the secret that it got. */
export async function decryptShare(share: EncryptedShare): Promise<WorkerMessage> {
  let secret: Secret | undefined;
  try {
    secret = new Secret(share.secret);
    const content = await secret.open(share.payload, share.envelope, shareBinding(share.userId, share.shareId));
    return { kind: "content", content };
  } catch (error) {
    return { kind: "failed", code: error instanceof EnvelopeError ? error.code : "WORKER" };
  } finally {
    share.secret.fill(0);
    secret?.forget();
  }
}
