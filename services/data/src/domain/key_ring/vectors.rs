//! The vectors that the specification of Fernet publishes (github.com/fernet/spec: generate.json, verify.json and
//! invalid.json of version 0x80), so that it is Fernet what we store, and anybody's Fernet can read it.

use secrecy::SecretString;

use super::{super::sealing::OpenError, Key};

/// The key of all vectors.
const SECRET: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

/// 1985-10-26T01:20:00-07:00, in seconds since 1970.
const NOW: u64 = 499_162_800;

/// generate.json and verify.json: "hello", encrypted at [`NOW`].
const VALID: &str =
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

/// invalid.json, but for what is invalid by the clock alone.
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

/// invalid.json, what is invalid by the clock alone: each is whole, and says nothing.
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
fn the_valid_one_opens() {
    assert_eq!(key().decrypt(VALID).unwrap().as_slice(), b"hello");
}

/// The crate chooses the initialisation vector itself, so what it makes is another token each time: of the same version,
/// time and length.
#[test]
fn what_is_sealed_has_the_form_of_the_vector() {
    let made = key().fernet.encrypt_at_time(b"hello", NOW);
    // 12 characters are the version and the time.
    assert_eq!(made[..12], VALID[..12]);
    assert_eq!(made.len(), VALID.len());
    assert_ne!(made, VALID);
    assert_eq!(key().decrypt(&made).unwrap().as_slice(), b"hello");
}

#[test]
fn the_invalid_ones_do_not_open() {
    for (what, token) in INVALID {
        assert_eq!(key().decrypt(token).unwrap_err(), OpenError::Broken, "{what}");
    }
}

/// For the specification a token has a time to live, and one of the future is a lie. Ours are what people keep: they
/// never expire, and a clock that once ran ahead must not lock anybody out of what they wrote. So opening ignores the
/// clock, and what is invalid by the clock alone opens.
#[test]
fn those_that_are_invalid_by_the_clock_alone_open() {
    for (what, token) in UNTIMELY {
        assert_eq!(key().decrypt(token).unwrap().as_slice(), b"", "{what}");
    }
}
