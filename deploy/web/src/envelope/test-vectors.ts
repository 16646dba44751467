import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { Algorithm, type Binding, type Envelope, Kind } from "./index.js";

/** A test vector of proto/ENVELOPE.md. Its bytes are in hexadecimal. */
interface Row {
  kind: "record" | "preferences" | "share";
  algorithm: keyof typeof Algorithm;
  user_id: string;
  record_id: string;
  version: number;
  key_id: string;
  key_version: number;
  secret: string;
  salt: string;
  memory_kib: number;
  iterations: number;
  parallelism: number;
  key: string;
  nonce: string;
  associated_data: string;
  content: string;
  payload: string;
}

export interface Vector {
  name: string;
  algorithm: Algorithm;
  binding: Binding;
  envelope: Envelope;
  secret: Uint8Array;
  key: string;
  associatedData: string;
  content: string;
  payload: Uint8Array;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function bytes(digits: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(digits, "hex"));
}

/** Reads the vectors from the only TOML block of the page. */
export function readVectors(): Vector[] {
  const page = readFileSync(new URL("../../../../proto/ENVELOPE.md", import.meta.url), "utf8");
  const blocks = [...page.matchAll(/^```toml\n(.*?)^```/gms)];
  if (blocks.length !== 1 || blocks[0]?.[1] === undefined) {
    throw new Error(`proto/ENVELOPE.md has ${blocks.length} blocks of TOML`);
  }
  const { vector } = parse(blocks[0][1]) as unknown as { vector: Row[] };
  return vector.map(vectorOf);
}

function vectorOf(row: Row): Vector {
  const algorithm = Algorithm[row.algorithm];
  const kind = { record: Kind.RECORD, preferences: Kind.PREFERENCES, share: Kind.SHARE }[row.kind];
  return {
    name: `${row.kind}, ${row.algorithm}`,
    algorithm,
    binding: { kind, userId: row.user_id, recordId: row.record_id, version: BigInt(row.version) },
    envelope: {
      envelopeVersion: 1,
      algorithm,
      keyId: row.key_id,
      keyVersion: row.key_version,
      nonce: bytes(row.nonce),
      salt: bytes(row.salt),
      keyDerivation: { memoryKib: row.memory_kib, iterations: row.iterations, parallelism: row.parallelism },
      associatedDataVersion: 1,
    },
    secret: bytes(row.secret),
    key: row.key,
    associatedData: row.associated_data,
    content: row.content,
    payload: bytes(row.payload),
  };
}
