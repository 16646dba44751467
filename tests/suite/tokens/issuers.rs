//! Fixture: three issuers beside identity, as projects on Supabase have them. One has a shared secret, two have public keys.

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_testkit::Stack;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// Issuer that signs with a shared secret (HS256).
pub(super) const SHARED: &str = "https://old.example/auth/v1";
/// Issuer that signs with a P-256 key (ES256) with the id `k1`.
pub(super) const PUBLIC: &str = "https://abc.example/auth/v1";
/// Issuer that signed one token with RSA.
pub(super) const RSA: &str = "https://rsa.example/auth/v1";

/// Secret of [`SHARED`], as the dashboard shows it: the bytes of the text, not Base64.
pub(super) const SECRET: &str = "super-secret-jwt-token-with-at-least-32-characters";

/// Public key of [`RSA`], made with OpenSSL. The private key was deleted.
pub(super) const RSA_JWKS: &str = include_str!("rsa.jwks.json");
/// Token of [`RSA`], valid until 2100.
const RSA_TOKEN: &str = include_str!("rsa.token");

/// Person of the RSA token.
pub(super) const RSA_SUB: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);

/// The issuers, and the files from which data reads their keys.
pub(super) struct Issuers {
    public: KeyPair,
    directory: TempDir,
}

impl Issuers {
    /// Generates the keys and writes their files.
    pub(super) fn new() -> Self {
        let issuers = Self {
            public: KeyPair::generate().unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        let files = [
            ("secret", format!("{SECRET}\n")),
            ("public.json", issuers.public_jwks()),
            ("rsa.json", RSA_JWKS.to_owned()),
        ];
        for (name, content) in files {
            fs::write(issuers.directory.path().join(name), content).unwrap();
        }
        issuers
    }

    /// Starts a stack with a data that trusts the issuers.
    pub(super) async fn stack(&self) -> Stack {
        let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", self.setting());
        stack.start().await.unwrap()
    }

    /// Returns the value of `TRUSTED_ISSUERS`.
    pub(super) fn setting(&self) -> String {
        let file = |name| self.directory.path().join(name).display().to_string();
        let (secret, public, rsa) = (file("secret"), file("public.json"), file("rsa.json"));
        format!("{SHARED}=hs256:{secret},{PUBLIC}=jwks:{public},{RSA}=jwks:{rsa}")
    }

    /// Returns the public key as an uncompressed point: the byte 4, then two coordinates.
    pub(super) fn point(&self) -> &[u8] {
        self.public.der_bytes()
    }

    /// Returns the public key of [`PUBLIC`] as PEM.
    pub(super) fn public_pem(&self) -> String {
        self.public.public_key_pem()
    }

    /// Returns the public key as a JSON Web Key with the id `kid`.
    pub(super) fn key(&self, kid: &str) -> Value {
        let [x, y] = [1..33, 33..65].map(|range| URL_SAFE_NO_PAD.encode(&self.point()[range]));
        json!({
            "kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": true,
            "x": x, "y": y,
        })
    }

    /// Returns the key set of [`PUBLIC`]: the public key, the same with another id, so that tokens must name it, and a
    /// symmetric key, which data must ignore.
    fn public_jwks(&self) -> String {
        let other = json!({"kty": "oct", "kid": "k2", "k": "c2VjcmV0"});
        json!({"keys": [other, self.key("k0"), self.key("k1")]}).to_string()
    }

    /// Signs `claims` with the key of [`PUBLIC`].
    pub(super) fn es256(&self, kid: Option<&str>, claims: &Value) -> String {
        let key = EncodingKey::from_ec_pem(self.public.serialize_pem().as_bytes()).unwrap();
        encode(&header(Algorithm::ES256, kid), claims, &key).unwrap()
    }
}

/// Signs `claims` with a shared secret.
pub(super) fn hs256(kid: Option<&str>, secret: &[u8], claims: &Value) -> String {
    encode(
        &header(Algorithm::HS256, kid),
        claims,
        &EncodingKey::from_secret(secret),
    )
    .unwrap()
}

/// Returns the token of [`RSA`].
pub(super) fn rsa_token() -> &'static str {
    RSA_TOKEN.trim()
}

/// Returns the claims of a token as Supabase issues it.
pub(super) fn claims(issuer: &str, sub: Uuid) -> Value {
    let now = chrono::Utc::now().timestamp();
    json!({
        "iss": issuer, "aud": "authenticated", "sub": sub, "role": "authenticated",
        "iat": now, "exp": now + 3600, "session_id": Uuid::from_u128(7),
        "email": "ada@example.org", "phone": "", "is_anonymous": false,
        "app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": {},
        "aal": "aal1", "amr": [{"method": "password", "timestamp": now}],
    })
}

/// Returns `claims` with one claim replaced.
pub(super) fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn header(algorithm: Algorithm, kid: Option<&str>) -> Header {
    Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    }
}
