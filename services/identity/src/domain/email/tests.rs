use EmailViolation as V;
use proptest::prelude::*;

use super::*;

fn canonical(entered: &str) -> String {
    EmailAddress::parse(entered).unwrap().canonical
}

fn violations(entered: &str) -> Vec<EmailViolation> {
    EmailAddress::parse(entered).unwrap_err()
}

#[test]
fn spellings_of_one_address_have_one_canonical_form() {
    for (one, other) in [
        ("ada@example.org", "ADA@Example.ORG"),
        ("ada@example.org", "ａｄａ@ｅｘａｍｐｌｅ．ｏｒｇ"),
        ("ada@example.org", "ada＠example.org"),
        ("ada@example.org", "ada@example。org"),
        ("official@example.org", "oﬃcial@example.org"),
        ("ada@office.example", "ada@o\u{fb03}ce.example"),
        (
            "ada@example.org",
            "\u{ff21}\u{ff24}\u{ff21}@EXAMPLE.\u{ff2f}\u{ff32}\u{ff27}",
        ),
        (
            "\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}@example.org",
            "\u{3a3}\u{38a}\u{3a3}\u{3a5}\u{3a6}\u{39f}\u{3a3}@example.org",
        ),
        ("jos\u{e9}@example.org", "jose\u{301}@example.org"),
        ("ada@b\u{fc}cher.example", "ADA@xn--bcher-kva.example"),
        ("ada@fa\u{df}.example", "ada@xn--fa-hia.example"),
        ("angstro\u{308}m@example.org", "ANGSTR\u{d6}M@example.org"),
    ] {
        assert_eq!(canonical(one), canonical(other), "{one} and {other}");
    }
    assert_ne!(
        canonical("ada@fa\u{df}.example"),
        canonical("ada@fass.example"),
        "non-transitional"
    );
    assert_ne!(
        canonical("a.da@example.org"),
        canonical("ada@example.org"),
        "the provider decides about dots"
    );
    assert_ne!(
        canonical("p\u{430}ul@example.org"),
        canonical("paul@example.org"),
        "Cyrillic is not Latin"
    );
}

/// Letters that look alike stay different, and all of them are allowed: an address is valid if mail can be sent to it.
/// But no form of an address may equal the form of another address.
#[test]
fn letters_of_different_scripts_stay_different() {
    for (one, other) in [
        ("\u{430}da@example.org", "ada@example.org"),
        ("\u{3bf}tto@example.org", "otto@example.org"),
        ("ada@ex\u{430}mple.org", "ada@example.org"),
        ("ada@\u{435}\u{445}ample.org", "ada@example.org"),
        ("ada@xn--exmple-4nf.org", "ada@example.org"),
        ("\u{131}da@example.org", "ida@example.org"),
    ] {
        assert_ne!(canonical(one), canonical(other), "{one} and {other}");
    }
    assert_eq!(
        canonical("ada@ex\u{430}mple.org"),
        canonical("ADA@XN--EXMPLE-4NF.ORG"),
        "one domain, however it is written"
    );
    // A label of both directions could be shown as another one (RFC 5893).
    for bidi in [
        "ada@\u{5d0}a.example",
        "ada@a\u{5d0}.example",
        "ada@1\u{5d0}.example",
    ] {
        assert_eq!(violations(bidi), [V::DomainInvalid], "{bidi}");
    }
    assert_eq!(canonical("ada@\u{5d0}\u{5d1}.example"), "ada@xn--4dbc.example");
    assert_eq!(violations("a\u{5d0}@example.org"), [V::LocalPartCharacter]);
}

#[test]
fn the_entered_form_is_kept() {
    assert_eq!(
        EmailAddress::parse("Ada+x@Example.org").unwrap().entered(),
        "Ada+x@Example.org"
    );
    assert_eq!(
        canonical("!#$%&'*+-/=?^_`{|}~@example.org"),
        "!#$%&'*+-/=?^_`{|}~@example.org"
    );
}

