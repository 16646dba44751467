//! The formats of secrets.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::mac::SecretKey;

/// Parses a key: 32 bytes in base64.
///
/// # Errors
///
/// A description of what is wrong, without the value.
pub fn secret_key(text: &SecretString) -> Result<SecretKey, &'static str> {
    let bytes = Zeroizing::new(
        STANDARD
            .decode(text.expose_secret())
            .map_err(|_| "is not base64")?,
    );
    let key: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| "must be 32 bytes in base64")?;
    Ok(SecretKey::new(Box::new(key)))
}

/// Parses a list of secrets, each preceded by a key id: `id:secret,id:secret`. The first one is the current key.
///
/// # Errors
///
/// A description of what is wrong, without the values.
pub fn keyed_secrets(text: &SecretString) -> Result<Vec<(String, SecretString)>, &'static str> {
    let mut keys: Vec<(String, SecretString)> = Vec::new();
    for entry in text.expose_secret().split(',') {
        let (id, secret) = entry
            .trim()
            .split_once(':')
            .ok_or("must be a list of `id:secret`")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 8 || !id.chars().all(plain) {
            return Err("must have ids of 1 to 8 letters, digits, - or _");
        }
        if keys.iter().any(|(other, _)| other == id) {
            return Err("has a duplicate id");
        }
        keys.push((id.to_owned(), secret.into()));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes() {
        assert!(secret_key(&STANDARD.encode([1; 32]).into()).is_ok());
        for wrong in [String::new(), "%".into(), STANDARD.encode([1; 31])] {
            assert!(secret_key(&wrong.into()).is_err());
        }
    }

    #[test]
    fn a_list_of_secrets_keeps_its_order() {
        let ids = |text: &str| {
            keyed_secrets(&text.into()).map(|keys| keys.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
        };
        assert_eq!(ids("k2:b=,k1:a"), Ok(vec!["k2".to_owned(), "k1".to_owned()]));
        for wrong in ["", "k1", ":a", "k1:a,k1:b", "k 1:a", "k12345678:a"] {
            assert!(ids(wrong).is_err(), "{wrong:?}");
        }
    }
}
