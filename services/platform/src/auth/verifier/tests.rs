//! Tests of every reason to refuse a token, and of every kind of accepted token.

use std::{
    fs,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Status;
use tonic_types::StatusExt;
use uuid::Uuid;

use super::{super::key_file::KeyFile, *};

mod known_tokens;

const OWN: &str = "haven";
const AUDIENCE: &str = "authenticated";
/// An issuer with a shared secret, and two with public keys.
const SHARED: &str = "https://old.example/auth/v1";
const PUBLIC: &str = "https://abc.example/auth/v1";
const RSA: &str = "https://rsa.example/auth/v1";

const SECRET: &str = "a secret of thirty-two bytes ...";
const NOW: i64 = 1_800_000_000;
const SUB: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
const SESSION: Uuid = Uuid::from_u128(7);

/// A public key, and a token signed with its private key, which no longer exists. Valid until 2100. Made with OpenSSL.
const RSA_JWKS: &str = include_str!("rsa.jwks.json");
const RSA_TOKEN: &str = include_str!("rsa.token");

/// A key pair for ES256.
struct Es256 {
    pair: KeyPair,
    kid: &'static str,
}

impl Es256 {
    fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate().unwrap();
        Self { pair, kid }
    }

    /// The coordinates of the public key, which is an uncompressed point: 4, then two coordinates.
    fn point(&self) -> [String; 2] {
        let point = self.pair.der_bytes();
        [&point[1..33], &point[33..65]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate))
    }

    fn verifying(&self, kid: &str) -> VerifyingKey {
        let [x, y] = self.point();
        VerifyingKey::from_coordinates(kid, &x, &y).unwrap()
    }

    /// The key set: the public key, and another one for the same algorithm.
    fn jwks(&self) -> String {
        let [x, y] = self.point();
        let key = json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256", "use": "sig", "x": x, "y": y});
        let mut other = key.clone();
        other["kid"] = json!("k0");
        json!({"keys": [other, key]}).to_string()
    }

    fn signs(&self, claims: &Value) -> String {
        self.signs_as(self.kid, claims)
    }

    fn signs_as(&self, kid: &str, claims: &Value) -> String {
        let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).unwrap();
        encode(&header(Algorithm::ES256, Some(kid)), claims, &key).unwrap()
    }
}

fn header(algorithm: Algorithm, kid: Option<&str>) -> Header {
    Header {
        kid: kid.map(Into::into),
        ..Header::new(algorithm)
    }
}

fn hs256(kid: Option<&str>, secret: &[u8], claims: &Value) -> String {
    encode(
        &header(Algorithm::HS256, kid),
        claims,
        &EncodingKey::from_secret(secret),
    )
    .unwrap()
}

fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "aud": "authenticated", "sub": SUB, "role": "authenticated", "session_id": SESSION,
        "iat": NOW - 10, "exp": NOW + 890, "email": "a@example.org", "is_anonymous": false,
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// Haven's own issuer and three others. The keys of two of them have the same `kid`.
struct World {
    own: Es256,
    public: Es256,
    verifier: TokenVerifier,
    keys: Arc<KeySet>,
    ended: Arc<EndedSessions>,
    time: Arc<AtomicI64>,
    /// The key files of the other issuers.
    files: TempDir,
}

