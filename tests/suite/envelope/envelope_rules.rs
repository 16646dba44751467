//! Every rule of an envelope at its limit, in every RPC that takes an envelope.

use std::fs;

use anyhow::Result;
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use haven_testkit::{Stack, random, workspace};

use super::payload_calls::{PayloadRpc, Sealed, get, push};
use crate::{
    status::{reason, violations},
    test_device::Device,
};

/// A way to break one rule: a description, the field of the envelope, the name of the violation, and the change.
struct Case {
    what: &'static str,
    field: &'static str,
    name: &'static str,
    spoil: fn(&mut CryptoEnvelope),
}

const fn case(
    what: &'static str,
    field: &'static str,
    name: &'static str,
    spoil: fn(&mut CryptoEnvelope),
) -> Case {
    Case {
        what,
        field,
        name,
        spoil,
    }
}

const AES: i32 = EncryptionAlgorithm::Aes256Gcm as i32;

fn derivation(envelope: &mut CryptoEnvelope) -> &mut KeyDerivation {
    envelope.key_derivation.get_or_insert_default()
}

/// Returns a case for each limit of each rule.
fn cases() -> Vec<Case> {
    let (version, layout) = ("envelope_version", "associated_data_version");
    let (memory, iterations, parallelism) = (
        "key_derivation.memory_kib",
        "key_derivation.iterations",
        "key_derivation.parallelism",
    );
    vec![
        case("version 0", version, "UNKNOWN_VERSION", |e| {
            e.envelope_version = 0
        }),
        case("version 2", version, "UNKNOWN_VERSION", |e| {
            e.envelope_version = 2
        }),
        case("no algorithm", "algorithm", "UNKNOWN_VALUE", |e| e.algorithm = 0),
        case("algorithm 3", "algorithm", "UNKNOWN_VALUE", |e| e.algorithm = 3),
        case("no key", "key_id", "REQUIRED", |e| e.key_id.clear()),
        case("a key that is no id", "key_id", "NOT_A_UUID", |e| {
            e.key_id = "key".into();
        }),
        case("key version 0", "key_version", "OUT_OF_RANGE", |e| {
            e.key_version = 0
        }),
        case("key version -1", "key_version", "OUT_OF_RANGE", |e| {
            e.key_version = -1;
        }),
        case("no nonce", "nonce", "NONCE_LENGTH", |e| e.nonce.clear()),
        case("23 bytes", "nonce", "NONCE_LENGTH", |e| e.nonce.truncate(23)),
        case("25 bytes", "nonce", "NONCE_LENGTH", |e| e.nonce.push(0)),
        case("24 bytes for AES", "nonce", "NONCE_LENGTH", |e| e.algorithm = AES),
        case("11 bytes for AES", "nonce", "NONCE_LENGTH", |e| {
            e.algorithm = AES;
            e.nonce.truncate(11);
        }),
        case("13 bytes for AES", "nonce", "NONCE_LENGTH", |e| {
            e.algorithm = AES;
            e.nonce.truncate(13);
        }),
        case("no salt", "salt", "SALT_LENGTH", |e| e.salt.clear()),
        case("15 bytes", "salt", "SALT_LENGTH", |e| e.salt.truncate(15)),
        case("65 bytes", "salt", "SALT_LENGTH", |e| e.salt.resize(65, 1)),
        case("no derivation", "key_derivation", "REQUIRED", |e| {
            e.key_derivation = None;
        }),
        case("little memory", memory, "OUT_OF_RANGE", |e| {
            derivation(e).memory_kib = 19_455;
        }),
        case("much memory", memory, "OUT_OF_RANGE", |e| {
            derivation(e).memory_kib = 1_048_577;
        }),
        case("1 pass", iterations, "OUT_OF_RANGE", |e| {
            derivation(e).iterations = 1
        }),
        case("65 passes", iterations, "OUT_OF_RANGE", |e| {
            derivation(e).iterations = 65;
        }),
        case("0 lanes", parallelism, "OUT_OF_RANGE", |e| {
            derivation(e).parallelism = 0;
        }),
        case("17 lanes", parallelism, "OUT_OF_RANGE", |e| {
            derivation(e).parallelism = 17;
        }),
        case("layout 0", layout, "UNKNOWN_VERSION", |e| {
            e.associated_data_version = 0;
        }),
        case("layout 2", layout, "UNKNOWN_VERSION", |e| {
            e.associated_data_version = 2;
        }),
    ]
}

/// Fails unless `sealed` is refused because of one field.
pub(super) async fn assert_refused(
    device: &Device,
    rpc: PayloadRpc,
    sealed: Sealed,
    what: &str,
    path: String,
    name: &str,
) {
    let Err(status) = rpc.call(device, sealed).await else {
        panic!("{rpc:?} took {what}")
    };
    assert_eq!(reason(&status), "ENVELOPE_INVALID", "{rpc:?}, {what}: {status:?}");
    assert_eq!(violations(&status), [(path, name.to_owned())], "{rpc:?}, {what}");
}

