//! Invisible characters, with which two addresses could look alike.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};

use super::violation::EmailViolation;

/// The zero-width non-joiner and the zero-width joiner, which some scripts need: they choose between two forms of a letter.
pub(super) const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// Returns whether `c` is a control character, a format character (such as a zero-width one or one that changes the
/// direction of text), a separator, or another character that Unicode says is not displayed.
pub(super) fn is_invisible(c: char) -> bool {
    use GeneralCategory as G;
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(
        category,
        G::Control | G::Format | G::LineSeparator | G::ParagraphSeparator | G::SpaceSeparator
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Returns `text` without invisible characters, and adds a violation when there was one: the other rules are checked without
/// it, so that one character does not seem to break several. Joiners stay when `keep_joiners` is set.
pub(super) fn visible(text: &str, keep_joiners: bool, violations: &mut Vec<EmailViolation>) -> String {
    let is_kept = |c: &char| (keep_joiners && JOINERS.contains(c)) || !is_invisible(*c);
    let visible: String = text.chars().filter(is_kept).collect();
    if visible.len() != text.len() {
        refuse(violations);
    }
    visible
}

/// Adds the violation of an invisible character, once.
pub(super) fn refuse(violations: &mut Vec<EmailViolation>) {
    if !violations.contains(&EmailViolation::InvisibleCharacter) {
        violations.push(EmailViolation::InvisibleCharacter);
    }
}
