"""Computes the test vectors of proto/ENVELOPE.md with the libraries of Python. Prints a row of its table for each library."""

import json
import sys
import uuid
from importlib.metadata import version

import nacl
import nacl.bindings as sodium
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id


def secret(vector):
    key_version = vector["key_version"].to_bytes(4, "big")
    return bytes.fromhex(vector["secret"]) + uuid.UUID(vector["key_id"]).bytes + key_version


def parts(vector):
    return [bytes.fromhex(vector[name]) for name in ("key", "nonce", "payload", "associated_data")]


def sodium_derive(vector):
    if vector["parallelism"] != 1:
        raise ValueError("crypto_pwhash has no parallelism")
    salt = bytes.fromhex(vector["salt"])
    algorithm = sodium.crypto_pwhash_ALG_ARGON2ID13
    memory = vector["memory_kib"] * 1024
    return sodium.crypto_pwhash_alg(32, secret(vector), salt, vector["iterations"], memory, algorithm)


def sodium_decrypt(vector):
    key, nonce, payload, associated = parts(vector)
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(payload, associated, nonce, key)


def openssl_derive(vector):
    derivation = Argon2id(
        salt=bytes.fromhex(vector["salt"]),
        length=32,
        iterations=vector["iterations"],
        lanes=vector["parallelism"],
        memory_cost=vector["memory_kib"],
    )
    return derivation.derive(secret(vector))


def openssl_aes(vector):
    key, nonce, payload, associated = parts(vector)
    return aead.AESGCM(key).decrypt(nonce, payload, associated)


def openssl_xchacha(vector):
    key, nonce, payload, associated = parts(vector)
    # The only ChaCha20-Poly1305 of the library, with nonces of 12 bytes.
    return aead.ChaCha20Poly1305(key).decrypt(nonce, payload, associated)


def argon2_derive(vector):
    salt = bytes.fromhex(vector["salt"])
    costs = vector["iterations"], vector["memory_kib"], vector["parallelism"]
    return hash_secret_raw(secret(vector), salt, *costs, 32, Type.ID)


LIBRARIES = [
    (f"PyNaCl {nacl.__version__}", sodium_derive, sodium_decrypt, None),
    (f"cryptography {version('cryptography')}", openssl_derive, openssl_xchacha, openssl_aes),
    (f"argon2-cffi {version('argon2-cffi')}", argon2_derive, None, None),
]


def count(operation, vectors, expected):
    """How many of the vectors an operation computes; `no` if none."""
    right = 0
    for vector in vectors if operation else []:
        try:
            right += operation(vector) == expected(vector)
        except Exception:  # Not supported: counted as such.
            pass
    return "all" if right == len(vectors) else "no" if right == 0 else f"{right} of {len(vectors)}"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    recommended = [v for v in vectors if len(v["salt"]) == 32 and v["parallelism"] == 1]
    for name, derive, xchacha, aes in LIBRARIES:
        cells = [
            count(derive, recommended, lambda v: bytes.fromhex(v["key"])),
            count(derive, vectors, lambda v: bytes.fromhex(v["key"])),
        ]
        for operation, algorithm in ((xchacha, "XCHACHA20_POLY1305"), (aes, "AES_256_GCM")):
            of = [v for v in vectors if v["algorithm"] == algorithm]
            cells.append(count(operation, of, lambda v: v["content"].encode()))
        print(f"| {name} | {' | '.join(cells)} |")


main()