#[tokio::test]
async fn every_rpc_refuses_an_invalid_envelope() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    for rpc in PayloadRpc::ALL {
        let path = |field: &str| format!("{}crypto_envelope{field}", rpc.path_prefix());
        for case in cases() {
            let mut sealed = Sealed::by(&device)?;
            (case.spoil)(sealed.envelope());
            let path = path(&format!(".{}", case.field));
            assert_refused(&device, rpc, sealed, case.what, path, case.name).await;
        }
        let mut sealed = Sealed::by(&device)?;
        sealed.envelope = None;
        assert_refused(&device, rpc, sealed, "no envelope", path(""), "REQUIRED").await;
        // A share's key belongs to no device.
        if rpc != PayloadRpc::CreateShare {
            let mut sealed = Sealed::by(&device)?;
            sealed.envelope().key_id = random::uuid().to_string();
            let path = path(".key_id");
            assert_refused(
                &device,
                rpc,
                sealed,
                "another's key",
                path,
                "KEY_OF_ANOTHER_DEVICE",
            )
            .await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn envelopes_and_payloads_at_each_limit_are_stored_unchanged() -> Result<()> {
    let stack = Stack::shared().await?;
    let mut device = Device::invent(stack).await?;
    for algorithm in [
        EncryptionAlgorithm::Xchacha20Poly1305,
        EncryptionAlgorithm::Aes256Gcm,
    ] {
        device.algorithm = algorithm;
        let edges: [fn(&mut Sealed); 6] = [
            |sealed| sealed.envelope().salt = vec![7; 16],
            |sealed| sealed.envelope().salt = vec![7; 64],
            |sealed| {
                *derivation(sealed.envelope()) = KeyDerivation {
                    memory_kib: 19_456,
                    iterations: 2,
                    parallelism: 1,
                }
            },
            |sealed| {
                *derivation(sealed.envelope()) = KeyDerivation {
                    memory_kib: 1_048_576,
                    iterations: 64,
                    parallelism: 16,
                }
            },
            |sealed| sealed.payload = vec![0xff; 16],
            |sealed| sealed.payload = vec![0xff; 64 * 1024],
        ];
        for edge in edges {
            let mut sealed = Sealed::by(&device)?;
            edge(&mut sealed);
            let record = random::uuid();
            let mut request = device.create(record, "")?;
            request.encrypted_payload = sealed.payload.clone();
            request.crypto_envelope = sealed.envelope.clone();
            device.client.cycle().create_record(request).await?;
            let kept = get(&device, record).await?;
            assert_eq!(kept.encrypted_payload, sealed.payload);
            assert_eq!(kept.crypto_envelope, sealed.envelope);
        }
    }
    let mut sealed = Sealed::by(&device)?;
    sealed.payload = vec![0xff; PayloadRpc::CreateShare.max_payload_size()];
    PayloadRpc::CreateShare.call(&device, sealed).await?;
    Ok(())
}

#[tokio::test]
async fn every_violation_of_a_push_is_reported_at_once() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    let mut changes = Vec::new();
    for _ in 0..4 {
        changes.push(device.put(random::uuid(), 0, "a change")?);
    }
    changes[0].crypto_envelope = None;
    changes[1].encrypted_payload = b"This is no ciphertext at all".to_vec();
    let envelope = changes[3].crypto_envelope.get_or_insert_default();
    envelope.nonce.clear();
    envelope.salt.clear();
    let status = push(&device, changes).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let mut reported = violations(&status);
    reported.sort();
    let expected = [
        ("changes[0].crypto_envelope", "REQUIRED"),
        ("changes[1].encrypted_payload", "PAYLOAD_NOT_ENCRYPTED"),
        ("changes[3].crypto_envelope.nonce", "NONCE_LENGTH"),
        ("changes[3].crypto_envelope.salt", "SALT_LENGTH"),
    ];
    assert_eq!(
        reported,
        expected.map(|(path, name)| (path.to_owned(), name.to_owned()))
    );
    Ok(())
}

#[test]
fn the_document_lists_every_rule() -> Result<()> {
    let document = fs::read_to_string(workspace::root().join("proto/ENVELOPE.md"))?;
    let mut rows = Vec::new();
    let mut field = String::new();
    for line in document.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [of, names, ..] = cells.as_slice() else {
            continue;
        };
        if !of.is_empty() {
            field = (*of).to_owned();
        }
        rows.extend(names.split(", ").map(|name| (field.clone(), name.to_owned())));
    }
    let named = |field: String, name: &str| {
        let row = (field, name.to_owned());
        assert!(rows.contains(&row), "{row:?} is not in the document");
    };
    for case in cases() {
        named(format!("`.{}`", case.field), case.name);
    }
    named("`.key_id`".to_owned(), "KEY_OF_ANOTHER_DEVICE");
    named("`.key_id`".to_owned(), "KEY_OF_A_DEVICE");
    named("`.key_version`".to_owned(), "KEY_VERSION_UNKNOWN");
    for name in [
        "REQUIRED",
        "PAYLOAD_TOO_SHORT",
        "PAYLOAD_TOO_LARGE",
        "PAYLOAD_NOT_ENCRYPTED",
    ] {
        named("`encrypted_payload`, `encrypted_share_data`".to_owned(), name);
    }
    Ok(())
}
