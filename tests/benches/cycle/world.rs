//! A Haven with people in it who have been keeping records for a while.
//!
//! What is in a person's rows follows from the person's number and the record's, and both stand in the ids as decimal
//! digits, so that pgbench can name what is there. Payloads are random bytes: neither the service nor Postgres can tell
//! them from ciphertext, and what an encryption costs is the device's affair.

use std::{fmt::Write, ops::Range, time::Instant};

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use haven_testkit::{Stack, secrets::SUPERUSER};
use uuid::Uuid;

use super::measure::{CONNECTIONS, copy, tokens};

/// How many records each person has; the first person has [`MANY`].
pub(crate) const RECORDS: u32 = 200;

/// How many records are pulled at a time.
pub(crate) const MANY: u32 = 10_000;

/// How many records are in a block: as many as one push can change.
pub(crate) const BLOCK: u32 = 100;

/// How many bytes a record's payload has.
pub(crate) const BYTES: usize = 300;

/// People's numbers begin here, so that all have four digits.
pub(crate) const FIRST: u32 = 1000;

/// What comes after the records, in the order in which it refers to each other: the nonces, as if each record was pushed
/// once, and what is kept of each request.
const REST: [&str; 2] = [
    "INSERT INTO data.envelope_nonces
         (user_id, key_id, key_version, nonce, content_digest, outcome, version, change_number, used_at)
     SELECT user_id, key_id, key_version, nonce, sha256(encrypted_payload), 'applied', version, change_number, created_at
     FROM data.encrypted_cycle_data",
    "INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
     SELECT user_id, gen_random_uuid(), 'CreateRecord', sha256(uuid_send(id)),
         jsonb_build_object('record_id', id, 'version', version, 'change_number', change_number, 'changed_at', created_at),
         created_at
     FROM data.encrypted_cycle_data",
];

/// Both services on a cluster of their own, with one person who has much, and others.
pub(crate) struct World {
    pub(crate) stack: Stack,
    others: u32,
    tokens: Vec<String>,
}

impl World {
    /// Starts the services, and stores the records of the first person and of so many others.
    pub(crate) async fn start(others: u32) -> Result<Self> {
        ensure!(
            others.is_multiple_of(4 * CONNECTIONS),
            "people are shared out evenly"
        );
        let stack = Stack::builder()
            .durable_cluster()
            .variable("data", "DATABASE_POOL_SIZE", CONNECTIONS.to_string())
            .start()
            .await?;
        let tokens = tokens(&stack, (FIRST..=FIRST + others).map(person_id)).await?;
        let world = Self {
            stack,
            others,
            tokens,
        };
        let begin = Instant::now();
        world.load().await.context("loading")?;
        println!(
            "{} records of {others} people, and {MANY} of one more, loaded in {:.0} s",
            others * RECORDS,
            begin.elapsed().as_secs_f64()
        );
        Ok(world)
    }

    /// The number of the person whose records are pulled, and who changes none.
    pub(crate) fn collector(&self) -> u32 {
        FIRST
    }

    /// Whose records the service changes: half of everybody else.
    pub(crate) fn served(&self) -> Range<u32> {
        FIRST + 1..FIRST + 1 + self.others / 2
    }

    /// Whose records pgbench updates: a quarter.
    pub(crate) fn updated(&self) -> Range<u32> {
        let first = self.served().end;
        first..first + self.others / 4
    }

    /// Whose records pgbench pushes: the last quarter.
    pub(crate) fn pushed(&self) -> Range<u32> {
        let first = self.updated().end;
        first..first + self.others / 4
    }

    /// A person's access token.
    pub(crate) fn token(&self, person: u32) -> &str {
        &self.tokens[(person - FIRST) as usize]
    }

