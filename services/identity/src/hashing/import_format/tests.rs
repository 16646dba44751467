//! Hashes of the password in `PASSWORD` that other software made. `tests/imports/vectors` makes them again.

use base64::{Engine, engine::general_purpose::STANDARD};
use haven_platform::{entropy::Entropy, hashing::Memory};

use super::*;
use crate::{
    domain::password::Password,
    hashing::{Bounds, Hasher, HashingError, Imported, ImportedSecrets, Peppers, Unusable, Verdict},
};

const PASSWORD: &str = "Grüße an Köln 7";

/// argon2-cffi 25.1.0, its defaults.
pub(crate) const ARGON2_CFFI: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$E/XDhqU5n89a2l2M6kj5vQ$flfEj3FsVQLuNXmGhg4mQNwaM4/VWxCxPVYQpJCuvGA";

/// Each with the software and version that made it.
const VECTORS: &[(&str, &str)] = &[
    ("argon2-cffi 25.1.0, its defaults", ARGON2_CFFI),
    (
        "argon2 0.45.1 of npm, its defaults; it writes p before t",
        "$argon2id$v=19$m=65536,p=4,t=3$hHK7EksAJrPyiBYSq9+4UQ$9dYLlyOJyrmdGOBh5fVaq+zVkXqXBkyQO/xr40xNNDo",
    ),
    (
        "PHP 8.2.36, PASSWORD_ARGON2ID",
        "$argon2id$v=19$m=65536,t=4,p=1$YmhlYnhyeE1aa2tBQWRPaQ$lr6ZKqPk1ug7OoNeDa39jKlJ5/3RfiSBp9wQ1PEa6U8",
    ),
    (
        "PyNaCl 1.6.2 with libsodium, INTERACTIVE",
        "$argon2id$v=19$m=65536,t=2,p=1$ItooxlApalZS8XE6uL/8GA$EnwTAvLGjQtUmc0MWhuOKLsLAyR9k8SGRoBPk1O1Fl0",
    ),
    (
        "Django 5.2.19, Argon2PasswordHasher",
        "argon2$argon2id$v=19$m=102400,t=2,p=8$MXB5TTdrTDRhTmJ5MG5BMXloTjZseg$d3GREEUgpMgCgsBKuMbQMcSPsCu9veeLWEJZL1Uar7w",
    ),
    (
        "Django 5.2.19, PBKDF2PasswordHasher, its default",
        "pbkdf2_sha256$1000000$7mgyPUHJbteZVyu1g4uJ17$xqEM6ga/LARMlkv/unyGIB3fU/0dDq/2RvhdO+0b/kc=",
    ),
    (
        "Django 5.2.19, BCryptSHA256PasswordHasher",
        "bcrypt_sha256$$2b$12$AkHZJct8RgfIcoOX4UiYEuReOP8H06QLsWbXSYSaZ4cSyJODLdDc2",
    ),
    (
        "Django 5.2.19, BCryptPasswordHasher",
        "bcrypt$$2b$12$qsQ8pubrZPfgfJvYshVUIu.faWbn6F8RzU80yxlGHDL2c3BaBTnue",
    ),
    (
        "Django 5.2.19, ScryptPasswordHasher",
        "scrypt$16384$Xe9keNGk4z2vXpvXNFcxMV$8$5$ddwb3+4aFC1Kb/4WecpZhOteBgQl5a/ZjomGjRj7Qqvy8MZBiC05FnThLFqBR90eKuPEykA8euVIKBSI75kEnw==",
    ),
    (
        "passlib 1.7.4, pbkdf2_sha256",
        "$pbkdf2-sha256$29000$nPPeu7fWGiPk/F/LOSekVA$BZsXd42zFWG1yWfTzQeSl15waqD.y5muAgaEya5o7MA",
    ),
    (
        "passlib 1.7.4, pbkdf2_sha512",
        "$pbkdf2-sha512$25000$BeBcK.Ucg5ASYsx5rxXC.A$KfWcUHR2/.qy4OLankBa449b65AiilOJ4NVROnKrUK/gSQnE2diyh6TYnqfJsmpoQibXApZtRaG1LjgQqD.L2Q",
    ),
    (
        "passlib 1.7.4, scrypt",
        "$scrypt$ln=16,r=8,p=1$HyOE8B6jVGqt9V4LoXQOgQ$GLGGSaLca4IkplFkqSn+Bc8uZYzw1E5Ivb/05XctyIg",
    ),
    (
        "PHP 8.2.36, PASSWORD_DEFAULT",
        "$2y$10$8wIOeBi8TLIUQnkFr5wq8.y0zRcoxuFeNa6hh9UiIk3q2iNBIfRqm",
    ),
    (
        "bcryptjs 3.0.3",
        "$2b$10$/qgKxRp50mrJDUd6iJjCG.FcGBCpH0rGNUxDKaAdbusxYTg/kCUA.",
    ),
    (
        "the functions of PHP 8.2.36 that wp_hash_password of WordPress 6.8 calls",
        "$wp$2y$10$UOer4/fQoYwNQ6BC6e5ROOn.EhBIZkNF.rVpaLNnA1s6RC8L09Oyy",
    ),
    (
        "firebase-scrypt 2.2.0 of npm, after the rewrite",
        "$firebase-scrypt$ln=14,r=8,keyid=fire$AQIDBAUGBwgJCgc$mJRp12Nmu2Mhg4oWIP6+3pycApNbOwuRT6X0s3C7tPpoSUw5TPXX0HLapxDXrUTku2z339cJ06DUvakaRMjFeA",
    ),
    (
        "the form of Keycloak 24, computed by Python's hashlib",
        r#"{"type":"password","secretData":"{\"value\":\"B27jSvku/P7ecFQsvZKzP8O+2XZFnafsevh6bQsSAWiSZ4pes4Cf7rEwGb/bQPPpDPsuAJZWL+kTtyittSmVCw==\",\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\",\"additionalParameters\":{}}","credentialData":"{\"hashIterations\":210000,\"algorithm\":\"pbkdf2-sha512\",\"additionalParameters\":{}}"}"#,
    ),
    (
        "the form of earlier versions of Keycloak, computed by Python's hashlib",
        r#"{"type":"password","secretData":"{\"value\":\"Q/iPMvnJAnoVivKv4OZOKb4ce7v767FNvZqY8SailK8szy4nCbcqS+O49pLuzA0jB9atO4fNJLXooEQMNQZd9Q==\",\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\",\"additionalParameters\":{}}","credentialData":"{\"hashIterations\":27500,\"algorithm\":\"pbkdf2-sha256\",\"additionalParameters\":{}}"}"#,
    ),
    (
        "the form of Keycloak 25, computed by argon2-cffi 25.1.0",
        r#"{"type":"password","secretData":"{\"value\":\"0NKNd4xsn0IxenW91e19FVlSHW6hg+P3wYxSwVvqusM=\",\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\",\"additionalParameters\":{}}","credentialData":"{\"hashIterations\":5,\"algorithm\":\"argon2\",\"additionalParameters\":{\"hashLength\":[\"32\"],\"memory\":[\"7168\"],\"type\":[\"id\"],\"version\":[\"1.3\"],\"parallelism\":[\"1\"]}}"}"#,
    ),
    (
        "the form of ASP.NET Core Identity, the default of .NET 7 to 10, computed by Python's hashlib",
        "AQAAAAIAAYagAAAAEAABAgMEBQYHCAkKCwwNDg9OfjiFnEJBHq3LLSCvWXuej8tNfMIW3nxInlq1NLzdcQ==",
    ),
];

