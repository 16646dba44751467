//! The canonical form of an email address, which all its spellings share.

use std::borrow::Cow;

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};
use unicode_normalization::UnicodeNormalization;

use super::{
    invisible::{JOINERS, refuse},
    profile,
    violation::EmailViolation,
};

/// The maximum length of the part before the @, in bytes (RFC 5321, section 4.5.3.1.1).
pub const MAX_LOCAL_BYTES: usize = 64;

/// The characters that an atom may have besides letters and digits (RFC 5322, section 3.2.3).
const ATOM_SPECIALS: &str = "!#$%&'*+-/=?^_`{|}~";

/// The canonical form of the part before the @: NFKC, then the [profile](profile::enforce) for local parts.
pub(super) fn local_part(entered: &str, violations: &mut Vec<EmailViolation>) -> Option<String> {
    use EmailViolation as V;
    if entered.is_empty() {
        violations.push(V::LocalPartEmpty);
        return None;
    }
    let folded: String = entered.nfkc().map(profile::fold).collect();
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

/// Applies the profile twice, because the lower-case form of an allowed letter may itself not be allowed.
fn case_mapped(local: &str) -> Option<String> {
    let once = local
        .chars()
        .all(is_atom_character)
        .then(|| profile::enforce(local))??;
    let twice = profile::enforce(&once)?;
    (once == twice).then_some(once)
}

/// Returns whether an atom may have `c`, or a dot. Characters outside ASCII (RFC 6532) are left to PRECIS.
fn is_atom_character(c: char) -> bool {
    !c.is_ascii() || c == '.' || c.is_ascii_alphanumeric() || ATOM_SPECIALS.contains(c)
}

/// The canonical form of the domain: IDNA's ASCII form (UTS #46, non-transitional), in which a joiner is allowed only where its
/// script needs it (RFC 5892, appendix A). A joiner elsewhere is an invisible character.
pub(super) fn domain(entered: &str, violations: &mut Vec<EmailViolation>) -> Option<String> {
    use EmailViolation as V;
    let mut ascii = to_ascii(entered);
    if ascii.is_none() && entered.contains(JOINERS) {
        refuse(violations);
        ascii = to_ascii(&entered.replace(JOINERS, ""));
    }
    let Some(domain) = ascii else {
        violations.push(V::DomainInvalid);
        return None;
    };
    match domain.rsplit_once('.') {
        None => violations.push(V::DomainWithoutDot),
        // No top-level domain is a number: this is an IP address, which would need brackets, and those are refused too.
        Some((_, top)) if top.bytes().all(|byte| byte.is_ascii_digit()) => violations.push(V::DomainInvalid),
        Some(_) => {}
    }
    Some(domain)
}

fn to_ascii(domain: &str) -> Option<String> {
    let (ascii, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let domain = Uts46::new().to_ascii(domain.as_bytes(), ascii, hyphens, DnsLength::Verify);
    domain.ok().map(Cow::into_owned)
}
