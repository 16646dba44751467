use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use PasswordRule as R;
use proptest::prelude::*;

use super::*;

fn broken(password: &str) -> Vec<PasswordRule> {
    Password::choose(password.into(), None).err().unwrap_or_default()
}

#[test]
fn every_rule_applies_exactly_at_its_limit() {
    assert_eq!(broken("kX9vQ2wZ"), []);
    assert_eq!(broken("kX9vQ2w"), [R::TooShort]);
    assert_eq!(broken("kx9vq2wz"), [R::NoUppercase]);
    assert_eq!(broken("KX9VQ2WZ"), [R::NoLowercase]);
    assert_eq!(broken("kXovQtwZ"), [R::NoDigit]);
    assert_eq!(broken("Password1"), [R::Guessable]);
    assert_eq!(
        broken(""),
        [R::TooShort, R::NoUppercase, R::NoLowercase, R::NoDigit],
        "how guessable a password is, is estimated when it meets the other rules"
    );
    assert_eq!(broken("длинный Пароль ٣"), []);
}

/// The table that the tests of the sign-up page (deploy/web/src/sign-up) read too.
#[test]
fn the_cases_of_the_sign_up_form_hold() {
    let table: serde_json::Value = serde_json::from_str(include_str!("../sign_up_cases.json")).unwrap();
    let mut seen = HashSet::new();
    for case in table["passwords"].as_array().unwrap() {
        let email = case["email"]
            .as_str()
            .map(|email| EmailAddress::parse(email).unwrap());
        let password = SecretString::from(case["password"].as_str().unwrap());
        let names = |key: &str| case[key].as_array().into_iter().flatten();
        let expected: HashSet<_> = names("broken")
            .chain(names("server_only"))
            .map(|name| name.as_str().unwrap())
            .collect();
        let found = check(&password, email.as_ref())
            .into_iter()
            .map(R::name)
            .collect();
        assert_eq!(expected, found, "{case}");
        seen.extend(found);
    }
    assert_eq!(seen, R::ALL.map(R::name).into(), "each rule has a case");
}

#[test]
fn length_is_counted_in_code_points() {
    let emoji = |count: usize| {
        "kX9".to_owned()
            + &"😀🐝🌵🎻🧲"
                .repeat(26)
                .chars()
                .take(count - 3)
                .collect::<String>()
    };
    assert_eq!(broken(&emoji(8)), []);
    assert_eq!(broken(&emoji(7)), [R::TooShort]);
    assert_eq!(broken(&emoji(128)), []);
    assert_eq!(broken(&emoji(129)), [R::TooLong]);
    assert_eq!(broken(&"😀".repeat(1_000_000)), [R::TooLong]);
    // A decomposed letter is one, and U+0958 has two code points in its normal form.
    assert_eq!(broken("kX9vQ2Z\u{301}"), [R::TooShort]);
    assert_eq!(broken(&("kX9".to_owned() + &"\u{958}".repeat(63))), [R::TooLong]);
    assert!(Password::present(emoji(128).into()).is_ok());
    assert_eq!(Password::present(emoji(129).into()).err(), Some(R::TooLong));
}

#[test]
fn check_reports_every_rule_for_a_password_that_is_too_long() {
    let check = |password: &str| check(&password.into(), None);
    assert_eq!(check(&("kX9vQ2wZ".repeat(16) + "!")), [R::TooLong]);
    assert_eq!(
        check(&"a".repeat(129)),
        [R::TooLong, R::NoUppercase, R::NoDigit, R::Guessable]
    );
    let late_digit = "kXovQtwZ".repeat(16) + "9";
    assert_eq!(
        check(&late_digit),
        [R::TooLong, R::NoDigit],
        "the digit would be cut off"
    );
}

#[test]
fn a_far_too_long_password_is_checked_as_fast_as_a_slightly_too_long_one() {
    let text = |times| SecretString::from("kX9vQ2wZ😀".repeat(times));
    let takes = |text: &SecretString| {
        let begin = Instant::now();
        assert_eq!(check(text, None), [R::TooLong]);
        begin.elapsed()
    };
    let (little, far) = (text(15), text(1_000_000));
    // The minimum of several alternating measurements: other tests only make a measurement longer.
    let (mut min_little, mut min_far) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        min_little = min_little.min(takes(&little));
        min_far = min_far.min(takes(&far));
    }
    assert!(min_far < min_little * 4, "{min_little:?}, {min_far:?}");
}

#[test]
fn letters_and_digits_of_every_script_are_counted_by_category() {
    // Lt and Nl are neither upper nor lower case, and Lo has no case.
    for (instead, rule) in [
        ("ǅ", R::NoUppercase),
        ("Ⅷ", R::NoUppercase),
        ("漢", R::NoUppercase),
    ] {
        assert_eq!(broken(&format!("k{instead}9vq2wz%")), [rule]);
    }
    for (instead, rule) in [
        ("ª", R::NoLowercase),
        ("ⅷ", R::NoLowercase),
        ("ǅ", R::NoLowercase),
    ] {
        assert_eq!(broken(&format!("K{instead}9VQ2WZ%")), [rule]);
    }
    for (instead, rule) in [("½", R::NoDigit), ("²", R::NoDigit), ("Ⅷ", R::NoDigit)] {
        assert_eq!(broken(&format!("kX{instead}vQtwZ%")), [rule]);
    }
    assert_eq!(broken("Ωλ٣ждЖ%%"), []);
}