/// The bytes 0 to 63, with which the vector of Firebase was made, and a pepper of text.
const SECRETS: &str = "fire:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==,dev:cGVwcGVyLW9mLXRoZS1hcHBsaWNhdGlvbg==";

fn hasher(secrets: &str) -> Hasher {
    let peppers = Peppers::parse(&format!("k1:{}", STANDARD.encode([1; 32])).into()).unwrap();
    let imported = Imported {
        bounds: Bounds { memory_kib: 102_400 },
        secrets: ImportedSecrets::parse(&secrets.into()).unwrap(),
    };
    Hasher::new(peppers, imported, Entropy::seeded(1)).unwrap()
}

fn verdict(hasher: &Hasher, password: &str, exported: &str) -> Result<Verdict, HashingError> {
    let stored = convert(exported).unwrap();
    let password = Password::present(password.into()).unwrap();
    hasher.verify(&password, Some(&stored), &mut Memory::default())
}

#[test]
fn hashes_of_other_software_are_checked_and_are_outdated() {
    let hasher = hasher(SECRETS);
    for (software, exported) in VECTORS {
        let stored = convert(exported).unwrap();
        assert_eq!(hasher.check_usable(&stored), Ok(()), "{software}");
        assert_eq!(
            verdict(&hasher, PASSWORD, exported),
            Ok(Verdict::RightButOutdated),
            "{software}"
        );
        assert_eq!(
            verdict(&hasher, "Grüße an Köln 8", exported),
            Ok(Verdict::Wrong),
            "{software}"
        );
    }
}

