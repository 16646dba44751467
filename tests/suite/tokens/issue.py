"""Makes the keys of an issuer and signs tokens with them, with the JWT libraries of Python.

Reads one JSON object from standard input:

    {"library": "pyjwt", "algorithm": "RS256", "kid": "k1", "form": "jwks", "tokens": [{"sub": "…"}]}

and writes the key document, as the library writes it, and for each object of claims a token and the UUID of version 5 of its
`iss` and `sub`:

    {"keys": {"keys": [{"kty": "RSA"}]}, "tokens": ["eyJ…"], "people": ["…"]}

`kid` may be null. `form` is `jwks`, or `x509` for certificates by key id, which only pyjwt's keys have.
"""

import datetime
import json
import sys
import uuid
import warnings

CURVES = {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}


def pyjwt(algorithm, kid, form, tokens):
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    private, to_jwk = {
        "RS256": lambda: (rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm),
        "ES256": lambda: (ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm),
        "ES384": lambda: (ec.generate_private_key(ec.SECP384R1()), jwt.algorithms.ECAlgorithm),
        "EdDSA": lambda: (ed25519.Ed25519PrivateKey.generate(), jwt.algorithms.OKPAlgorithm),
    }[algorithm]()
    if form == "x509":
        keys = {kid: certificate(private)}
    else:
        jwk = json.loads(to_jwk.to_jwk(private.public_key()))
        keys = {"keys": [jwk | ({"kid": kid} if kid else {})]}
    headers = {"kid": kid} if kid else None
    return keys, [jwt.encode(claims, private, algorithm, headers) for claims in tokens]


def certificate(private):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    name = x509.Name.from_rfc4514_string("CN=securetoken.system.gserviceaccount.com")
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=16))
        .sign(private, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def authlib(algorithm, kid, form, tokens):
    warnings.simplefilter("ignore")
    from authlib.jose import JsonWebKey, JsonWebToken, KeySet

    kind = {"RS256": ("RSA", 2048), "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "EdDSA": ("OKP", "Ed25519")}[algorithm]
    options = {"use": "sig", "alg": algorithm} | ({"kid": kid} if kid else {})
    key = JsonWebKey.generate_key(*kind, options=options, is_private=True)
    header = {"alg": algorithm, "typ": "at+jwt"} | ({"kid": kid} if kid else {})
    signed = [JsonWebToken([algorithm]).encode(header, claims, key).decode() for claims in tokens]
    return KeySet([key]).as_dict(), signed


def joserfc(algorithm, kid, form, tokens):
    from joserfc import jwk, jwt

    parameters = {"use": "sig"} | ({"kid": kid} if kid else {})
    key = {
        "RS256": lambda: jwk.RSAKey.generate_key(2048, parameters),
        "ES256": lambda: jwk.ECKey.generate_key("P-256", parameters),
        "ES384": lambda: jwk.ECKey.generate_key("P-384", parameters),
        "EdDSA": lambda: jwk.OKPKey.generate_key("Ed25519", parameters),
        "Ed25519": lambda: jwk.OKPKey.generate_key("Ed25519", parameters),
    }[algorithm]()
    header = {"alg": algorithm} | ({"kid": kid} if kid else {})
    signed = [jwt.encode(header, claims, key, algorithms=[algorithm]) for claims in tokens]
    return {"keys": [key.as_dict(private=False)]}, signed


def jwcrypto(algorithm, kid, form, tokens):
    from jwcrypto import jwk, jwt

    kind = {"RS256": {"kty": "RSA", "size": 2048}}.get(algorithm)
    kind = kind or {"kty": "OKP" if algorithm == "EdDSA" else "EC", "crv": CURVES[algorithm]}
    key = jwk.JWK.generate(use="sig", **kind, **({"kid": kid} if kid else {}))
    keys = jwk.JWKSet()
    keys.add(key)
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
    signed = []
    for claims in tokens:
        token = jwt.JWT(header=header, claims=claims)
        token.make_signed_token(key)
        signed.append(token.serialize())
    return keys.export(private_keys=False, as_dict=True), signed


order = json.load(sys.stdin)
library = globals()[order.pop("library")]
keys, tokens = library(**order)
people = [
    str(uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, claims["iss"]), claims["sub"])) for claims in order["tokens"]
]
json.dump({"keys": keys, "tokens": tokens, "people": people}, sys.stdout)
