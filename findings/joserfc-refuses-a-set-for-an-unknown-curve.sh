#!/usr/bin/env bash
# One key with an unknown curve makes joserfc refuse a whole JSON Web Key Set, and one with an unknown type does not; in Authlib the
# other way round.
#
# Expected: RFC 7517, section 5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" (key type) values that are not
# understood by them, that are missing required members, or for which values are out of the supported ranges." So a set with one usable key and
# one that is new to the library yields the usable key.
#
# What happens: joserfc 1.8.0 leaves out a key with an unknown `kty` (AKP, the type of ML-DSA keys), and raises KeyError for the whole set
# when a key of the known type EC has an unknown `crv`. authlib.jose of Authlib 1.9.10, which joserfc replaces, does the contrary: it raises KeyError
# for the unknown `kty`, and keeps the key with the unknown `crv`, until it is used. PyJWT 2.15.1 leaves out both.
set -euo pipefail

readonly JOSERFC=1.8.0 AUTHLIB=1.9.10 PYJWT=2.15.1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "joserfc==$JOSERFC" "authlib==$AUTHLIB" "pyjwt[crypto]==$PYJWT"

cat >"$work/sets.py" <<'PY'
import json
import warnings

warnings.simplefilter("ignore")

import authlib.jose
import joserfc.jwk
import jwt

# The key of RFC 7515, appendix A.3.
good = {
    "kty": "EC", "crv": "P-256", "kid": "good",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
new_type = {"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "AAAA"}
new_curve = good | {"kid": "new", "crv": "brainpoolP256r1"}

libraries = {
    "joserfc": lambda keys: [key.kid for key in joserfc.jwk.KeySet.import_key_set(keys).keys],
    "authlib": lambda keys: [key.kid for key in authlib.jose.JsonWebKey.import_key_set(keys).keys],
    "pyjwt": lambda keys: [key.key_id for key in jwt.PyJWKSet.from_dict(keys).keys],
}
found = {}
for library, read in libraries.items():
    for name, key in {"kty": new_type, "crv": new_curve}.items():
        try:
            found[library, name] = read({"keys": [json.loads(json.dumps(key)), good]})
        except Exception as error:
            found[library, name] = type(error).__name__
        print(f"{library}, a key with an unknown {name}: {found[library, name]}")

assert found == {
    ("joserfc", "kty"): ["good"],
    ("joserfc", "crv"): "KeyError",
    ("authlib", "kty"): "KeyError",
    ("authlib", "crv"): ["new", "good"],
    ("pyjwt", "kty"): ["good"],
    ("pyjwt", "crv"): ["good"],
}, found
PY
"$work/venv/bin/pip" list --disable-pip-version-check | grep -iE '^(joserfc|authlib|pyjwt) '
"$work/venv/bin/python" "$work/sets.py" || { echo "changed: the libraries behave in another way" >&2; exit 1; }
echo "as described"
