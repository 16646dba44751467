//! The forms in which other software exports password hashes, and their conversion into what is stored.
//!
//! A form that says nothing about its algorithm, such as a bare MD5, is refused, and so is what is too weak to be kept: nothing is
//! guessed.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde::Deserialize;

use crate::domain::account::PasswordHash;

/// The maximum length of an exported hash, in bytes. Keycloak's JSON has some 300.
pub const MAX_BYTES: usize = 1024;

/// The first byte of a hash of ASP.NET Core Identity, version 3, and of version 2, which had 1,000 iterations of SHA-1.
const ASPNET_V3: u8 = 1;
const ASPNET_V2: u8 = 0;

/// The reason why an exported hash is not imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportFormatError {
    /// The text has none of the forms.
    #[error("password_hash must have one of the forms that the documentation of ImportAccounts lists")]
    Unknown,
    /// The text has the form, but is not complete.
    #[error("password_hash must be complete: it begins like a hash of {0}")]
    Incomplete(&'static str),
    /// The form is known, and is not supported.
    #[error(
        "password_hash must not be {0}: import the account without a hash, and let its person reset the password"
    )]
    Refused(&'static str),
}

/// Converts a hash that other software exported into the form that is stored.
///
/// # Errors
///
/// [`ImportFormatError`], which does not contain the hash. Whether the hash can be checked is for
/// [`Hasher::check_usable`](super::Hasher::check_usable) to say.
pub fn convert(exported: &str) -> Result<PasswordHash, ImportFormatError> {
    let stored = match exported {
        _ if exported.len() > MAX_BYTES => return Err(ImportFormatError::Unknown),
        _ if exported.starts_with('{') => keycloak(exported)?,
        _ if exported.starts_with('$') => modular(exported)?,
        _ => match exported.split_once('$') {
            Some((algorithm, rest)) => django(algorithm, rest)?,
            None => aspnet(exported)?,
        },
    };
    Ok(PasswordHash::new(stored))
}

/// Converts a hash with `$` in front.
fn modular(exported: &str) -> Result<String, ImportFormatError> {
    let algorithm = exported[1..].split('$').next().unwrap_or_default();
    match algorithm {
        "argon2id"
        | "argon2i"
        | "scrypt"
        | "2a"
        | "2b"
        | "2y"
        | "wp"
        | "devise"
        | "django-bcrypt-sha256"
        | "firebase-scrypt" => Ok(exported.to_owned()),
        "pbkdf2-sha256" | "pbkdf2-sha512" => passlib(algorithm, exported),
        "argon2d" => Err(ImportFormatError::Refused(
            "argon2d, which is not made for passwords",
        )),
        "2x" => Err(ImportFormatError::Refused(
            "of the version 2x of bcrypt, which has a bug",
        )),
        "P" | "H" => Err(ImportFormatError::Refused("phpass, which is MD5")),
        "1" | "apr1" => Err(ImportFormatError::Refused("md5crypt")),
        "5" | "6" => Err(ImportFormatError::Refused("sha256crypt or sha512crypt")),
        "pbkdf2" | "pbkdf2-sha1" => Err(ImportFormatError::Refused("pbkdf2 with SHA-1")),
        _ => Err(ImportFormatError::Unknown),
    }
}

/// Converts `$pbkdf2-sha256$29000$salt$output` of passlib, which writes base64 with `.` for `+`.
fn passlib(algorithm: &str, exported: &str) -> Result<String, ImportFormatError> {
    let parts: Vec<&str> = exported.split('$').collect();
    match parts.as_slice() {
        ["", _, iterations, _, _] if iterations.starts_with("i=") => Ok(exported.to_owned()),
        ["", _, iterations, salt, output] => {
            let (salt, output) = (salt.replace('.', "+"), output.replace('.', "+"));
            Ok(format!("${algorithm}$i={iterations}${salt}${output}"))
        }
        _ => Err(ImportFormatError::Incomplete("passlib")),
    }
}

/// Converts a hash of Django, which has the name of its hasher in front.
fn django(algorithm: &str, rest: &str) -> Result<String, ImportFormatError> {
    const INCOMPLETE: ImportFormatError = ImportFormatError::Incomplete("Django");
    let parts: Vec<&str> = rest.split('$').collect();
    match (algorithm, parts.as_slice()) {
        ("pbkdf2_sha256", [iterations, salt, output]) => {
            let salt = STANDARD_NO_PAD.encode(salt);
            Ok(format!(
                "$pbkdf2-sha256$i={iterations}${salt}${}",
                unpadded(output)
            ))
        }
        ("scrypt", [n, salt, r, p, output]) => {
            let n: u64 = n.parse().map_err(|_| INCOMPLETE)?;
            if !n.is_power_of_two() {
                return Err(INCOMPLETE);
            }
            let (ln, salt) = (n.ilog2(), STANDARD_NO_PAD.encode(salt));
            Ok(format!("$scrypt$ln={ln},r={r},p={p}${salt}${}", unpadded(output)))
        }
        // The algorithm's own form follows, with a `$` in front for bcrypt and without for argon2.
        ("argon2", _) => modular(&format!("${rest}")),
        ("bcrypt", ["", ..]) => modular(rest),
        ("bcrypt_sha256", ["", ..]) => Ok(format!("$django-bcrypt-sha256{rest}")),
        ("pbkdf2_sha256" | "scrypt" | "bcrypt" | "bcrypt_sha256", _) => Err(INCOMPLETE),
        ("pbkdf2_sha1" | "sha1", _) => Err(ImportFormatError::Refused("SHA-1 of Django")),
        ("md5" | "unsalted_md5", _) => Err(ImportFormatError::Refused("MD5 of Django")),
        _ => Err(ImportFormatError::Unknown),
    }
}

