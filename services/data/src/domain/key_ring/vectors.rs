//! The test vectors of the Fernet specification (github.com/fernet/spec: generate.json, verify.json and invalid.json of
//! version 0x80). They show that stored tokens are Fernet, readable by any implementation with the key.

use secrecy::SecretString;

use super::{super::sealing::OpenError, Key};

/// The key of all vectors.
const SECRET: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

/// 1985-10-26T01:20:00-07:00, in seconds since 1970.
const NOW: u64 = 499_162_800;

/// generate.json and verify.json: "hello", encrypted at [`NOW`].
const VALID: &str =
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

/// invalid.json, without the tokens that are invalid only because of the clock.
const INVALID: [(&str, &str); 6] = [
    (
        "incorrect mac",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
    ),
    (
        "too short",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
    ),
    (
        "invalid base64",
        "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
    ),
    (
        "payload size not multiple of block size",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
    ),
    (
        "payload padding error",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
    ),
    (
        "incorrect IV (causes padding error)",
        "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
    ),
];

/// The tokens of invalid.json that are invalid only because of the clock. Each is intact and encrypts an empty text.
const UNTIMELY: [(&str, &str); 2] = [
    (
        "far-future TS (unacceptable clock skew)",
        "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
    ),
    (
        "expired TTL",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
    ),
];

fn key() -> Key {
    Key::new("spec", &SecretString::from(SECRET)).unwrap()
}

#[test]
fn the_valid_token_opens() {
    assert_eq!(key().decrypt(VALID).unwrap().as_slice(), b"hello");
}

/// The crate chooses a random initialisation vector, so each token is different, with the same version, time and
/// length.
#[test]
fn a_sealed_token_has_the_form_of_the_vector() {
    let made = key().fernet.encrypt_at_time(b"hello", NOW);
    // The first 12 characters encode the version and the time.
    assert_eq!(made[..12], VALID[..12]);
    assert_eq!(made.len(), VALID.len());
    assert_ne!(made, VALID);
    assert_eq!(key().decrypt(&made).unwrap().as_slice(), b"hello");
}

#[test]
fn invalid_tokens_do_not_open() {
    for (what, token) in INVALID {
        assert_eq!(key().decrypt(token).unwrap_err(), OpenError::Broken, "{what}");
    }
}

/// The specification gives a token a time to live, and makes a token from the future invalid. Opening ignores the
/// clock, because stored texts never expire, and a clock that once ran ahead must not make them unreadable.
#[test]
fn tokens_that_are_invalid_only_by_the_clock_open() {
    for (what, token) in UNTIMELY {
        assert_eq!(key().decrypt(token).unwrap().as_slice(), b"", "{what}");
    }
}
