//! Whether bytes can be what an encryption makes. Without a key nobody can tell that they are; but some cannot be.

/// The tag that both algorithms put behind what they encrypt.
pub(super) const TAG_BYTES: usize = 16;

/// From this length on, bytes that are all ASCII are no ciphertext: of so many random ones that happens to one in a
/// trillion. Below it, it is enough that they are no text.
const ASCII_BYTES: usize = 40;

/// How far the database looks: what it refuses is refused here, by name.
const ASCII_SEEN: usize = 256;

/// Whether anybody can read it: it is a text, or a text with something behind it that passes for a tag, or nothing but
/// ASCII.
///
/// Of what really is encrypted, four in a million of the shortest are taken for a text, and of those with a content of
/// 16 bytes or more one in a hundred billion: their device encrypts them again, with another nonce.
pub(super) fn is_readable(payload: &[u8]) -> bool {
    let content = payload.len().checked_sub(TAG_BYTES).map(|end| &payload[..end]);
    let content = content.filter(|content| content.len() >= TAG_BYTES);
    let seen = &payload[..payload.len().min(ASCII_SEEN)];
    is_text(payload) || content.is_some_and(is_text) || (payload.len() >= ASCII_BYTES && seen.is_ascii())
}

/// UTF-8 without a control character, but for those that stand between words and lines.
fn is_text(bytes: &[u8]) -> bool {
    let readable = |character: char| !character.is_control() || matches!(character, '\t' | '\n' | '\r');
    str::from_utf8(bytes).is_ok_and(|text| text.chars().all(readable))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no text has.
    const BINARY: u8 = 0xff;

    fn tagged(content: &[u8]) -> Vec<u8> {
        [content, &[BINARY; TAG_BYTES]].concat()
    }

    #[test]
    fn a_text_is_readable() {
        for text in [
            "sixteen letters!",
            "Day 1 of my cycle,\nwith\ttabs and\r\nlines.",
            "Zyklus: Tag 1, müde \u{1f634} \u{2014} 経期",
            r#"{"flow": "heavy", "mood": 3}"#,
            "RGF5IDEgb2YgbXkgY3ljbGU=",
        ] {
            assert!(is_readable(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_text_with_a_tag_behind_it_is_readable() {
        assert!(is_readable(&tagged("müde \u{1f634}, am 1. Tag".as_bytes())));
        assert!(is_readable(&tagged(b"sixteen letters!")));
        // That short, a text would be found in too much that is none.
        assert!(!is_readable(&tagged(b"fifteen letters")));
        assert!(!is_readable(&tagged(b"")));
    }

    #[test]
    fn one_octet_that_no_text_has_makes_it_unreadable() {
        for byte in [0x00, 0x1b, 0x7f, 0x80, BINARY] {
            let mut payload = b"sixteen letters!".to_vec();
            payload[7] = byte;
            assert!(!is_readable(&payload), "{byte:#x}");
        }
        // U+0085, a control character of two bytes.
        assert!(!is_readable("fourteen left:\u{85}".as_bytes()));
        // The last byte of a character is missing.
        assert!(!is_readable(&"fifteen letters\u{e9}".as_bytes()[..16]));
    }

    #[test]
    fn nothing_but_ascii_is_no_ciphertext() {
        let zeros = |bytes: usize| vec![0; bytes];
        assert!(!is_readable(&zeros(ASCII_BYTES - 1)));
        assert!(is_readable(&zeros(ASCII_BYTES)));
        let mut late = zeros(ASCII_SEEN + 1);
        late[ASCII_SEEN] = BINARY;
        assert!(is_readable(&late));
        late[ASCII_SEEN - 1] = BINARY;
        assert!(!is_readable(&late));
    }

    #[test]
    fn random_bytes_are_not_readable() {
        // By a fixed seed: of payloads with a content, so few are taken for a text that no test meets one.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for length in 32..2_032 {
            let payload: Vec<u8> = (0..length)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_be_bytes()[0]
                })
                .collect();
            assert!(!is_readable(&payload), "{payload:x?}");
        }
    }
}
