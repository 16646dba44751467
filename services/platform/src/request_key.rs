//! Request ids (AIP-155): the key under which a mutation is remembered, so that its retry is recognized.

use std::mem;

use prost::Message;
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::{
    mac::{MacKeys, StoredMacs},
    violations::Violations,
};

/// A mutation's key: the same for every retry of one request, and different for every other request of the same person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The id that the client generated for this request. Ids are per person: two people may use the same one.
    pub id: Uuid,
    /// The keyed hashes of the method and of all other fields of the request, under each key of the ring. The first is
    /// stored; the hash of an earlier request may be under another key.
    pub payload_macs: StoredMacs,
}

impl RequestKey {
    /// Takes the request id out of `request` and hashes the rest with `keys`. Call it before any other field is taken
    /// out.
    ///
    /// Adds a violation when the id is missing or is not a UUID; the key's id is the nil UUID then.
    ///
    /// `id` selects the field, such as `|request| &mut request.request_id`.
    pub fn take<T: Message>(
        method: &'static str,
        request: &mut T,
        id: impl FnOnce(&mut T) -> &mut String,
        keys: &MacKeys,
        violations: &mut Violations,
    ) -> Self {
        let id = mem::take(id(request));
        let payload = Zeroizing::new(request.encode_to_vec());
        Self {
            id: violations.uuid("request_id", &id),
            payload_macs: keys.macs(&[method.as_bytes(), &payload]),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::Any;

    use super::*;
    use crate::mac::SecretKeys;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn key(method: &'static str, id: &str, value: &[u8]) -> Result<RequestKey, crate::failure::Failure> {
        let mut request = Any {
            type_url: id.to_owned(),
            value: value.to_vec(),
        };
        let mac = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        let mut violations = Violations::new();
        let key = RequestKey::take(
            method,
            &mut request,
            |request| &mut request.type_url,
            &mac,
            &mut violations,
        );
        violations.check()?;
        assert!(request.type_url.is_empty());
        Ok(key)
    }

    #[test]
    fn the_payload_hash_covers_the_method_and_all_fields_but_the_id() {
        let first = key("A", ID, b"x").unwrap();
        assert_eq!(first.id.to_string(), ID);
        let other_id = key("A", "01890a5d-ac96-774b-bcce-b302099a8058", b"x").unwrap();
        assert_eq!(first.payload_macs, other_id.payload_macs);
        assert_ne!(first.payload_macs, key("B", ID, b"x").unwrap().payload_macs);
        assert_ne!(first.payload_macs, key("A", ID, b"y").unwrap().payload_macs);
        assert!(key("A", "", b"x").is_err());
        assert!(key("A", "x", b"x").is_err());
    }
}
