//! The data service has no code that could decrypt client-encrypted content, in its sources or its dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use haven_testkit::workspace;

/// Words that a source about encrypted data must not name: types with a key, and functions that decrypt with one.
const OPENERS: [&str; 21] = [
    "key_ring",
    "KeyRing",
    "KeyRingError",
    "sealing",
    "Sealed",
    "Cell",
    "OpenError",
    "fernet",
    "Fernet",
    "MultiFernet",
    "aead",
    "Aead",
    "AeadInOut",
    "KeyInit",
    "aes",
    "aes_gcm",
    "chacha20",
    "chacha20poly1305",
    "ring",
    "decrypt",
    "open_in_place",
];

/// Crates with authenticated encryption. rustls depends on ring, and does not give access to it.
const AEADS: [&str; 24] = [
    "aead",
    "aegis",
    "aes-gcm",
    "aes-gcm-siv",
    "aes-gcm-stream",
    "aes-siv",
    "age",
    "ascon-aead",
    "aws-lc-rs",
    "aws-lc-sys",
    "ccm",
    "chacha20poly1305",
    "crypto_box",
    "crypto_secretbox",
    "deoxys",
    "dryoc",
    "eax",
    "ghash",
    "libsodium-sys",
    "ocb3",
    "openssl",
    "orion",
    "poly1305",
    "xsalsa20poly1305",
];

/// Words that show that a source handles client-encrypted data or passcodes, in any folder.
const ENCRYPTED: [&str; 9] = [
    "Encrypted",
    "EncryptedColumns",
    "EncryptedParts",
    "CryptoEnvelope",
    "encrypted_payload",
    "encrypted_share_data",
    "encrypted_master_key",
    "Passcode",
    "PasscodeHash",
];

/// Returns the sources of the data service about encrypted data: those in a folder or a file named `encrypted`, and
/// those that name such data.
fn encrypted_sources() -> Vec<PathBuf> {
    let sources = workspace::root().join("services/data/src");
    let is_one = |path: &PathBuf| {
        let name = path.strip_prefix(&sources).unwrap().with_extension("");
        name.iter().any(|part| part == "encrypted")
            || words(path)
                .iter()
                .any(|(_, word)| ENCRYPTED.contains(&word.as_str()))
    };
    let found: Vec<_> = workspace::files(&sources)
        .unwrap()
        .into_iter()
        .filter(is_one)
        .collect();
    for room in [
        "domain/encrypted",
        "store/encrypted",
        "rpc/encrypted",
        "passcodes.rs",
        "rpc/export.rs",
        "rpc/export/encrypted.rs",
        "store/export/encrypted.rs",
        "store/export/shared.rs",
    ] {
        let room = sources.join(room);
        assert!(
            found.iter().any(|path| path.starts_with(&room)),
            "{} is not among them",
            room.display()
        );
    }
    found
}

/// Returns the words of the code in `path` with their line numbers, without comments.
fn words(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let parts = code.split(|character: char| !character.is_alphanumeric() && character != '_');
        words.extend(parts.map(|part| (number + 1, part.to_owned())));
    }
    words
}

#[test]
fn sources_about_encrypted_data_name_no_decryption_code() {
    let mut found = Vec::new();
    for path in encrypted_sources() {
        for (number, word) in words(&path) {
            if OPENERS.contains(&&*word) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // The same search finds the sealing of messages, and the opening of messages for an export.
    for (room, opener) in [
        ("domain/sealing.rs", "Sealed"),
        ("rpc/export/sealed.rs", "KeyRing"),
    ] {
        let room = workspace::root().join("services/data/src").join(room);
        assert!(words(&room).iter().any(|(_, word)| word == opener));
    }
}

#[test]
fn no_source_uses_the_encryption_of_ring() {
    // The platform depends on ring for TLS and for the signatures of tokens. ring's encryption is in a module of its
    // own.
    let mut named = Vec::new();
    let mut signatures = false;
    for service in ["platform", "data"] {
        let sources = workspace::root().join("services").join(service).join("src");
        for path in workspace::files(&sources).unwrap() {
            for (number, word) in words(&path) {
                signatures |= word == "ECDSA_P256_SHA256_FIXED";
                if ["aead", "Aead", "LessSafeKey", "OpeningKey", "UnboundKey"].contains(&&*word) {
                    named.push(format!("{}:{number}: {word}", path.display()));
                }
            }
        }
    }
    assert!(named.is_empty(), "{named:#?}");
    assert!(signatures, "what ring is there for is not found either");
}

/// Returns each crate in the normal dependencies of `package`, with the crates that depend on it.
fn dependents(package: &str) -> BTreeMap<String, BTreeSet<String>> {
    let output = workspace::cargo()
        .args(["tree", "--offline", "--edges=normal", "--prefix=depth"])
        .args(["--format= {p}", "--package", package])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut dependents = BTreeMap::<_, BTreeSet<_>>::new();
    let mut path: Vec<String> = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split_whitespace();
        let Some(depth) = words.next() else { continue };
        let (depth, name) = (depth.parse::<usize>().unwrap(), words.next().unwrap().to_owned());
        path.truncate(depth);
        let parents = dependents.entry(name.clone()).or_default();
        parents.extend(path.last().cloned());
        path.push(name);
    }
    dependents
}

#[test]
fn the_data_service_depends_on_no_authenticated_encryption_except_for_tls() {
    let data = dependents("haven-data");
    let found: Vec<_> = AEADS.iter().filter(|aead| data.contains_key(**aead)).collect();
    assert!(found.is_empty(), "{found:?}");
    // These ciphers are left. None of their users can or does decrypt client-encrypted content.
    let by = |name: &str| data[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(by("aes"), ["fernet"]);
    assert_eq!(by("fernet"), ["haven-data"]);
    assert_eq!(by("chacha20"), ["rand"]);
    let ours: Vec<_> = by("ring")
        .into_iter()
        .filter(|name| name.starts_with("haven-"))
        .collect();
    // The platform checks the signatures of tokens with ring, and nothing else, as the test above shows.
    assert_eq!(ours, ["haven-platform"]);

    // The same search finds the ciphers of the reference client.
    let testkit = dependents("haven-testkit");
    for aead in ["aead", "aes-gcm", "chacha20poly1305", "poly1305"] {
        assert!(testkit.contains_key(aead), "{aead}");
    }
}
