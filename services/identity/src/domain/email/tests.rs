use std::collections::HashSet;

use EmailViolation as V;
use precis_profiles::{UsernameCaseMapped, precis_core::profile::PrecisFastInvocation};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

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
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        "ada@a.org.",
    ] {
        assert!(violations(domain).contains(&V::DomainInvalid), "{domain}");
    }
}

/// The table that the tests of the sign-up page (deploy/web/src/sign-up) read too.
#[test]
fn the_cases_of_the_sign_up_form_hold() {
    let table: serde_json::Value = serde_json::from_str(include_str!("../sign_up_cases.json")).unwrap();
    let mut seen = HashSet::new();
    for case in table["emails"].as_array().unwrap() {
        let names = |key: &str| case[key].as_array().into_iter().flatten();
        let expected: HashSet<_> = names("broken")
            .chain(names("server_only"))
            .map(|name| name.as_str().unwrap())
            .collect();
        let found = match EmailAddress::parse(case["email"].as_str().unwrap()) {
            Ok(_) => HashSet::new(),
            Err(violations) => violations.into_iter().map(V::name).collect(),
        };
        assert_eq!(expected, found, "{case}");
        seen.extend(found);
    }
    assert_eq!(seen.len(), 10, "each rule has a case: {seen:?}");
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
            format!("ada{c}@example.org"),
            format!("ada@{c}example.org"),
            format!("ada@exa{c}mple.org"),
            format!("{c}a{c}da@exa{c}mple.org{c}"),
        ] {
            assert_eq!(violations(&address), [V::InvisibleCharacter], "{c:?}");
        }
        let around = format!("{c}ada@example.org{c}");
        match c.is_ascii_whitespace() {
            true => assert_eq!(canonical(&around), "ada@example.org", "{c:?}"),
            false => assert_eq!(violations(&around), [V::InvisibleCharacter], "{c:?}"),
        }
    }
    // The other rules are checked without the character.
    assert_eq!(
        violations("a\u{200b}..da@-example"),
        [V::InvisibleCharacter, V::LocalPartDots, V::DomainInvalid]
    );
    assert_eq!(violations("a da"), [V::InvisibleCharacter, V::NoAtSign]);
}

#[test]
fn white_space_around_an_address_does_not_belong_to_it() {
    let address = EmailAddress::parse(" \t\r\n\u{c}Ada@Example.org \t\r\n\u{c}").unwrap();
    assert_eq!(
        (address.entered(), address.canonical()),
        ("Ada@Example.org", "ada@example.org")
    );
    assert_eq!(violations(" \t\n"), [V::Required]);
    // The limit is on the address.
    let longest = format!("{}@{}.org", "a".repeat(64), "b".repeat(60));
    assert_eq!(canonical(&format!("{}{longest}\n", " ".repeat(200))), longest);
}

/// The examples of UTS #46, section 2.3.
#[test]
fn a_domain_may_have_joiners_where_its_script_needs_them() {
    for (entered, expected) in [
        (
            "ada@\u{646}\u{627}\u{645}\u{647}\u{200c}\u{627}\u{6cc}.com",
            "ada@xn--mgba3gch31f060k.com",
        ),
        (
            "ada@\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}.com",
            "ada@xn--10cl1a0b660p.com",
        ),
    ] {
        assert_eq!(canonical(entered), expected);
        assert_eq!(canonical(expected), expected, "the other spelling of the domain");
        let without = entered.replace(['\u{200c}', '\u{200d}'], "");
        assert_ne!(canonical(&without), expected, "another domain");
    }
    for entered in [
        // Neither between letters that join nor after a virama.
        "ada@exa\u{200c}mple.org",
        "ada@exa\u{200d}mple.org",
        "ada@example.o\u{200d}rg",
        "ada@\u{200d}\u{dbb}\u{dd3}.com",
        "ada@\u{646}\u{627}\u{645}\u{647}\u{200d}\u{627}\u{6cc}.com",
        // In the part before the @, no rule of a registry keeps two addresses apart that look alike.
        "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}@example.org",
    ] {
        assert_eq!(violations(entered), [V::InvisibleCharacter], "{entered:?}");
    }
    assert_eq!(
        violations("ada@-exa\u{200d}mple.org"),
        [V::InvisibleCharacter, V::DomainInvalid]
    );
}

