//! The formats of secrets.

use secrecy::{ExposeSecret, SecretString};

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