/// From the test suite of ASP.NET Core, where they are hashes of `my password`.
#[test]
fn hashes_of_aspnet_core_are_checked() {
    let hasher = hasher(SECRETS);
    for exported in [
        "AQAAAAEAA9CQAAAAIESkQuj2Du8Y+kbc5lcN/W/3NiAZFEm11P27nrSN5/tId+bR1SwV8CO1Jd72r4C08OLvplNlCDc3oQZ8efcW+jQ=",
        "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw",
        "AQAAAAIAAAD6AAAAIJbVi5wbMR+htSfFp8fTw8N8GOS/Sje+S/4YZcgBfU7EQuqv4OkVYmc4VJl9AGZzmRTxSkP7LtVi9IWyUxX8IAAfZ8v+ZfhjCcudtC1YERSqE1OEdXLW9VukPuJWBBjLuw==",
    ] {
        assert_eq!(
            verdict(&hasher, "my password", exported),
            Ok(Verdict::RightButOutdated),
            "{exported}"
        );
        assert_eq!(
            verdict(&hasher, "my passwords", exported),
            Ok(Verdict::Wrong),
            "{exported}"
        );
    }
}

/// Devise 4.8.1 of Debian, with the pepper in `SECRETS`; a long one has a part of the pepper cut off by bcrypt, as there.
#[test]
fn hashes_of_devise_with_a_pepper_need_the_pepper() {
    let exported = format!("$devise$dev{DEVISE}");
    assert_eq!(
        verdict(&hasher(SECRETS), PASSWORD, &exported),
        Ok(Verdict::RightButOutdated)
    );
    assert_eq!(
        verdict(&hasher(SECRETS), PASSWORD, DEVISE),
        Ok(Verdict::Wrong),
        "without the pepper"
    );
    assert_eq!(
        verdict(&hasher("dev:eA=="), PASSWORD, &exported),
        Ok(Verdict::Wrong)
    );
    let missing = Err(HashingError::Unusable(Unusable::Pepper));
    assert_eq!(verdict(&hasher("x:eA=="), PASSWORD, &exported), missing);
    let stored = convert(&exported).unwrap();
    assert_eq!(hasher("x:eA==").check_usable(&stored), Err(Unusable::Pepper));
}

const DEVISE: &str = "$2a$10$y8i3Plxi7p2cA3808ZafQ.NDfQmEg6PL5aQX/cCD3KBKJzgUoHU9G";