#[test]
fn each_violation_is_reported() {
    assert_eq!(violations(""), [V::Required]);
    assert_eq!(violations("ada.example.org"), [V::NoAtSign]);
    assert_eq!(violations("@example.org"), [V::LocalPartEmpty]);
    assert_eq!(violations("ada@"), [V::DomainInvalid]);
    assert_eq!(violations("ada@localhost"), [V::DomainWithoutDot]);
    for dots in [".ada@example.org", "ada.@example.org", "a..da@example.org"] {
        assert_eq!(violations(dots), [V::LocalPartDots], "{dots}");
    }
    for local in [
        "\"ada\"@example.org",
        "a@da@example.org",
        "a,b@example.org",
        "a(b)@example.org",
        "😀@example.org",
    ] {
        assert_eq!(violations(local), [V::LocalPartCharacter], "{local}");
    }
    for domain in [
        "ada@-a.example",
        "ada@a_b.example",
        "ada@exam ple.org",
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        "ada@a.org.",
    ] {
        assert!(violations(domain).contains(&V::DomainInvalid), "{domain}");
    }
}

#[test]
fn invisible_characters_are_refused_at_any_position() {
    for c in [
        '\0',
        '\t',
        '\n',
        ' ',
        '\u{7f}',
        '\u{a0}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{202e}',
        '\u{2028}',
        '\u{2060}',
        '\u{2066}',
        '\u{3000}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{e0041}',
        '\u{e0100}',
    ] {
        for address in [
            format!("a{c}da@example.org"),
            format!("ada@exa{c}mple.org"),
            format!("ada@example.org{c}"),
        ] {
            assert!(violations(&address).contains(&V::InvisibleCharacter), "{c:?}");
        }
    }
}

#[test]
fn the_maximum_lengths_are_exact() {
    let address = |local: usize, domain: usize| {
        let mut labels = "b".repeat(63) + ".";
        labels = labels.repeat(4)[..domain - 3].to_owned();
        if labels.ends_with('.') {
            labels.replace_range(labels.len() - 2.., ".c");
        }
        format!("{}@{labels}.de", "a".repeat(local))
    };
    assert!(EmailAddress::parse(&address(63, 20)).is_ok());
    assert!(EmailAddress::parse(&address(64, 20)).is_ok());
    assert_eq!(violations(&address(65, 20)), [V::LocalPartTooLong]);
    assert_eq!(
        violations(&("\u{e9}".repeat(33) + "@example.org")),
        [V::LocalPartTooLong]
    );
    assert!(EmailAddress::parse(&address(64, 188)).is_ok(), "253 bytes");
    assert!(EmailAddress::parse(&address(64, 189)).is_ok(), "254 bytes");
    assert_eq!(violations(&address(64, 190)), [V::TooLong]);
    assert!(EmailAddress::parse(&format!("ada@{}.org", "b".repeat(63))).is_ok());
    assert_eq!(
        violations(&format!("ada@{}.org", "b".repeat(64))),
        [V::DomainInvalid]
    );
}

#[test]
fn the_canonical_form_of_every_letter_is_canonical() {
    for c in ('\0'..='\u{ffff}').filter(|c| c.is_alphabetic()) {
        if let Ok(address) = EmailAddress::parse(&format!("a{c}b@example.org")) {
            assert_eq!(canonical(&address.canonical), address.canonical, "{c:?}");
        }
    }
}

proptest! {
    #[test]
    fn the_canonical_form_of_every_address_is_canonical(local in "\\PC{1,12}", domain in "[\\PC--@]{1,12}") {
        if let Ok(address) = EmailAddress::parse(&format!("{local}@{domain}.example")) {
            let reparsed = EmailAddress::parse(&address.canonical);
            prop_assert_eq!(reparsed.map(|reparsed| reparsed.canonical), Ok(address.canonical.clone()));
            let shown = format!("{address:?}");
            prop_assert!(!shown.contains("example"));
        }
    }

    #[test]
    fn addresses_that_differ_in_letter_case_have_one_canonical_form(entered in "[a-z0-9.+_-]{1,20}@[a-z0-9.-]{1,20}\\.[a-z]{2,5}") {
        let parsed = |text: &str| EmailAddress::parse(text).map(|address| address.canonical);
        prop_assert_eq!(parsed(&entered), parsed(&entered.to_uppercase()));
    }
}