#[test]
fn the_email_address_is_refused_and_its_parts_are_guessable() {
    let email = EmailAddress::parse("Grace.Hopper1906@example.org").unwrap();
    let broken = |password: &str| {
        Password::choose(password.into(), Some(&email))
            .err()
            .unwrap_or_default()
    };
    assert!(broken("Grace.Hopper1906@example.org").contains(&R::IsEmail));
    assert!(broken("grace.HOPPER1906@EXAMPLE.org").contains(&R::IsEmail));
    assert_eq!(broken("Hopper1906"), [R::Guessable]);
    assert!(!broken("Grace.Hopper1906@example.org.").contains(&R::IsEmail));
    let local = "Xk9".to_owned() + &"vq2".repeat(20);
    let long = format!("{local}@{}.example.org", vec!["wz7jd"; 20].join("."));
    let email = EmailAddress::parse(&long).unwrap();
    assert!(long.len() > MAX_CODE_POINTS);
    assert!(check(&long.as_str().into(), Some(&email)).contains(&R::IsEmail));
    let beginning = format!("{}x", beginning(&long, MAX_CODE_POINTS));
    assert!(!check(&beginning.into(), Some(&email)).contains(&R::IsEmail));
}

#[test]
fn a_password_is_used_in_its_normal_form_and_checked_as_sent_too() {
    const SENT: &str = " kX9 vQ2wZ\u{301} ";
    let password = Password::choose(SENT.into(), None).unwrap();
    assert_eq!(password.expose(), " kX9 vQ2w\u{179} ".as_bytes());
    assert_eq!(
        password.forms().count(),
        1,
        "a new hash is of the normal form alone"
    );
    let password = Password::present(SENT.into()).unwrap();
    let forms: Vec<_> = password.forms().collect();
    assert_eq!(forms, [" kX9 vQ2w\u{179} ".as_bytes(), SENT.as_bytes()]);
    let password = Password::present(" kX9 vQ2wZ ".into()).unwrap();
    assert_eq!(password.forms().collect::<Vec<_>>(), [" kX9 vQ2wZ ".as_bytes()]);
    assert!(!format!("{password:?}").contains("kX9"));
}

/// The code points of the normal form.
fn length(password: &str) -> usize {
    let normal = normal_form(password);
    let normal = normal.as_ref().map_or(password, ExposeSecret::expose_secret);
    normal.chars().count()
}

proptest! {
    #[test]
    fn a_password_with_every_required_kind_is_accepted(letters in "[b-df-hj-np-tv-z]{3}[B-DF-HJ-NP-TV-Z]{3}[0-9]{3}[_%~]{3}") {
        let scattered: String = (0..12).map(|i| char::from(letters.as_bytes()[i * 5 % 12])).collect();
        prop_assert_eq!(broken(&scattered), []);
    }

    #[test]
    fn each_rule_is_reported_exactly_when_it_is_broken(password in "\\PC{0,20}") {
        let found = broken(&password);
        prop_assert_eq!(found.contains(&R::TooShort), length(&password) < 8);
        for (rule, pattern) in [(R::NoUppercase, 'A'..='Z'), (R::NoLowercase, 'a'..='z'), (R::NoDigit, '0'..='9')] {
            if password.chars().any(|c| pattern.contains(&c)) {
                prop_assert!(!found.contains(&rule));
            }
        }
    }

    #[test]
    fn choose_and_check_agree_unless_the_password_is_too_long(password in "\\PC{0,140}") {
        let checked = check(&password.as_str().into(), None);
        let chosen = broken(&password);
        let is_too_long = password.chars().count() > 128 || length(&password) > 128;
        prop_assert_eq!(checked.contains(&R::TooLong), is_too_long);
        // How guessable a password is, is estimated when it meets the others.
        let others: Vec<_> = checked.iter().copied().filter(|rule| *rule != R::Guessable).collect();
        match (is_too_long, others.is_empty()) {
            (true, _) => prop_assert_eq!(chosen, [R::TooLong]),
            (false, true) => prop_assert_eq!(chosen, checked),
            (false, false) => prop_assert_eq!(chosen, others),
        }
    }

    // Alphabets instead of `\p{Ll}`: proptest's categories are of another Unicode version than the policy's, and
    // characters move between versions (U+0295 was a lower-case letter once).
    #[test]
    fn one_character_of_a_kind_is_enough_at_any_position(
        others in "[א-ת一-龠ぁ-ん½²+×%¿]{7,127}",
        (rule, one) in prop_oneof![
            "[A-ZÀ-ÖΑ-ΡЀ-ЯԱ-Ֆ𐐀-𐐧]".prop_map(|one| (R::NoUppercase, one)),
            "[a-zà-öα-ωа-џա-ֆ𐐨-𐑏]".prop_map(|one| (R::NoLowercase, one)),
            "[0-9٠-٩०-९０-９𝟎-𝟿]".prop_map(|one| (R::NoDigit, one)),
        ],
        at in any::<prop::sample::Index>(),
    ) {
        let without = broken(&others);
        prop_assert!([R::NoUppercase, R::NoLowercase, R::NoDigit].iter().all(|rule| without.contains(rule)));
        let mut characters: Vec<_> = others.chars().map(String::from).collect();
        characters.insert(at.index(characters.len() + 1), one);
        let with = broken(&characters.concat());
        for other in [R::NoUppercase, R::NoLowercase, R::NoDigit] {
            prop_assert_eq!(with.contains(&other), other != rule);
        }
        prop_assert!(!with.contains(&R::TooShort) && !with.contains(&R::TooLong));
    }
}
