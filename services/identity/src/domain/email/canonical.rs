//! The canonical form of an email address, which all its spellings share.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};
use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};
use precis_profiles::{UsernameCaseMapped, precis_core::profile::PrecisFastInvocation};
use unicode_normalization::UnicodeNormalization;

use super::violation::EmailViolation;

/// The maximum length of the part before the @, in bytes (RFC 5321, section 4.5.3.1.1).
pub const MAX_LOCAL_BYTES: usize = 64;

/// The characters that an atom may have besides letters and digits (RFC 5322, section 3.2.3).
const ATOM_SPECIALS: &str = "!#$%&'*+-/=?^_`{|}~";

const SIGMA: char = '\u{3c3}';
const FINAL_SIGMA: char = '\u{3c2}';

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

/// The canonical form of the part before the @: NFKC, then PRECIS's UsernameCaseMapped (RFC 8265, section 3.3), with
/// final sigmas replaced by sigmas.
pub(super) fn local_part(entered: &str, violations: &mut Vec<EmailViolation>) -> Option<String> {
    use EmailViolation as V;
    if entered.is_empty() {
        violations.push(V::LocalPartEmpty);
        return None;
    }
    // A capital sigma has two lower-case forms, depending on its position in the word, which case mapping ignores.
    let folded: String = entered
        .nfkc()
        .map(|c| if c == FINAL_SIGMA { SIGMA } else { c })
        .collect();
    if folded.split('.').any(str::is_empty) {
        violations.push(V::LocalPartDots);
    }
    let Some(canonical) = case_mapped(&folded) else {
        violations.push(V::LocalPartCharacter);
        return None;
    };
    if entered.len().max(canonical.len()) > MAX_LOCAL_BYTES {
        violations.push(V::LocalPartTooLong);
    }
    Some(canonical)
}

/// Applies UsernameCaseMapped twice, because PRECIS's tables have fewer letters than case mapping: the lower-case form
/// of an allowed upper-case letter may itself not be allowed.
fn case_mapped(local: &str) -> Option<String> {
    let once = local
        .chars()
        .all(is_atom_character)
        .then(|| UsernameCaseMapped::enforce(local).ok())??;
    let twice = UsernameCaseMapped::enforce(once.as_ref()).ok()?;
    (once == twice).then(|| once.into_owned())
}

/// Returns whether an atom may have `c`, or a dot. Characters outside ASCII (RFC 6532) are left to PRECIS.
fn is_atom_character(c: char) -> bool {
    !c.is_ascii() || c == '.' || c.is_ascii_alphanumeric() || ATOM_SPECIALS.contains(c)
}

/// The canonical form of the domain: IDNA's ASCII form (UTS #46, non-transitional).
pub(super) fn domain(entered: &str, violations: &mut Vec<EmailViolation>) -> Option<String> {
    use EmailViolation as V;
    let ascii = Uts46::new().to_ascii(
        entered.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    let Ok(domain) = ascii else {
        violations.push(V::DomainInvalid);
        return None;
    };
    match domain.rsplit_once('.') {
        None => violations.push(V::DomainWithoutDot),
        // No top-level domain is a number: this is an IP address, which would need brackets, and those are refused too.
        Some((_, top)) if top.bytes().all(|byte| byte.is_ascii_digit()) => violations.push(V::DomainInvalid),
        Some(_) => {}
    }
    Some(domain.into_owned())
}
