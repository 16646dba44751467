//! That there is no code which could open what devices encrypt, seen in the sources and in what they depend on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use haven_testkit::workspace;

/// What a module about encrypted data may not name: what has a key, and what could open something with one.
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

/// Crates that encrypt and authenticate, by whoever made them. rustls has ring, and is no way to it.
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

/// What a module names that has to do with what devices encrypt, or with passcodes, wherever it lies.
const ENCRYPTED: [&str; 9] = [
    "Encrypted",
    "EnvelopeColumns",
    "EncryptedParts",
    "CryptoEnvelope",
    "encrypted_payload",
    "encrypted_share_data",
    "encrypted_master_key",
    "Passcode",
    "PasscodeHash",
];

/// The data service's sources about encrypted data: those that are called so, or lie in a folder that is, and those that
/// use such data.
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

/// The words of the code in `path`, with the numbers of their lines: without comments.
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
fn modules_about_encrypted_data_name_nothing_that_opens_it() {
    let mut found = Vec::new();
    for path in encrypted_sources() {
        for (number, word) in words(&path) {
            if OPENERS.contains(&&*word) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // The same search finds what seals messages, and what opens them for an export, which are other rooms.
    for (room, opener) in [
        ("domain/sealing.rs", "Sealed"),
        ("rpc/export/sealed.rs", "KeyRing"),
    ] {
        let room = workspace::root().join("services/data/src").join(room);
        assert!(words(&room).iter().any(|(_, word)| word == opener));
    }
}

#[test]
fn nothing_encrypts_with_what_tls_has() {
    // The platform has ring for TLS and for the signatures of tokens. What else ring can do is in a module of its own.
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

/// Who depends on whom in the normal dependencies of `package`: each crate with those that depend on it.
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
fn the_data_service_has_no_authenticated_encryption_but_that_of_tls() {
    let data = dependents("haven-data");
    let found: Vec<_> = AEADS.iter().filter(|aead| data.contains_key(**aead)).collect();
    assert!(found.is_empty(), "{found:?}");
    // What is left of such, and who has it: none of them can open what a device encrypted, or is asked to.
    let by = |name: &str| data[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(by("aes"), ["fernet"]);
    assert_eq!(by("fernet"), ["haven-data"]);
    assert_eq!(by("chacha20"), ["rand"]);
    let ours: Vec<_> = by("ring")
        .into_iter()
        .filter(|name| name.starts_with("haven-"))
        .collect();
    // It checks the signatures of tokens with it, and does nothing else: see above.
    assert_eq!(ours, ["haven-platform"]);

    // The same search finds the reference client's.
    let testkit = dependents("haven-testkit");
    for aead in ["aead", "aes-gcm", "chacha20poly1305", "poly1305"] {
        assert!(testkit.contains_key(aead), "{aead}");
    }
}
