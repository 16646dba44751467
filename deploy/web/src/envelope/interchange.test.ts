// @vitest-environment node
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Algorithm, type Binding, Kind, Secret } from "./index.js";
import { bytes, hex } from "./test-vectors.js";

/** What one client sealed for the other. Bytes are in hexadecimal, and the version is text because JSON has no `bigint`. */
interface Item {
  kind: Kind;
  user_id: string;
  record_id: string;
  version: string;
  secret: string;
  content: string;
  payload: string;
  algorithm: number;
  key_id: string;
  key_version: number;
  nonce: string;
  salt: string;
  memory_kib: number;
  iterations: number;
  parallelism: number;
}

/** The directory in which the suite in Rust (tests/suite/envelope/interchange.rs) leaves its items, and expects ours. */
const directory = process.env.HAVEN_INTERCHANGE;

test.runIf(directory)("what the client in Rust sealed is opened, and the other way round", async () => {
  const path = (name: string) => join(directory ?? "", name);
  const items: Item[] = JSON.parse(readFileSync(path("rust.json"), "utf8"));
  expect(items.length).toBeGreaterThan(0);
  for (const item of items) {
    const opened = await new Secret(bytes(item.secret)).open(bytes(item.payload), envelopeOf(item), bindingOf(item));
    expect(hex(opened)).toBe(item.content);
  }
  writeFileSync(path("typescript.json"), JSON.stringify(await sealed()));
});

/** A content of each kind, algorithm and some lengths. */
async function sealed(): Promise<Item[]> {
  const items: Item[] = [];
  for (const kind of Object.values(Kind)) {
    for (const algorithm of Object.values(Algorithm)) {
      for (const length of [0, 1, 1000, 65_520]) {
        items.push(await seal(kind, algorithm, randomBytes(length)));
      }
    }
  }
  return items;
}

async function seal(kind: Kind, algorithm: Algorithm, content: Uint8Array): Promise<Item> {
  const binding = { kind, userId: crypto.randomUUID(), recordId: crypto.randomUUID(), version: 2n ** 40n + 1n };
  const secret = Secret.generate();
  const keyDerivation = { memoryKib: 19_500, iterations: 3, parallelism: 2 };
  const { payload, envelope } = await secret.seal(content, binding, {
    keyId: crypto.randomUUID(),
    keyVersion: 2_147_483_647,
    algorithm,
    keyDerivation,
  });
  return {
    kind,
    user_id: binding.userId,
    record_id: binding.recordId,
    version: String(binding.version),
    secret: hex(secret.expose()),
    content: hex(content),
    payload: hex(payload),
    algorithm,
    key_id: envelope.keyId,
    key_version: envelope.keyVersion,
    nonce: hex(envelope.nonce),
    salt: hex(envelope.salt),
    memory_kib: envelope.keyDerivation.memoryKib,
    iterations: envelope.keyDerivation.iterations,
    parallelism: envelope.keyDerivation.parallelism,
  };
}

function bindingOf(item: Item): Binding {
  return { kind: item.kind, userId: item.user_id, recordId: item.record_id, version: BigInt(item.version) };
}

function envelopeOf(item: Item) {
  return {
    envelopeVersion: 1,
    algorithm: item.algorithm,
    keyId: item.key_id,
    keyVersion: item.key_version,
    nonce: bytes(item.nonce),
    salt: bytes(item.salt),
    keyDerivation: { memoryKib: item.memory_kib, iterations: item.iterations, parallelism: item.parallelism },
    associatedDataVersion: 1,
  };
}