    async fn load(&self) -> Result<()> {
        let mut superuser = self.stack.database.connect(SUPERUSER).await?;
        let people = FIRST..=FIRST + self.others;
        let now = Utc::now().to_rfc3339();
        let (mut users, mut counters, mut devices) = (String::new(), String::new(), String::new());
        for person in people.clone() {
            let (id, device, count) = (person_id(person), device_id(person), self.count(person));
            writeln!(users, "{id}\t{now}")?;
            writeln!(counters, "{id}\t{count}\t1\t1")?;
            let (hash, wrapped) = (hex(&rand::random::<[u8; 32]>()), hex(&rand::random::<[u8; 32]>()));
            writeln!(
                devices,
                "{id}\t{device}\t{hash}\t{wrapped}\tm/1\t2999-01-01\tios\t1.0\t{now}\t{count}\t{now}"
            )?;
        }
        for (statement, rows) in [
            ("COPY data.users (id, created_at) FROM STDIN", users),
            (
                "COPY data.change_counters (user_id, last_number, live_devices, devices) FROM STDIN",
                counters,
            ),
            (
                "COPY data.device_key (user_id, id, device_id_hash, encrypted_master_key, key_derivation_path, \
                 next_rotation_at, platform, app_version, last_active_at, acknowledged_number, created_at) FROM STDIN",
                devices,
            ),
        ] {
            copy(&mut superuser, statement, [Ok(rows)]).await?;
        }
        let records = "COPY data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id, \
                       key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, \
                       associated_data_version, version, device_id, local_timestamp, change_number, created_at, updated_at) \
                       FROM STDIN";
        // Everybody's first records, then everybody's second: as they come, and therefore scattered over the table.
        let rows = (0..MANY).map(|record| self.rows(record));
        copy(&mut superuser, records, rows).await?;
        for statement in REST {
            sqlx::raw_sql(statement).execute(&mut superuser).await?;
        }
        for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&mut superuser).await?;
        }
        Ok(())
    }

    /// How many records a person has.
    fn count(&self, person: u32) -> u32 {
        if person == self.collector() { MANY } else { RECORDS }
    }

    /// Everybody's record of this number, as COPY reads it.
    fn rows(&self, record: u32) -> Result<String> {
        let at = (Utc::now() - TimeDelta::hours((MANY - record).into())).to_rfc3339();
        let mut rows = String::new();
        for person in FIRST..=FIRST + self.others {
            if record >= self.count(person) {
                continue;
            }
            let (id, record_id, device, number) = (
                person_id(person),
                record_id(person, record),
                device_id(person),
                record + 1,
            );
            let (payload, envelope) = sealed(person);
            writeln!(
                rows,
                "{id}\t{record_id}\t{}\t1\txchacha20_poly1305\t{device}\t1\t{}\t{}\t19456\t2\t1\t1\t1\t{device}\t{at}\t\
                 {number}\t{at}\t{at}",
                hex(&payload),
                hex(&envelope.nonce),
                hex(&envelope.salt),
            )?;
        }
        Ok(rows)
    }
}

/// What a person's device would have encrypted, and how.
pub(crate) fn sealed(person: u32) -> (Vec<u8>, CryptoEnvelope) {
    let payload = rand::random::<[u8; BYTES]>().to_vec();
    let envelope = CryptoEnvelope {
        envelope_version: 1,
        algorithm: EncryptionAlgorithm::Xchacha20Poly1305.into(),
        key_id: device_id(person).to_string(),
        key_version: 1,
        nonce: rand::random::<[u8; 24]>().to_vec(),
        salt: vec![0x5a; 16],
        key_derivation: Some(KeyDerivation {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
        }),
        associated_data_version: 1,
    };
    (payload, envelope)
}

/// Bytes, as COPY reads them.
fn hex(bytes: &[u8]) -> String {
    let mut hex = String::from("\\\\x");
    for byte in bytes {
        // A string takes everything.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The id of the person with this number.
pub(crate) fn person_id(person: u32) -> Uuid {
    id(&format!("{PERSON}{person}"))
}

/// The id of a person's one device.
pub(crate) fn device_id(person: u32) -> Uuid {
    id(&format!("{DEVICE}{person}"))
}

/// The id of a person's record of this number: its place in its block, the person, and the block.
pub(crate) fn record_id(person: u32, record: u32) -> Uuid {
    id(&format!(
        "{RECORD}{}{person}{}",
        FIRST_PLACE + record % BLOCK,
        FIRST + record / BLOCK
    ))
}

/// Places in a block are counted from here in ids, so that all have three digits.
pub(crate) const FIRST_PLACE: u32 = 100;

/// What stands before a person's number in the person's id.
pub(crate) const PERSON: &str = "00000000-0000-7000-8000-10000000";

/// What stands before a person's number in the id of the person's device.
pub(crate) const DEVICE: &str = "00000000-0000-7000-8000-20000000";

/// What stands before the numbers in a record's id: of its place, of its person, and of its block.
pub(crate) const RECORD: &str = "00000000-0000-7000-8000-3";

fn id(digits: &str) -> Uuid {
    digits.parse().expect("decimal digits are hexadecimal ones")
}
