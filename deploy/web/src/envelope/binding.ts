import type { Algorithm } from "./envelope.js";
import { EnvelopeError, requireRange } from "./error.js";
import { uuidBytes } from "./uuid.js";

/** The kinds of content, with the numbers that they have in the associated data. */
export const Kind = { RECORD: 1, PREFERENCES: 2, SHARE: 3 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** What a content belongs to. Content that was encrypted for one binding cannot be decrypted for another. */
export interface Binding {
  kind: Kind;
  userId: string;
  /** The ID of the record or share; for preferences, the user ID. */
  recordId: string;
  /** The version of the record that the content becomes: one more than the version that it is based on. */
  version: bigint;
}

/** The binding of a cycle record. `version` is `expected_version + 1` when it is written, and `version` when it is read. */
export function recordBinding(userId: string, recordId: string, version: bigint): Binding {
  return { kind: Kind.RECORD, userId, recordId, version };
}

/** The binding of a user's preferences. */
export function preferencesBinding(userId: string, version: bigint): Binding {
  return { kind: Kind.PREFERENCES, userId, recordId: userId, version };
}

/** The binding of a share. A share is never changed, so its version is 1. */
export function shareBinding(userId: string, shareId: string): Binding {
  return { kind: Kind.SHARE, userId, recordId: shareId, version: 1n };
}

/** The key that encrypts a content. */
export interface KeyName {
  keyId: string;
  keyVersion: number;
}

/** Returns the associated data: the 68 bytes that both sides build, and that are never sent. */
export function associatedData(binding: Binding, algorithm: Algorithm, key: KeyName): Uint8Array<ArrayBuffer> {
  requireRange("kind", binding.kind, 1, 3);
  requireRange("keyVersion", key.keyVersion, 1, 0x7fff_ffff);
  if (typeof binding.version !== "bigint" || binding.version < 1n || binding.version > 0x7fff_ffff_ffff_ffffn) {
    throw new EnvelopeError("OUT_OF_RANGE", "version must be a bigint from 1 to 2^63 - 1");
  }
  const data = new Uint8Array(68);
  const view = new DataView(data.buffer);
  data.set([0x48, 0x41, 0x56, 0x45, 0x4e, 1, binding.kind, algorithm]); // "HAVEN" and the version of the layout
  data.set(uuidBytes("userId", binding.userId), 8);
  data.set(uuidBytes("recordId", binding.recordId), 24);
  data.set(uuidBytes("keyId", key.keyId), 40);
  view.setBigUint64(56, binding.version);
  view.setUint32(64, key.keyVersion);
  return data;
}
