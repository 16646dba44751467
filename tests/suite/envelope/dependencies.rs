//! The data service has no code that could decrypt client-encrypted content, in its sources or its dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use haven_testkit::workspace;

/// Words that a source about encrypted data must not name: types with a key, and functions that decrypt with one.
const DECRYPTION_WORDS: [&str; 21] = [
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
const ENCRYPTED_DATA_WORDS: [&str; 11] = [
    "Encrypted",
    "EnvelopeColumns",
    "EncryptedParts",
    "CryptoEnvelope",
    "encrypted_payload",
    "encrypted_share_data",
    "encrypted_master_key",
    "encrypted_label",
    "EncryptedLabel",
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
                .any(|(_, word)| ENCRYPTED_DATA_WORDS.contains(&word.as_str()))
    };
    let found: Vec<_> = workspace::files(&sources)
        .unwrap()
        .into_iter()
        .filter(is_one)
        .collect();
    // The search must find every kind of these sources, wherever a file is moved to within its layer.
    for folder in ["domain/encrypted", "store/encrypted", "rpc/encrypted"] {
        let folder = sources.join(folder);
        assert!(
            found.iter().any(|path| path.starts_with(&folder)),
            "no source in {} is found",
            folder.display()
        );
    }
    for (layer, folder, count) in [("", "passcodes", 1), ("rpc", "export", 2), ("store", "export", 2)] {
        let sources = found.iter().filter(|path| is_in(path, layer, folder));
        assert!(
            sources.count() >= count,
            "less than {count} sources of {layer:?} about {folder} are found"
        );
    }
    found
}

/// Returns whether a source of the data service is in `layer`, or in any where that is empty, and in a folder or a file
/// with a name that begins with `name`.
fn is_in(path: &Path, layer: &str, name: &str) -> bool {
    let sources = workspace::root().join("services/data/src");
    let path = path.strip_prefix(sources).unwrap().with_extension("");
    path.starts_with(layer) && path.iter().any(|part| part.to_str().unwrap().starts_with(name))
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
            if DECRYPTION_WORDS.contains(&&*word) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // Positive control: the same search finds the sealing of messages, and the opening of messages for an export.
    let sources = workspace::files(&workspace::root().join("services/data/src")).unwrap();
    for (layer, name, expected) in [("domain", "sealing", "Sealed"), ("rpc", "export", "KeyRing")] {
        let mut controls = sources.iter().filter(|path| is_in(path, layer, name));
        assert!(
            controls.any(|path| words(path).iter().any(|(_, word)| word == expected)),
            "{expected} is not found in {name}"
        );
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
    assert!(
        signatures,
        "the search does not find the use of ring for signatures"
    );
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

    // Positive control: the same search finds the ciphers of the reference client.
    let testkit = dependents("haven-testkit");
    for aead in ["aead", "aes-gcm", "chacha20poly1305", "poly1305"] {
        assert!(testkit.contains_key(aead), "{aead}");
    }
}
