#!/usr/bin/env bash
# Authlib publishes a key without an id under an id of its own, which the tokens that this key signs do not name.
#
# Expected: a key that was generated without `kid` is published without one, or the tokens that it signs name the id under which it is
# published. RFC 7517, section 4.5: the `kid` is there to match a key; RFC 7515, section 4.1.4: with a JWK, a token's `kid` is
# used to match the `kid` of the JWK.
#
# What happens: KeySet.as_dict() of Authlib 1.9.10 adds a `kid`, the thumbprint of RFC 7638, to a key without one, but a token that the
# same key signs has no `kid` in its header. jose 6.2.18 (npm) accepts such a token, because one key of the set fits; PyJWT 2.15.1's look-up by a
# token (PyJWKClient.get_signing_key_from_jwt) refuses it, because it matches the `kid` alone, and there is none.
set -euo pipefail

readonly AUTHLIB=1.9.10 PYJWT=2.15.1 JOSE=6.2.18

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "authlib==$AUTHLIB" "pyjwt[crypto]==$PYJWT"
(cd "$work" && npm install --silent --no-audit --no-fund "jose@$JOSE" >npm.log 2>&1)

cat >"$work/publish.py" <<'PY'
import json
import warnings

warnings.simplefilter("ignore")

import jwt
from authlib.jose import JsonWebKey, JsonWebToken, KeySet

key = JsonWebKey.generate_key("EC", "P-256", is_private=True)
token = JsonWebToken(["ES256"]).encode({"alg": "ES256"}, {"sub": "ada"}, key).decode()
published = KeySet([key]).as_dict()
assert "d" not in published["keys"][0]
print("published kid:", published["keys"][0]["kid"])
print("kid of the token:", jwt.get_unverified_header(token).get("kid"))
assert published["keys"][0]["kid"] == key.thumbprint()
assert "kid" not in jwt.get_unverified_header(token)


class Client(jwt.PyJWKClient):
    def fetch_data(self):
        return published


try:
    Client("https://issuer.example/jwks.json").get_signing_key_from_jwt(token)
except jwt.exceptions.PyJWKClientError as error:
    print("PyJWT:", error)
else:
    raise SystemExit("PyJWT found a key")
json.dump({"published": published, "token": token}, open("published.json", "w"))
PY
cat >"$work/verify.mjs" <<'JS'
import { readFileSync } from "node:fs";
import { createLocalJWKSet, jwtVerify } from "jose";

const { published, token } = JSON.parse(readFileSync("published.json", "utf8"));
const { payload } = await jwtVerify(token, createLocalJWKSet(published));
console.log("jose:", payload.sub);
JS
cd "$work"
venv/bin/pip list --disable-pip-version-check | grep -iE '^(authlib|pyjwt) '
venv/bin/python publish.py || { echo "changed: the key or the token has another kid, or PyJWT finds the key" >&2; exit 1; }
node verify.mjs || { echo "changed: jose refuses the token" >&2; exit 1; }
echo "as described"