impl World {
    fn new() -> Self {
        let (own, public) = (Es256::new("k1"), Es256::new("k1"));
        let keys = Arc::new(KeySet::empty());
        keys.replace([own.verifying("k1")]);
        let ended = Arc::new(EndedSessions::new());
        ended.replace([]);
        let time = Arc::new(AtomicI64::new(NOW));
        let now = Arc::clone(&time);
        let clock = Clock::from_fn(move || {
            DateTime::from_timestamp(now.load(Ordering::Relaxed), 999_999_000).unwrap()
        });
        let files = TempDir::new().unwrap();
        let file = |name: &str, content: &str| {
            let path = files.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let issuer =
            |name, file| TrustedIssuer::new(name, ClaimRules::standard(AUDIENCE), Some(file), None).unwrap();
        let verifier = TokenVerifier::new(OWN.into(), AUDIENCE, Arc::clone(&keys), Arc::clone(&ended), clock)
            .trusting(vec![
                issuer(SHARED, KeyFile::Secret(file("secret", SECRET))),
                issuer(PUBLIC, KeyFile::Public(file("public", &public.jwks()))),
                issuer(RSA, KeyFile::Public(file("rsa", RSA_JWKS))),
            ]);
        Self {
            own,
            public,
            verifier,
            keys,
            ended,
            time,
            files,
        }
    }

    async fn verify(&self, token: &str) -> Result<User, Failure> {
        let verified = self
            .verifier
            .verify(token, Deadline::after(Duration::from_millis(50)))
            .await?;
        // The value depends on the machine's clock, so it is not compared.
        assert!(verified.valid_until.is_some());
        Ok(User {
            valid_until: None,
            ..verified
        })
    }

    /// The reason for which a token is refused, and its problem.
    async fn refusal(&self, token: &str) -> (Reason, String) {
        let failure = self.verify(token).await.unwrap_err();
        let reason = failure.reason();
        let info = Status::from(failure).get_details_error_info().unwrap();
        (reason, info.metadata.get("problem").cloned().unwrap_or_default())
    }

    async fn is_refused(&self, token: &str, problem: &str) {
        assert_eq!(
            self.refusal(token).await,
            (Reason::TokenInvalid, problem.to_owned()),
            "{token}"
        );
    }

    /// A token is refused because of `claim`, which the metadata names with its rule and without its value.
    async fn is_refused_for(&self, token: &str, problem: &str, claim: &str) {
        let failure = self.verify(token).await.unwrap_err();
        assert_eq!(failure.reason(), Reason::TokenInvalid);
        let metadata = Status::from(failure).get_details_error_info().unwrap().metadata;
        assert_eq!(
            (metadata["problem"].as_str(), metadata["claim"].as_str()),
            (problem, claim)
        );
        let rule = metadata["rule"].as_str();
        assert!(
            rule.starts_with("must ") && !rule.contains("service_role"),
            "{rule}"
        );
    }

    /// A token of each issuer that can sign here, with changed claims.
    fn signed(&self, change: impl Fn(Value) -> Value) -> [String; 3] {
        [
            self.own.signs(&change(claims(OWN))),
            self.public.signs(&change(claims(PUBLIC))),
            hs256(None, SECRET.as_bytes(), &change(claims(SHARED))),
        ]
    }
}

#[tokio::test]
async fn tokens_of_every_issuer_are_accepted() {
    let world = World::new();
    // The session of another issuer is not read.
    let user = |foreign: bool| User {
        id: UserId::new(SUB),
        session_id: Some(SESSION).filter(|_| !foreign),
        foreign,
        valid_until: None,
    };
    let [own, public, shared] = world.signed(|claims| claims);
    assert_eq!(world.verify(&own).await.unwrap(), user(false));
    assert_eq!(world.verify(&public).await.unwrap(), user(true));
    assert_eq!(world.verify(&shared).await.unwrap(), user(true));
    // A token with a shared secret may have a `kid` or not.
    let named = hs256(Some("k9"), SECRET.as_bytes(), &claims(SHARED));
    assert_eq!(world.verify(&named).await.unwrap(), user(true));
    let rsa = world.verify(RSA_TOKEN.trim()).await.unwrap();
    assert_eq!(rsa, user(true));
    // A token of another issuer need not belong to a session, or to one that is a UUID; one of Haven's own must.
    for session in [json!(null), json!("9f3a-1"), json!(7)] {
        let [own, public, shared] = world.signed(|claims| with(claims, "session_id", session.clone()));
        world.is_refused(&own, "CLAIMS").await;
        for token in [public, shared] {
            assert_eq!(world.verify(&token).await.unwrap(), user(true));
        }
    }
}

#[tokio::test]
async fn a_token_does_not_choose_its_algorithm() {
    let world = World::new();
    let unsigned = |issuer: &str, alg: &str| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": alg, "typ": "JWT", "kid": "k1"}));
        format!("{header}.{}.", part(claims(issuer)))
    };
    for issuer in [OWN, PUBLIC, SHARED, RSA] {
        for alg in ["none", "None", "NONE", "ES512", "PS256", "HS512"] {
            world.is_refused(&unsigned(issuer, alg), "ALGORITHM").await;
        }
    }
    // Public keys in every form in which an attacker may have them, used as a secret.
    let forms = |key: &Es256| {
        let point = key.pair.der_bytes().to_vec();
        let pem = key.pair.public_key_pem().into_bytes();
        [point, pem, key.jwks().into_bytes()]
    };
    for (issuer, key) in [(OWN, &world.own), (PUBLIC, &world.public)] {
        for secret in forms(key) {
            let token = hs256(Some("k1"), &secret, &claims(issuer));
            world.is_refused(&token, "ALGORITHM").await;
        }
    }
    let jwks: Value = serde_json::from_str(RSA_JWKS).unwrap();
    let modulus = jwks["keys"][0]["n"].as_str().unwrap();
    for secret in [
        RSA_JWKS.as_bytes(),
        modulus.as_bytes(),
        &URL_SAFE_NO_PAD.decode(modulus).unwrap(),
    ] {
        world
            .is_refused(&hs256(Some("r1"), secret, &claims(RSA)), "ALGORITHM")
            .await;
    }
}

