//! Detection of payloads that are not encrypted. Without a key it is not possible to prove that bytes are a ciphertext,
//! but some bytes cannot be one.

/// The size in bytes of the authentication tag that both algorithms append to the ciphertext.
pub(super) const TAG_BYTES: usize = 16;

/// The minimum size in bytes at which a payload of ASCII only is rejected: one in a trillion random payloads of this
/// size is all ASCII. A shorter payload is rejected only when it is text.
const ASCII_BYTES: usize = 40;

/// The number of leading bytes that are checked for ASCII: as many as the constraint in the database checks, so that
/// what it would reject is rejected here, with a violation.
const ASCII_CHECKED_BYTES: usize = 256;

/// Returns whether `payload` is readable: text, text followed by 16 bytes that could be a tag, or ASCII only.
///
/// False positives: four in a million of the shortest real ciphertexts, and one in a hundred billion of those with 16
/// bytes of content or more. The device then encrypts again, with another nonce.
pub(super) fn is_readable(payload: &[u8]) -> bool {
    let content = payload.len().checked_sub(TAG_BYTES).map(|end| &payload[..end]);
    let content = content.filter(|content| content.len() >= TAG_BYTES);
    let start = &payload[..payload.len().min(ASCII_CHECKED_BYTES)];
    is_text(payload) || content.is_some_and(is_text) || (payload.len() >= ASCII_BYTES && start.is_ascii())
}

/// Returns whether `bytes` are UTF-8 without control characters other than tab, line feed and carriage return.
fn is_text(bytes: &[u8]) -> bool {
    let readable = |character: char| !character.is_control() || matches!(character, '\t' | '\n' | '\r');
    str::from_utf8(bytes).is_ok_and(|text| text.chars().all(readable))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte that is in no UTF-8 text.
    const BINARY: u8 = 0xff;

    fn tagged(content: &[u8]) -> Vec<u8> {
        [content, &[BINARY; TAG_BYTES]].concat()
    }

    #[test]
    fn text_is_readable() {
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
    fn text_followed_by_a_tag_is_readable() {
        assert!(is_readable(&tagged("müde \u{1f634}, am 1. Tag".as_bytes())));
        assert!(is_readable(&tagged(b"sixteen letters!")));
        // Too many ciphertexts look like text of fewer than 16 bytes followed by a tag.
        assert!(!is_readable(&tagged(b"fifteen letters")));
        assert!(!is_readable(&tagged(b"")));
    }

    #[test]
    fn one_byte_that_is_in_no_text_makes_a_payload_unreadable() {
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
    fn a_longer_payload_of_ascii_only_is_readable() {
        let zeros = |bytes: usize| vec![0; bytes];
        assert!(!is_readable(&zeros(ASCII_BYTES - 1)));
        assert!(is_readable(&zeros(ASCII_BYTES)));
        let mut late = zeros(ASCII_CHECKED_BYTES + 1);
        late[ASCII_CHECKED_BYTES] = BINARY;
        assert!(is_readable(&late));
        late[ASCII_CHECKED_BYTES - 1] = BINARY;
        assert!(!is_readable(&late));
    }

    #[test]
    fn random_bytes_are_not_readable() {
        // The seed is fixed. False positives are so rare that none occurs.
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