#[test]
fn a_signer_key_of_another_project_matches_nothing() {
    let (_, exported) = VECTORS
        .iter()
        .find(|(_, hash)| hash.starts_with("$firebase"))
        .unwrap();
    for secret in [vec![1; 64], vec![1; 32]] {
        let other = hasher(&format!("fire:{}", STANDARD.encode(secret)));
        assert_eq!(verdict(&other, PASSWORD, exported), Ok(Verdict::Wrong));
    }
}

/// What was typed may be in either form where the hash was made, and when its person signs in here.
#[test]
fn a_decomposed_password_matches_the_hash_of_either_form() {
    use unicode_normalization::UnicodeNormalization;
    let decomposed: String = PASSWORD.nfd().collect();
    let hasher = hasher(SECRETS);
    let (composed_hash, decomposed_hash) = (
        "$2b$10$/qgKxRp50mrJDUd6iJjCG.FcGBCpH0rGNUxDKaAdbusxYTg/kCUA.".to_owned(),
        bcrypt::hash(&decomposed, 4).unwrap(),
    );
    for (typed, stored) in [
        (decomposed.as_str(), &composed_hash),
        (decomposed.as_str(), &decomposed_hash),
        (PASSWORD, &composed_hash),
    ] {
        assert_eq!(verdict(&hasher, typed, stored), Ok(Verdict::RightButOutdated));
    }
    // The hash was made on one kind of keyboard, and is replaced when its person signs in there.
    assert_eq!(verdict(&hasher, PASSWORD, &decomposed_hash), Ok(Verdict::Wrong));
}

#[test]
fn white_space_around_a_password_of_wordpress_does_not_count_and_does_not_replace_the_hash() {
    let (_, exported) = VECTORS.iter().find(|(_, hash)| hash.starts_with("$wp")).unwrap();
    let hasher = hasher(SECRETS);
    assert_eq!(
        verdict(&hasher, &format!(" {PASSWORD}\n"), exported),
        Ok(Verdict::Right)
    );
    assert_eq!(verdict(&hasher, " ", exported), Ok(Verdict::Wrong));
}

#[test]
fn other_forms_are_refused_by_name() {
    use ImportFormatError::{Incomplete, Refused, Unknown};
    for (exported, name) in [
        ("$P$B12345678abcdefghijklmnopqrstuv", "phpass"),
        ("$H$9abcdefghijklmnopqrstuvwxyz1234", "phpass"),
        ("$1$salt$hash", "md5crypt"),
        ("$6$salt$hash", "sha512crypt"),
        (
            "$argon2d$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "argon2d",
        ),
        (
            "$2x$10$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
            "2x",
        ),
        ("sha1$salt$hash", "SHA-1"),
        ("pbkdf2_sha1$1000$salt$hash=", "SHA-1"),
        (
            "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==",
            "version 2",
        ),
        (
            "AQAAAAAAAAD6AAAAEAhftMyfTJylOlZT+eEotFXd1elee8ih5WsjXaR3PA9M",
            "SHA-1",
        ),
        (
            r#"{"secretData":"{\"value\":\"\",\"salt\":\"\"}","credentialData":"{\"hashIterations\":1,\"algorithm\":\"pbkdf2\"}"}"#,
            "SHA-1",
        ),
    ] {
        match convert(exported).err() {
            Some(error @ Refused(_)) => assert!(error.to_string().contains(name), "{exported}: {error}"),
            other => panic!("{exported}: {other:?}"),
        }
    }
    for exported in [
        "",
        "Passw0rd",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "AA==",
        "x$y",
        "$x$y",
    ] {
        assert_eq!(convert(exported).err(), Some(Unknown), "{exported}");
    }
    assert_eq!(convert(&"$2b$".repeat(300)).err(), Some(Unknown));
    for exported in [
        "{}",
        "{",
        "pbkdf2_sha256$1000",
        "bcrypt$2b",
        "scrypt$3$s$8$1$h",
        "$pbkdf2-sha256$x",
        "AQAAAAI=",
    ] {
        assert!(
            matches!(convert(exported).err(), Some(Incomplete(_))),
            "{exported}"
        );
    }
}
