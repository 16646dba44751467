//! How the subject of a token becomes the id of a user.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use uuid::{Builder, Uuid};

/// How the subject of a token becomes the id of a user. It must not change while users exist: they would be others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The subject is a UUID, and is the id.
    Uuid,
    /// The id is a UUID of version 5 (RFC 9562, section 5.5) of the issuer and the subject, which can be any text:
    /// `uuid5(uuid5(NAMESPACE_URL, issuer), subject)`. So two issuers never name the same user.
    UuidV5,
}

impl Subject {
    /// Returns the user that a token of `issuer` with the subject `subject` is for.
    ///
    /// # Errors
    ///
    /// The rule that the subject breaks.
    pub(super) fn user(self, issuer: &str, subject: Option<&str>) -> Result<Uuid, &'static str> {
        match self {
            Self::Uuid => subject
                .and_then(|subject| Uuid::try_parse(subject).ok())
                .filter(|id| !id.is_nil())
                .ok_or("must be a UUID"),
            Self::UuidV5 => subject
                .filter(|subject| !subject.is_empty())
                .map(|subject| uuid_v5(uuid_v5(Uuid::NAMESPACE_URL, issuer), subject))
                .ok_or("must be a text that is not empty"),
        }
    }
}

/// Returns the UUID of version 5 of `name` in `namespace`. The feature `v5` of the crate `uuid` would add another
/// implementation of SHA-1.
fn uuid_v5(namespace: Uuid, name: &str) -> Uuid {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(namespace.as_bytes());
    context.update(name.as_bytes());
    let digest = context.finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_the_user() {
        let id = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        assert_eq!(Subject::Uuid.user("a", Some(&id.to_string())), Ok(id));
        for subject in [
            None,
            Some(""),
            Some("ada"),
            Some("00000000-0000-0000-0000-000000000000"),
        ] {
            assert_eq!(Subject::Uuid.user("a", subject), Err("must be a UUID"));
        }
    }

    /// The same values come from Python's `uuid5(uuid5(NAMESPACE_URL, issuer), subject)`, from npm's `uuid`, and from
    /// `uuid_generate_v5` of Postgres' uuid-ossp. They must never change.
    #[test]
    fn a_text_becomes_a_uuid_of_version_5() {
        for (issuer, subject, expected) in [
            (
                "https://haven.eu.auth0.com/",
                "auth0|6532a1f0c1d2e3f405162738",
                "a6e97718-ea06-5db7-9777-b71bed86fe5c",
            ),
            (
                "https://securetoken.google.com/haven-app",
                "Zk3vR8mQ0aYp1TnXe7LwB4cHsd2",
                "ace1e198-e4a1-56f1-98de-3acf5fffbd46",
            ),
            (
                "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
                "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
                "39693c4d-72ea-539c-ad59-9c95b13f9655",
            ),
            (
                "https://sso.example/realms/haven",
                "Zoë Ångström",
                "a2bef31c-f45a-5eea-b302-530198e32749",
            ),
        ] {
            let user = Subject::UuidV5.user(issuer, Some(subject)).unwrap();
            assert_eq!(user.to_string(), expected, "{issuer} {subject}");
        }
        for subject in [None, Some("")] {
            assert_eq!(
                Subject::UuidV5.user("a", subject),
                Err("must be a text that is not empty")
            );
        }
    }

    /// RFC 9562, appendix A.4.
    #[test]
    fn the_example_of_the_standard() {
        let id = uuid_v5(Uuid::NAMESPACE_DNS, "www.example.com");
        assert_eq!(id.to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }
}