#[test]
fn letters_that_are_newer_than_the_tables_of_precis_are_allowed() {
    for (one, other) in [
        // Cherokee, which has lower-case letters since Unicode 8.
        (
            "\u{13e3}\u{13b3}\u{13a9}@example.org",
            "\u{abb3}\u{ab83}\u{ab79}@example.org",
        ),
        // Mtavruli, the capital letters of Georgian of Unicode 11.
        ("\u{1c93}\u{1c90}@example.org", "\u{10d3}\u{10d0}@example.org"),
        // Osage, Adlam and Vithkuqi, of Unicode 9, 9 and 14.
        ("\u{104b0}@example.org", "\u{104d8}@example.org"),
        ("\u{1e900}\u{1e901}@example.org", "\u{1e922}\u{1e923}@example.org"),
        ("\u{10570}@example.org", "\u{10597}@example.org"),
        // A Cyrillic letter of Unicode 9 with the same capital letter as the usual one.
        ("\u{1c80}@example.org", "\u{432}@example.org"),
    ] {
        assert_eq!(canonical(one), canonical(other), "{one} and {other}");
    }
    // Extensions G, H and I of CJK, of Unicode 13, 15 and 15.1.
    for c in ['\u{30000}', '\u{31350}', '\u{2ebf0}'] {
        let address = format!("{c}@example.org");
        assert_eq!(canonical(&address), address);
    }
    // Of the same versions: symbols, punctuation and what Unicode has no letter for yet.
    for c in [
        '\u{1f9ff}',
        '\u{20bf}',
        '\u{2e4f}',
        '\u{1fae8}',
        '\u{3fffd}',
        '\u{e000}',
    ] {
        let address = format!("a{c}b@example.org");
        assert_eq!(violations(&address), [V::LocalPartCharacter], "{c:?}");
    }
    // Directions are checked with newer letters, too.
    assert_eq!(violations("a\u{1e922}@example.org"), [V::LocalPartCharacter]);
}

/// The profile before newer letters were allowed: PRECIS alone.
fn by_precis_alone(local: &str) -> Option<String> {
    let folded: String = local
        .nfkc()
        .map(|c| if c == '\u{3c2}' { '\u{3c3}' } else { c })
        .collect();
    let once = UsernameCaseMapped::enforce(folded.as_str()).ok()?.into_owned();
    let twice = UsernameCaseMapped::enforce(once.as_str()).ok()?;
    (once == twice).then_some(once)
}

/// The new canonical form, for texts of which both profiles look at every character.
fn by_profile(local: &str) -> Option<String> {
    let folded: String = local.nfkc().map(profile::fold).collect();
    let once = profile::enforce(&folded)?;
    let twice = profile::enforce(&once)?;
    (once == twice).then_some(once)
}

/// Accounts are found by their canonical form, so that of an address which was allowed must stay.
#[test]
fn every_letter_that_was_allowed_keeps_its_canonical_form() {
    let (mut before, mut now) = (0, 0);
    for c in '\0'..=char::MAX {
        for text in [String::from(c), format!("a{c}b"), format!("\u{5d0}{c}\u{5d0}")] {
            let old = by_precis_alone(&text);
            let new = by_profile(&text);
            if old.is_some() {
                assert_eq!(new, old, "{c:?}");
            }
            before += usize::from(old.is_some());
            now += usize::from(new.is_some());
        }
    }
    assert!(now > before + 60_000, "{before} before, {now} now");
}

/// Of two letters that differ in case alone, neither is allowed without the other, and they have one canonical form. Letters that
/// were allowed before have the form that they had.
#[test]
fn newer_letters_that_differ_in_case_have_one_canonical_form() {
    let mut pairs = 0;
    for c in ('\0'..=char::MAX).filter(|c| c.is_alphabetic()) {
        let old = by_precis_alone(c.encode_utf8(&mut [0; 4]));
        if old.is_some() {
            continue;
        }
        let Some(form) = by_profile(c.encode_utf8(&mut [0; 4])) else {
            continue;
        };
        for other in [c.to_lowercase().to_string(), c.to_uppercase().to_string()] {
            assert_eq!(by_profile(&other).as_ref(), Some(&form), "{c:?} and {other:?}");
            pairs += usize::from(!other.starts_with(c));
        }
    }
    assert!(pairs > 400, "{pairs}");
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
    /// Any text, and texts of letters with marks in one script and in several.
    #[test]
    fn every_local_part_that_was_allowed_keeps_its_canonical_form(
        local in prop_oneof![
            "\\PC{1,12}",
            "[\\p{L}\\p{M}\\p{Nd}]{1,12}",
            "[\\p{Greek}\\p{Latin}\\p{M}]{1,12}",
            "[\\p{Hebrew}\\p{Arabic}\\p{Nd}]{1,12}",
            "[\\p{Han}\\p{Hiragana}\\p{Katakana}\u{30fb}]{1,12}",
            "[\\p{Devanagari}\\p{Sinhala}\u{200c}\u{200d}]{1,12}",
            "[\\p{Cherokee}\\p{Georgian}\\p{Cyrillic}]{1,12}",
        ]
    ) {
        if let Some(old) = by_precis_alone(&local) {
            prop_assert_eq!(by_profile(&local), Some(old));
        }
    }

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
