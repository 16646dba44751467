#!/usr/bin/env bash
# npm's argon2 writes the parameters of a hash in another order than the reference implementation reads.
#
# Expected: a hash of one implementation of argon2 is checked by the others: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
# What happens: argon2 0.45.1 of npm writes `m=…,p=…,t=…`. argon2-cffi, which has the reference implementation, fails with
# "Decoding failed", and libsodium calls the right password wrong. With the order m, t, p both accept the same hash.
# A move from Node to Python therefore has to rewrite the hashes. Haven reads parameters by their names.
set -euo pipefail

readonly ARGON2_NPM=0.45.1 ARGON2_CFFI=25.1.0 PYNACL=1.6.2

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"

npm init --yes > /dev/null
npm install --silent --no-audit --no-fund "argon2@$ARGON2_NPM"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check "argon2-cffi==$ARGON2_CFFI" "pynacl==$PYNACL"

# One lane, because libsodium has no other.
hash=$(node -e "require('argon2').hash('correct horse', { parallelism: 1 }).then(console.log)")
echo "argon2 $ARGON2_NPM of npm: $hash"

python/bin/python - "$hash" <<'PYTHON'
import re, sys
import argon2, nacl.exceptions, nacl.pwhash

def outcome(check):
    try:
        return "right" if check() else "wrong"
    except (argon2.exceptions.Argon2Error, nacl.exceptions.CryptoError) as error:
        return f"{type(error).__name__}: {error}"

hash = sys.argv[1]
assert re.search(r"\$m=\d+,p=\d+,t=\d+\$", hash), "the order is another one now"
reordered = re.sub(r"(m=\d+),(p=\d+),(t=\d+)", r"\1,\3,\2", hash)
found = {}
for name, text in (("as it is", hash), ("reordered", reordered)):
    found[name] = (
        outcome(lambda: argon2.PasswordHasher().verify(text, "correct horse")),
        outcome(lambda: nacl.pwhash.verify(text.encode(), b"correct horse")),
    )
    print(f"{name}: argon2-cffi: {found[name][0]}; libsodium: {found[name][1]}")
assert found["reordered"] == ("right", "right"), found
assert "Decoding failed" in found["as it is"][0] and found["as it is"][1] != "right", found
PYTHON
echo "ok: as described"
