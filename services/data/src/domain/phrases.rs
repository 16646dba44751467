//! The default crisis detector: a short list of phrases.
//!
//! # Limits
//!
//! The detector compares words and understands nothing. It knows only English. It does not recognise context, negation,
//! irony, quotation, song or film ("I would never kill myself" is found, as is "she sings: I want to die"), nor
//! misspellings or slang. It misses most of what people in danger say, and it finds danger where there is none. It is
//! not a medical device, it was not tested with patients, and its accuracy is unknown.
//!
//! A finding is a reason to show a person where to get help, and perhaps to follow up. The absence of a finding means
//! nothing: it is no reason to believe that a person is safe, and no reason to do less than without the detector.

mod list;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use self::list::LIST;
use super::crisis::{CrisisDetector, Finding};

/// The default crisis detector: a short list of phrases. See its limits in the [module](self).
///
/// Text is compared in Unicode's form NFKC, without case, in whole words, and without the characters between words. So
/// `Kill MYSELF`, `kill -- myself` and `ｋｉｌｌ ｍｙｓｅｌｆ` are the same phrase, and `skill myself` is not. Apostrophes of
/// every form and invisible characters, such as a zero-width space, are ignored.
///
/// When a text has several phrases, the most severe one counts, then the first of suicide, self-harm, abuse and
/// violence. The time is proportional to the length of the text.
#[derive(Debug, Default)]
pub struct PhraseList;

impl CrisisDetector for PhraseList {
    fn detect(&self, text: &str) -> Option<Finding> {
        let words = words_of(text);
        let has = |phrase: &&str| words.contains(&format!(" {phrase} "));
        let found = LIST.iter().find(|group| group.phrases.iter().any(has));
        found.map(|group| group.finding)
    }
}

