// Computes the test vectors of proto/ENVELOPE.md with the libraries of JavaScript. Prints a row of its table for each library.
import { readFileSync } from 'node:fs';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { gcm } from '@noble/ciphers/aes.js';
import { argon2id as nobleArgon2id } from '@noble/hashes/argon2.js';
import * as hashWasm from 'hash-wasm';
import sodium from 'libsodium-wrappers';
import sumo from 'libsodium-wrappers-sumo';

const hex = (text) => Uint8Array.from(Buffer.from(text, 'hex'));
const same = (a, b) => Buffer.from(a).equals(Buffer.from(b));
await Promise.all([sodium.ready, sumo.ready]);

const vectors = JSON.parse(readFileSync(process.argv[2]));
const secretOf = (vector) => {
  const version = Buffer.alloc(4);
  version.writeUInt32BE(vector.key_version);
  return Uint8Array.from(
    Buffer.concat([hex(vector.secret), hex(vector.key_id.replaceAll('-', '')), version]),
  );
};

const webCrypto = async (vector, name, tagBytes) => {
  const key = await crypto.subtle.importKey('raw', hex(vector.key), name, false, ['decrypt']);
  return new Uint8Array(
    await crypto.subtle.decrypt(
      { name, iv: hex(vector.nonce), additionalData: hex(vector.associated_data), tagLength: tagBytes * 8 },
      key,
      hex(vector.payload),
    ),
  );
};
const sodiumDecrypt = (library) => (vector) =>
  library.crypto_aead_xchacha20poly1305_ietf_decrypt(
    null, hex(vector.payload), hex(vector.associated_data), hex(vector.nonce), hex(vector.key),
  );
const sodiumDerive = (library) => (vector) => {
  if (vector.parallelism !== 1) throw new Error('crypto_pwhash has no parallelism');
  return library.crypto_pwhash(
    32, secretOf(vector), hex(vector.salt), vector.iterations, vector.memory_kib * 1024,
    library.crypto_pwhash_ALG_ARGON2ID13,
  );
};

const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
const libraries = [
  {
    name: `WebCrypto of Node ${process.versions.node.split('.')[0]}`,
    xchacha: (vector) => webCrypto(vector, 'XChaCha20-Poly1305', 16),
    aes: (vector) => webCrypto(vector, 'AES-GCM', 16),
  },
  {
    name: `@noble/ciphers ${version('@noble/ciphers')}`,
    xchacha: (vector) =>
      xchacha20poly1305(hex(vector.key), hex(vector.nonce), hex(vector.associated_data)).decrypt(hex(vector.payload)),
    aes: (vector) => gcm(hex(vector.key), hex(vector.nonce), hex(vector.associated_data)).decrypt(hex(vector.payload)),
  },
  {
    name: `@noble/hashes ${version('@noble/hashes')}`,
    derive: (vector) =>
      nobleArgon2id(secretOf(vector), hex(vector.salt), {
        t: vector.iterations, m: vector.memory_kib, p: vector.parallelism, dkLen: 32,
      }),
  },
  {
    name: `hash-wasm ${version('hash-wasm')}`,
    derive: (vector) =>
      hashWasm.argon2id({
        password: secretOf(vector), salt: hex(vector.salt), iterations: vector.iterations,
        memorySize: vector.memory_kib, parallelism: vector.parallelism, hashLength: 32, outputType: 'binary',
      }),
  },
  {
    name: `libsodium-wrappers ${version('libsodium-wrappers')}`,
    xchacha: sodiumDecrypt(sodium),
    derive: sodiumDerive(sodium),
  },
  {
    name: `libsodium-wrappers-sumo ${version('libsodium-wrappers-sumo')}`,
    xchacha: sodiumDecrypt(sumo),
    derive: sodiumDerive(sumo),
  },
];

// How many of the vectors an operation computes; `no` if none.
const count = async (operation, vectors, expected) => {
  if (!operation) return 'no';
  let right = 0;
  for (const vector of vectors) {
    try {
      if (same(await operation(vector), expected(vector))) right += 1;
    } catch {
      // Not supported: counted as such.
    }
  }
  if (right === vectors.length) return 'all';
  return right === 0 ? 'no' : `${right} of ${vectors.length}`;
};
const of = (algorithm) => vectors.filter((vector) => vector.algorithm === algorithm);
const recommended = vectors.filter((vector) => vector.salt.length === 32 && vector.parallelism === 1);
for (const library of libraries) {
  const key = (vector) => hex(vector.key);
  const content = (vector) => Buffer.from(vector.content);
  const cells = [
    await count(library.derive, recommended, key),
    await count(library.derive, vectors, key),
    await count(library.xchacha, of('XCHACHA20_POLY1305'), content),
    await count(library.aes, of('AES_256_GCM'), content),
  ];
  console.log(`| ${library.name} | ${cells.join(' | ')} |`);
}
