use base64::{Engine, engine::general_purpose::URL_SAFE};
use haven_platform::call::UserId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::sealing::Field;

const OLD: (&str, &str) = ("old", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
const NEW: (&str, &str) = ("new", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");

fn try_ring(keys: &[(&str, &str)]) -> Result<KeyRing, KeyRingError> {
    KeyRing::new(
        &keys
            .iter()
            .map(|(id, key)| ((*id).to_owned(), SecretString::from(*key)))
            .collect::<Vec<_>>(),
    )
}

fn ring(keys: &[(&str, &str)]) -> KeyRing {
    try_ring(keys).unwrap()
}

fn cell(owner: u128, row: u128) -> Cell {
    Cell {
        owner: UserId::new(Uuid::from_u128(owner)),
        row: Uuid::from_u128(row),
        field: Field::MessageText,
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

#[test]
fn a_ring_needs_at_least_one_fernet_key() {
    assert_eq!(try_ring(&[]).unwrap_err(), KeyRingError::Empty);
    assert_eq!(
        try_ring(&[OLD, ("bad", "c2hvcnQ=")]).unwrap_err(),
        KeyRingError::NotAKey("bad".into())
    );
}

#[test]
fn debug_shows_only_ids() {
    assert_eq!(format!("{:?}", ring(&[NEW, OLD])), r#"["new", "old"]"#);
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    let before = ring(&[OLD]).seal(cell(1, 1), "a", at(0));
    assert_eq!(before.key_id, "old");
    let rotated = ring(&[NEW, OLD]);
    assert_eq!(rotated.open(cell(1, 1), &before).unwrap().expose_secret(), "a");
    assert_eq!(rotated.seal(cell(1, 1), "a", at(0)).key_id, "new");
    assert_eq!(
        ring(&[NEW]).open(cell(1, 1), &before).unwrap_err(),
        OpenError::UnknownKey("old".into())
    );
}

#[test]
fn a_token_under_the_wrong_key_id_does_not_open() {
    let rotated = ring(&[NEW, OLD]);
    let sealed = Sealed {
        key_id: "old".into(),
        ..rotated.seal(cell(1, 1), "a", at(0))
    };
    assert_eq!(rotated.open(cell(1, 1), &sealed).unwrap_err(), OpenError::Broken);
}

#[test]
fn a_token_with_a_future_time_opens() {
    let sealed = ring(&[OLD]).seal(cell(1, 1), "a", at(253_402_300_799));
    assert_eq!(
        ring(&[OLD]).open(cell(1, 1), &sealed).unwrap().expose_secret(),
        "a"
    );
}

/// A token that another implementation made (Python's `cryptography` reads and writes the same). The test fails when a
/// change of the crate or of the layout would make stored texts unreadable.
#[test]
fn a_stored_token_stays_readable() {
    let sealed = Sealed {
        token: STORED.into(),
        key_id: "old".into(),
    };
    assert_eq!(
        ring(&[OLD]).open(cell(1, 2), &sealed).unwrap().expose_secret(),
        "héllo"
    );
}

const STORED: &str = "gAAAAABlU_EAm3fSn6JLC_ycDNQefsppLcDQYXBMSpQCt1XlBEXmNb5q9rbvNIX_XDgBPgzgbWZIlWnDH7BN\
    -a1ugzWjdRB9wU8rNnuOS7t04p_4oGyjRjuzdRf5Y2_5zhw7d3_32c636YIbZhAU6rn6N5vm95DK-trGTv4r\
    j7MGcM-RlJI9zk8=";

/// Replaces every character of a token by every other character of the alphabet, and by some others.
#[test]
fn a_token_with_another_character_does_not_open() {
    const OTHERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \0\n";
    let ring = ring(&[OLD]);
    // The texts have 0, 1 and 2 padding characters.
    for text in ["", "sixteen letters!", "sixteen letters! and sixteen more"] {
        let sealed = ring.seal(cell(1, 1), text, at(1));
        for position in 0..sealed.token.len() {
            for other in OTHERS {
                let mut token = sealed.token.clone().into_bytes();
                if token[position] == *other {
                    continue;
                }
                token[position] = *other;
                let token = String::from_utf8(token).unwrap();
                let opened = ring.open(
                    cell(1, 1),
                    &Sealed {
                        token,
                        ..sealed.clone()
                    },
                );
                assert_eq!(opened.unwrap_err(), OpenError::Broken, "{position} {other}");
            }
        }
    }
}

/// A moved token is intact, and names the cell that it belongs to.
#[test]
fn a_token_does_not_open_in_another_cell() {
    let ring = ring(&[OLD]);
    let home = cell(1, 2);
    let sealed = ring.seal(home, "a", at(1));
    let elsewhere = [
        Cell {
            owner: UserId::new(Uuid::from_u128(9)),
            ..home
        },
        Cell {
            row: Uuid::from_u128(9),
            ..home
        },
        Cell {
            field: Field::AnalysisDetails,
            ..home
        },
        cell(2, 1),
    ];
    for place in elsewhere {
        assert_eq!(
            ring.open(place, &sealed).unwrap_err(),
            OpenError::Misplaced,
            "{place:?}"
        );
    }
    assert!(ring.open(home, &sealed).is_ok());
}

#[test]
fn missing_keys_are_named() {
    let ring = ring(&[NEW, OLD]);
    assert_eq!(
        (ring.sealing_id(), ring.ids().collect::<Vec<_>>()),
        ("new", vec!["new", "old"])
    );
    assert_eq!(ring.has_all(["old", "new", "old"]), Ok(()));
    assert_eq!(
        ring.has_all(["k3", "old", "k1", "k3"]).unwrap_err().to_string(),
        "stored texts are sealed under `k1` and `k3`, missing from MESSAGE_KEYS: add the missing keys back, \
         after the key that is to seal"
    );
}

proptest! {
    #[test]
    fn a_sealed_text_opens_only_in_its_own_cell(
        text in "\\PC{0,200}", owner: u128, row: u128, other: u128,
    ) {
        let ring = ring(&[OLD]);
        let sealed = ring.seal(cell(owner, row), &text, at(1));
        let opened = ring.open(cell(owner, row), &sealed).unwrap();
        prop_assert_eq!(opened.expose_secret(), &text);
        prop_assert!(text.len() < 4 || !sealed.token.contains(&text));
        if other != owner {
            prop_assert_eq!(ring.open(cell(other, row), &sealed).unwrap_err(), OpenError::Misplaced);
        }
        if other != row {
            prop_assert_eq!(ring.open(cell(owner, other), &sealed).unwrap_err(), OpenError::Misplaced);
        }
        if owner != row {
            prop_assert_eq!(ring.open(cell(row, owner), &sealed).unwrap_err(), OpenError::Misplaced);
        }
    }

    #[test]
    fn an_arbitrary_string_does_not_open(token in "\\PC{0,100}") {
        let sealed = Sealed { token, key_id: "old".into() };
        prop_assert_eq!(ring(&[OLD]).open(cell(1, 1), &sealed).unwrap_err(), OpenError::Broken);
    }
}

proptest! {
    // Each case tries every bit of a token.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_token_with_a_flipped_bit_does_not_open(text in "\\PC{0,50}", owner: u128, row: u128) {
        let ring = ring(&[OLD]);
        let sealed = ring.seal(cell(owner, row), &text, at(1));
        let bytes = URL_SAFE.decode(&sealed.token).unwrap();
        for position in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[position / 8] ^= 1 << (position % 8);
            let sealed = Sealed { token: URL_SAFE.encode(flipped), ..sealed.clone() };
            let opened = ring.open(cell(owner, row), &sealed);
            prop_assert_eq!(opened.unwrap_err(), OpenError::Broken, "bit {}", position);
        }
    }

    /// Padding carries no content and may be missing.
    #[test]
    fn a_shorter_token_does_not_open(text in "\\PC{0,50}", end in "[A-Za-z0-9_-]{1,4}") {
        let ring = ring(&[OLD]);
        let sealed = ring.seal(cell(1, 1), &text, at(1));
        let whole = sealed.token.trim_end_matches('=');
        let opens = |token: &str| {
            let sealed = Sealed { token: token.to_owned(), ..sealed.clone() };
            ring.open(cell(1, 1), &sealed)
        };
        let opened = opens(whole).unwrap();
        prop_assert_eq!(opened.expose_secret(), &text);
        for length in 0..whole.len() {
            prop_assert_eq!(opens(&whole[..length]).unwrap_err(), OpenError::Broken, "{} characters", length);
            prop_assert_eq!(opens(&whole[whole.len() - length..]).unwrap_err(), OpenError::Broken);
        }
        prop_assert_eq!(opens(&format!("{whole}{end}")).unwrap_err(), OpenError::Broken, "{}", end);
    }
}
