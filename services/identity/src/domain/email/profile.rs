//! The profile for the part before the @: PRECIS's UsernameCaseMapped (RFC 8265, section 3.3), with the letters of the current
//! Unicode.
//!
//! The tables of PRECIS are those of Unicode 6.3, of 2013, and do not change. Characters that they do not have are decided by the
//! algorithm that made the tables (RFC 8264, section 8), with current properties. So each address that the tables allow keeps
//! its canonical form, by which accounts are found.

use std::iter;

use icu_properties::{CodePointMapData, props::GeneralCategory};
use precis_profiles::{
    UsernameCaseMapped,
    precis_core::{DerivedPropertyValue, IdentifierClass, StringClass, profile::Rules},
};
use unicode_normalization::UnicodeNormalization;

use super::invisible::is_invisible;

const SIGMA: char = '\u{3c3}';
const FINAL_SIGMA: char = '\u{3c2}';

/// PRECIS's IdentifierClass with the letters, digits and marks of the current Unicode.
struct CurrentIdentifierClass;

/// Returns the canonical form of `local`, or `None` when it has a character that is not allowed there, or mixes directions
/// against the rule for bidirectional text (RFC 5893).
pub(super) fn enforce(local: &str) -> Option<String> {
    let rules = UsernameCaseMapped::new();
    let local = rules.width_mapping_rule(local).ok()?;
    CurrentIdentifierClass.allows(&local).ok()?;
    let local = rules.case_mapping_rule(local).ok()?;
    let local = rules.normalization_rule(local).ok()?;
    Some(rules.directionality_rule(local).ok()?.into_owned())
}

/// Returns the form that stands for `c` and for the other lower-case forms of the same capital letter, which case mapping does not
/// replace by each other: a sigma has one for the end of a word. Apart from it, letters that PRECIS's tables have stay as they
/// are, because addresses with them are stored.
pub(super) fn fold(c: char) -> char {
    match c {
        FINAL_SIGMA => SIGMA,
        c if is_newer(c) => single(single(c, char::to_uppercase), char::to_lowercase),
        c => c,
    }
}

/// Returns what `map` makes of `c` when that is one character, and `c` otherwise.
fn single<I: Iterator<Item = char>>(c: char, map: impl Fn(char) -> I) -> char {
    let mut mapped = map(c);
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// Returns whether PRECIS's tables do not have `c`.
fn is_newer(c: char) -> bool {
    IdentifierClass::default().get_value_from_char(c) == DerivedPropertyValue::Unassigned
}

/// Returns whether the algorithm of PRECIS allows `c`, which its tables do not have: a letter, a digit or a mark (RFC 8264,
/// section 9.1) that is visible and its own compatibility form. The tables have every old Hangul jamo, which it excludes too.
fn is_letter_digit(c: char) -> bool {
    use GeneralCategory as G;
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let letter_digits = matches!(
        category,
        G::LowercaseLetter
            | G::UppercaseLetter
            | G::OtherLetter
            | G::DecimalNumber
            | G::ModifierLetter
            | G::NonspacingMark
            | G::SpacingMark
    );
    letter_digits && !is_invisible(c) && iter::once(c).nfkc().eq([c])
}

// === impl CurrentIdentifierClass ===

impl StringClass for CurrentIdentifierClass {
    fn get_value_from_char(&self, c: char) -> DerivedPropertyValue {
        match IdentifierClass::default().get_value_from_char(c) {
            DerivedPropertyValue::Unassigned if is_letter_digit(c) => DerivedPropertyValue::PValid,
            value => value,
        }
    }

    fn get_value_from_codepoint(&self, cp: u32) -> DerivedPropertyValue {
        char::from_u32(cp).map_or(DerivedPropertyValue::Disallowed, |c| self.get_value_from_char(c))
    }
}