#[tokio::test]
async fn the_key_of_one_issuer_verifies_no_token_of_another() {
    let world = World::new();
    // Keys with the same algorithm and the same `kid`.
    world
        .is_refused(&world.own.signs(&claims(PUBLIC)), "SIGNATURE")
        .await;
    world
        .is_refused(&world.public.signs(&claims(OWN)), "SIGNATURE")
        .await;
    // Keys with another algorithm.
    for issuer in [OWN, PUBLIC] {
        let token = hs256(Some("k1"), SECRET.as_bytes(), &claims(issuer));
        world.is_refused(&token, "ALGORITHM").await;
    }
    for key in [&world.own, &world.public] {
        world.is_refused(&key.signs(&claims(SHARED)), "ALGORITHM").await;
        world
            .is_refused(&key.signs_as("r1", &claims(RSA)), "ALGORITHM")
            .await;
        world.is_refused(&key.signs(&claims(RSA)), "KEY_UNKNOWN").await;
    }
    let (rsa_header, _) = RSA_TOKEN.split_once('.').unwrap();
    let body = URL_SAFE_NO_PAD.encode(claims(SHARED).to_string());
    world
        .is_refused(&format!("{rsa_header}.{body}.c2ln"), "ALGORITHM")
        .await;
}

#[tokio::test]
async fn a_token_names_a_trusted_issuer_and_one_of_its_keys() {
    let world = World::new();
    for issuer in ["", "other", "Haven", "https://abc.example/auth/v1/"] {
        world
            .is_refused(&world.own.signs(&claims(issuer)), "ISSUER")
            .await;
    }
    world
        .is_refused(&world.own.signs(&without(claims(OWN), "iss")), "ISSUER")
        .await;
    let several = with(claims(OWN), "iss", json!([OWN]));
    world.is_refused(&world.own.signs(&several), "ISSUER").await;

    for (key, issuer) in [(&world.own, OWN), (&world.public, PUBLIC)] {
        world
            .is_refused(&key.signs_as("k2", &claims(issuer)), "KEY_UNKNOWN")
            .await;
        let signing = EncodingKey::from_ec_pem(key.pair.serialize_pem().as_bytes()).unwrap();
        let nameless = encode(&header(Algorithm::ES256, None), &claims(issuer), &signing).unwrap();
        world.is_refused(&nameless, "KEY_UNKNOWN").await;
    }
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let world = World::new();
    let forged = hs256(None, b"another secret of 32 bytes .....", &claims(SHARED));
    world.is_refused(&forged, "SIGNATURE").await;
    for good in world
        .signed(|claims| claims)
        .into_iter()
        .chain([RSA_TOKEN.trim().to_owned()])
    {
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, body) = message.split_once('.').unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
        let other = with(claims, "sub", json!(Uuid::from_u128(1)));
        let other = URL_SAFE_NO_PAD.encode(other.to_string());
        world
            .is_refused(&format!("{header}.{other}.{signature}"), "SIGNATURE")
            .await;
        world.is_refused(&format!("{message}."), "SIGNATURE").await;
        let (first, rest) = signature.split_at(1);
        let first = if first == "A" { "B" } else { "A" };
        world
            .is_refused(&format!("{message}.{first}{rest}"), "SIGNATURE")
            .await;
        world
            .is_refused(&format!("{message}.{signature}="), "MALFORMED")
            .await;
    }
}