/// Returns the words of `text` as they are compared, with one space before, between and after them.
///
/// The result is as private as the text, and is wiped too.
fn words_of(text: &str) -> Zeroizing<String> {
    // The capacity is enough for most texts: a buffer that grows leaves a copy in memory that is not wiped.
    let mut words = Zeroizing::new(String::with_capacity(text.len() + 2));
    words.push(' ');
    let letters = text.chars().filter(|letter| !is_ignored(*letter)).nfkc();
    for letter in letters.flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() {
            words.push(letter);
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

/// Returns whether `letter` is ignored: apostrophes and the characters typed in their place, and those of Unicode's
/// default ignorable characters that occur inside words.
fn is_ignored(letter: char) -> bool {
    matches!(
        letter,
        '\'' | '`' | '\u{b4}' | '\u{2bc}' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{ff07}'
            | '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::crisis::{SeverityLevel, TriggerType};

    fn found(text: &str) -> Option<(SeverityLevel, TriggerType)> {
        PhraseList
            .detect(text)
            .map(|finding| (finding.severity, finding.trigger))
    }

    const CRITICAL_SUICIDE: Option<(SeverityLevel, TriggerType)> =
        Some((SeverityLevel::Critical, TriggerType::Suicide));

    /// Returns the position of `finding` in the list; earlier ones take precedence.
    fn position(finding: Finding) -> usize {
        LIST.iter().position(|group| group.finding == finding).unwrap()
    }

    #[test]
    fn a_listed_phrase_is_found() {
        assert_eq!(found("I want to kill myself"), CRITICAL_SUICIDE);
        assert_eq!(
            found("He hits me."),
            Some((SeverityLevel::High, TriggerType::Abuse))
        );
        assert_eq!(
            found("I started cutting myself again"),
            Some((SeverityLevel::High, TriggerType::SelfHarm))
        );
        assert_eq!(
            found("I want to hurt them"),
            Some((SeverityLevel::Moderate, TriggerType::Violence))
        );
        assert_eq!(
            found("a book about suicide"),
            Some((SeverityLevel::Low, TriggerType::Suicide))
        );
    }

    /// Checks the limits that the module documents.
    #[test]
    fn neither_negation_nor_quotation_is_understood() {
        for text in ["I would never kill myself", "she sings: I want to die"] {
            assert!(found(text).is_some(), "{text}");
        }
        assert_eq!(found("I wnat to dei"), None);
    }

    #[test]
    fn common_expressions_are_not_found() {
        for text in [
            "",
            " ",
            "...",
            "I died laughing",
            "this homework is killing me",
            "how do you kill time?",
            "I could kill for a coffee",
            "It beats me!",
            "then it hits me",
            "my mother is going to kill me",
            "I taught that skill myself",
            "I always shoot myself in the foot",
            "in the end my life got better",
            "I have to take my life into my own hands",
            "kill\nyour darlings, myself included",
            "Я хочу жить",
            "dead tired, and happy",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn spelling_variants_are_found() {
        for text in [
            "kill myself",
            "KILL MYSELF",
            "I'll—kill...myself!",
            "kill\n\t  myself",
            "*kill* _myself_",
            "'kill myself'",
            "“kill myself”",
            "\u{ff4b}\u{ff49}\u{ff4c}\u{ff4c} \u{ff4d}\u{ff59}\u{ff53}\u{ff45}\u{ff4c}\u{ff46}",
            "k\u{200b}i\u{ad}ll\u{a0}my\u{feff}sel\u{fe0f}f",
            "\u{212a}ill my\u{17f}elf",
        ] {
            assert_eq!(found(text), CRITICAL_SUICIDE, "{text}");
        }
        for text in [
            "I don't want to live",
            "I don’t want to live",
            "I DON`T WANT TO LIVE",
            "I dont want to live",
        ] {
            assert_eq!(
                found(text),
                Some((SeverityLevel::High, TriggerType::Suicide)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_most_severe_counts_and_then_the_order_of_the_triggers() {
        let weights: Vec<_> = LIST
            .iter()
            .map(|group| {
                (
                    std::cmp::Reverse(group.finding.severity),
                    group.finding.trigger as u8,
                )
            })
            .collect();
        assert!(weights.is_sorted_by(|one, next| one < next), "{weights:?}");
        let both = "I want to hurt them. I want to die. He hits me.";
        assert_eq!(found(both), Some((SeverityLevel::High, TriggerType::Suicide)));
    }

    #[test]
    fn a_listed_phrase_is_normalised_and_unique() {
        let phrases: Vec<_> = LIST.iter().flat_map(|group| group.phrases).collect();
        for (i, phrase) in phrases.iter().enumerate() {
            assert_eq!(*words_of(phrase), format!(" {phrase} "));
            assert!(!phrases[..i].contains(phrase), "{phrase}");
        }
    }

    /// Checks that ten times the text does not take a hundred times as long. Absolute times depend on the machine.
    #[test]
    fn the_time_is_proportional_to_the_text() {
        let takes = |text: &str| {
            let began = Instant::now();
            found(text);
            began.elapsed()
        };
        // NFKC expands each letter of the first to 18: the longest texts that are possible.
        for (part, longest, expected) in [
            ("\u{fdfa}", 2_000, None),
            ("kill ", 6_500, None),
            ("a\u{301}\u{323}", 2_000, CRITICAL_SUICIDE),
        ] {
            let text = |times| {
                let end = if expected.is_some() { " kill myself" } else { "" };
                part.repeat(times) + end
            };
            let (short, long) = (text(longest / 10), text(longest));
            assert_eq!((found(&short), found(&long)), (expected, expected));
            // The minimum of several, taken in turns: other tests' work only makes a measurement longer.
            let (mut min_short, mut min_long) = (Duration::MAX, Duration::MAX);
            for _ in 0..5 {
                min_short = min_short.min(takes(&short));
                min_long = min_long.min(takes(&long));
            }
            assert!(min_long < min_short * 40, "{min_short:?}, {min_long:?}");
        }
    }

    fn any_phrase() -> impl Strategy<Value = (Finding, &'static str)> {
        let all: Vec<_> = LIST
            .iter()
            .flat_map(|group| group.phrases.iter().map(|phrase| (group.finding, *phrase)))
            .collect();
        prop::sample::select(all)
    }

    proptest! {
        #[test]
        fn every_text_can_be_searched(text in any::<String>()) {
            let words = words_of(&text);
            prop_assert!(words.starts_with(' ') && words.ends_with(' ') && !words.contains("  "));
            // Normalisation is idempotent, so that searching normalised text gives the same finding.
            prop_assert_eq!(PhraseList.detect(&text), PhraseList.detect(&words));
        }

        #[test]
        fn a_phrase_is_found_inside_any_words(
            (finding, phrase) in any_phrase(),
            before in "([a-zA-Z0-9é]{1,9}[ ,.!?\n]{1,3}){0,20}",
            after in "([ ,.!?\n]{1,3}[a-zA-Z0-9é]{1,9}){0,20}",
        ) {
            let found = PhraseList.detect(&format!("{before}{phrase}{after}"));
            prop_assert!(found.is_some_and(|found| position(found) <= position(finding)));
        }

        #[test]
        fn no_phrase_begins_or_ends_inside_a_word(
            (before, after) in prop_oneof![("[a-z]{1,3}", "[a-z]{0,3}"), ("[a-z]{0,3}", "[a-z]{1,3}")],
        ) {
            prop_assert_eq!(PhraseList.detect(&format!("{before}kill myself{after}")), None);
        }

        #[test]
        fn case_spaces_and_apostrophes_do_not_matter(
            (_, phrase) in any_phrase(),
            cases in prop::collection::vec(any::<bool>(), 64),
            apostrophe in prop::sample::select(vec!["", "'", "’", "ʼ", "\u{200b}"]),
            space in prop::sample::select(vec![" ", "  ", "\t", ", ", "\u{3000}", "—"]),
        ) {
            let typed: String = phrase
                .chars()
                .zip(cases)
                .map(|(letter, upper)| match letter {
                    ' ' => space.to_owned(),
                    _ if upper => format!("{}{apostrophe}", letter.to_ascii_uppercase()),
                    _ => letter.to_string(),
                })
                .collect();
            prop_assert_eq!(PhraseList.detect(&typed), PhraseList.detect(phrase));
        }
    }
}
