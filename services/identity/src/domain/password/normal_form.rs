//! The normal form of passwords.

use precis_profiles::{OpaqueString, precis_core::profile::Rules};
use secrecy::SecretString;

/// Returns the normal form of `sent` by the mapping rules of OpaqueString (RFC 8265, section 4.2), or `None` when `sent` has it
/// already, as nearly every password does.
///
/// The profile also forbids characters: those that had no meaning in its tables, which are of 2013, and control characters. Those
/// rules are left out: they would refuse passwords that people have, and new emoji.
pub(super) fn normal_form(sent: &str) -> Option<SecretString> {
    if sent.is_ascii() {
        return None;
    }
    let rules = OpaqueString::new();
    let mapped = rules.additional_mapping_rule(sent).ok()?;
    let normal = rules.normalization_rule(mapped).ok()?;
    (normal != sent).then(|| SecretString::from(normal.into_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    fn normal(sent: &str) -> String {
        normal_form(sent).map_or(sent.to_owned(), |normal| normal.expose_secret().to_owned())
    }

    #[test]
    fn composed_and_decomposed_passwords_are_the_same() {
        for text in [
            "Grüße an Köln 7",
            "São Paulo 1889",
            "비밀번호 Abc 1",
            "Ωμέγα 8 Ὀδυσσεύς",
        ] {
            let decomposed: String = text.nfd().collect();
            assert_ne!(decomposed, text);
            assert_eq!(normal(&decomposed), text);
            assert!(normal_form(text).is_none(), "{text}");
        }
    }

    #[test]
    fn spaces_of_other_kinds_are_spaces_and_nothing_else_changes() {
        assert_eq!(normal("pass\u{a0}word\u{3000}1"), "pass word 1");
        for text in [
            " Pass word\t1 ",
            "ＡＢＣａｂｃ１２３",
            "ﬁve Grüße 5",
            "\u{1fae8} Abc 12345",
            "a\u{200d}b\u{0}c",
            "",
        ] {
            assert!(normal_form(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form() {
        for text in [
            "e\u{301}\u{a0}\u{958}",
            "\u{fb2c}\u{2003}A\u{30a}",
            "\u{1e9b}\u{323}",
        ] {
            let once = normal(text);
            assert!(normal_form(&once).is_none(), "{text:?}");
        }
    }
}