/// Converts a hash of ASP.NET Core Identity: base64 of a version, the hash function, the iterations and the length of the salt as
/// big-endian numbers, the salt and the output.
fn aspnet(exported: &str) -> Result<String, ImportFormatError> {
    const INCOMPLETE: ImportFormatError = ImportFormatError::Incomplete("ASP.NET Core Identity");
    let bytes = STANDARD
        .decode(exported)
        .map_err(|_| ImportFormatError::Unknown)?;
    let (version, rest) = bytes.split_first().ok_or(ImportFormatError::Unknown)?;
    match *version {
        ASPNET_V3 => {}
        ASPNET_V2 if rest.len() == 48 => {
            return Err(ImportFormatError::Refused(
                "version 2 of ASP.NET Identity, which is SHA-1",
            ));
        }
        _ => return Err(ImportFormatError::Unknown),
    }
    let (numbers, rest) = rest.split_first_chunk::<12>().ok_or(INCOMPLETE)?;
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&numbers[at..at + 4]);
        u32::from_be_bytes(bytes)
    };
    let digest = match number(0) {
        1 => "sha256",
        2 => "sha512",
        0 => {
            return Err(ImportFormatError::Refused(
                "pbkdf2 with SHA-1 of ASP.NET Identity",
            ));
        }
        _ => return Err(INCOMPLETE),
    };
    let salt_bytes = usize::try_from(number(8)).map_err(|_| INCOMPLETE)?;
    let (salt, output) = rest.split_at_checked(salt_bytes).ok_or(INCOMPLETE)?;
    Ok(format!(
        "$pbkdf2-{digest}$i={}${}${}",
        number(4),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    ))
}

/// A credential in a realm export of Keycloak. Both fields are JSON inside of a text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeycloakCredential {
    secret_data: String,
    credential_data: String,
}

#[derive(Deserialize)]
struct KeycloakSecret {
    value: String,
    salt: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeycloakParameters {
    hash_iterations: u32,
    algorithm: String,
    #[serde(default)]
    additional_parameters: KeycloakArgon2,
}

/// The parameters of argon2, each a list of one text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct KeycloakArgon2 {
    memory: Vec<String>,
    parallelism: Vec<String>,
    r#type: Vec<String>,
    version: Vec<String>,
}

/// Converts a password credential of Keycloak.
fn keycloak(exported: &str) -> Result<String, ImportFormatError> {
    const INCOMPLETE: ImportFormatError = ImportFormatError::Incomplete("Keycloak");
    let credential: KeycloakCredential = serde_json::from_str(exported).map_err(|_| INCOMPLETE)?;
    let secret: KeycloakSecret = serde_json::from_str(&credential.secret_data).map_err(|_| INCOMPLETE)?;
    let data: KeycloakParameters =
        serde_json::from_str(&credential.credential_data).map_err(|_| INCOMPLETE)?;
    let (salt, output) = (unpadded(&secret.salt), unpadded(&secret.value));
    let iterations = data.hash_iterations;
    match data.algorithm.as_str() {
        algorithm @ ("pbkdf2-sha256" | "pbkdf2-sha512") => {
            Ok(format!("${algorithm}$i={iterations}${salt}${output}"))
        }
        "pbkdf2" => Err(ImportFormatError::Refused("pbkdf2 with SHA-1")),
        "argon2" => {
            let of = |values: &[String]| values.first().cloned().ok_or(INCOMPLETE);
            let more = data.additional_parameters;
            let (memory, lanes) = (of(&more.memory)?, of(&more.parallelism)?);
            match (of(&more.r#type)?.as_str(), of(&more.version)?.as_str()) {
                (kind @ ("id" | "i"), "1.3") => Ok(format!(
                    "$argon2{kind}$v=19$m={memory},t={iterations},p={lanes}${salt}${output}"
                )),
                _ => Err(ImportFormatError::Refused("argon2d, or version 1.0 of argon2")),
            }
        }
        _ => Err(INCOMPLETE),
    }
}

/// Removes the padding of base64, which PHC strings do not have.
fn unpadded(base64: &str) -> &str {
    base64.trim_end_matches('=')
}

#[cfg(test)]
pub(crate) mod tests;