/// RFC 7515, appendix A.2: an RS256 signature made by an implementation other than ours and OpenSSL.
#[tokio::test]
async fn the_example_of_the_standard_verifies() {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT\
             -SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS\
             -UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2e\
             thFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y\
                 b290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8\
                 W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe\
                 7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgG\
                 Y9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let bytes = |text| URL_SAFE_NO_PAD.decode(text).unwrap();
    let key = VerifyingKey::from_rsa("", &bytes(n), &bytes("AQAB")).unwrap();
    assert!(Token::parse(token).unwrap().check(vec![key]).is_ok());
}

#[tokio::test]
async fn a_token_must_be_for_this_audience() {
    let world = World::new();
    let [own, public, shared] = world.signed(|claims| with(claims, "aud", json!(["other", "authenticated"])));
    for token in [own, public, shared] {
        world.verify(&token).await.unwrap();
    }
    for aud in [
        json!("other"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!(null),
        json!(1),
    ] {
        for token in world.signed(|claims| with(claims, "aud", aud.clone())) {
            world.is_refused_for(&token, "AUDIENCE", "aud").await;
        }
    }
    for token in world.signed(|claims| without(claims, "aud")) {
        world.is_refused(&token, "AUDIENCE").await;
    }
}

#[tokio::test]
async fn a_token_is_valid_for_a_limited_time() {
    let world = World::new();
    for exp in [json!(NOW + 1), json!(NOW as f64 + 0.5)] {
        for token in world.signed(|claims| with(claims, "exp", exp.clone())) {
            world.verify(&token).await.unwrap();
        }
    }
    for exp in [NOW, NOW - 1, 0, -1] {
        for token in world.signed(|claims| with(claims, "exp", json!(exp))) {
            assert_eq!(world.refusal(&token).await, (Reason::TokenExpired, String::new()));
        }
    }
    // Clocks may differ by a minute.
    for name in ["nbf", "iat"] {
        for token in world.signed(|claims| with(claims, name, json!(NOW + 60))) {
            world.verify(&token).await.unwrap();
        }
        for token in world.signed(|claims| with(claims, name, json!(NOW + 61))) {
            world.is_refused_for(&token, "NOT_YET_VALID", name).await;
        }
    }
    for token in world.signed(|claims| without(claims, "iat")) {
        world.verify(&token).await.unwrap();
    }
}

#[tokio::test]
async fn every_required_claim_is_checked() {
    let world = World::new();
    for (name, value) in [
        ("role", json!("service_role")),
        ("role", json!("anon")),
        ("role", json!(null)),
        ("sub", json!("nobody")),
        ("sub", json!(Uuid::nil())),
        ("sub", json!(null)),
        ("exp", json!("1800000890")),
        ("exp", json!(null)),
        ("nbf", json!("soon")),
        ("iat", json!([])),
    ] {
        for token in world.signed(|claims| with(claims, name, value.clone())) {
            world.is_refused_for(&token, "CLAIMS", name).await;
        }
    }
    for name in ["role", "sub", "exp"] {
        for token in world.signed(|claims| without(claims, name)) {
            world.is_refused_for(&token, "CLAIMS", name).await;
        }
    }
    for session in [json!("one"), json!(null)] {
        let [own, ..] = world.signed(|claims| with(claims, "session_id", session.clone()));
        world.is_refused_for(&own, "CLAIMS", "session_id").await;
    }
}

#[tokio::test]
async fn a_session_of_haven_can_be_ended() {
    let world = World::new();
    let [own, public, shared] = world.signed(|claims| claims);
    world.ended.add(UserId::new(SUB), SESSION);
    let revoked = (Reason::SessionRevoked, String::new());
    assert_eq!(world.refusal(&own).await, revoked);
    // A session of another issuer may have the same id.
    for token in [public, shared] {
        world.verify(&token).await.unwrap();
    }
    // A caller without a valid token learns nothing about sessions.
    let late = world.own.signs(&with(claims(OWN), "exp", json!(NOW)));
    assert_eq!(world.refusal(&late).await.0, Reason::TokenExpired);
}

#[tokio::test]
async fn own_tokens_are_refused_until_the_first_list_of_ended_sessions_arrives() {
    let mut world = World::new();
    world.verifier.ended = Arc::new(EndedSessions::new());
    let [own, public, _] = world.signed(|claims| claims);
    assert_eq!(world.refusal(&own).await.0, Reason::DependencyUnavailable);
    world.verify(&public).await.unwrap();
    world.verifier.ended.replace([]);
    world.verify(&own).await.unwrap();
}
