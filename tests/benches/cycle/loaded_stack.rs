//! An installation with people and records.
//!
//! Each person and each record has a number. The ids contain these numbers as decimal digits, so that pgbench can
//! generate the ids of existing rows. Payloads are random bytes: neither the service nor Postgres can distinguish them
//! from ciphertext, and the cost of the encryption is not part of the service.

use std::{fmt::Write, ops::Range, time::Instant};

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use haven_testkit::{Stack, secrets::SUPERUSER};
use uuid::Uuid;

use super::measure::{
    CONNECTIONS,
    build::Builds,
    load::{copy, tokens},
    options::Options,
};

/// The number of records of each person, except for the first person, who has [`PULLED_RECORDS`].
pub(crate) const RECORDS: u32 = 200;

/// The number of records that are pulled.
pub(crate) const PULLED_RECORDS: u32 = 10_000;

/// The number of records in a block: as many as one push can change.
pub(crate) const BLOCK: u32 = 100;

/// The size of a record's payload in bytes.
pub(crate) const PAYLOAD_BYTES: usize = 300;

/// The first number of a person. All numbers have four digits.
pub(crate) const FIRST_NUMBER: u32 = 1000;

/// The statements that create further rows from the records, in the order of their references: the nonces, as if each
/// record was pushed once, and the stored requests.
const DERIVED_ROWS: [&str; 2] = [
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

/// Both services on a separate cluster, with one person who has many records, and other people.
pub(crate) struct LoadedStack {
    /// The services and their database.
    pub(crate) builds: Builds,
    others: u32,
    tokens: Vec<String>,
}

impl LoadedStack {
    /// Starts the services, and stores the records of the first person and of `others` other people.
    pub(crate) async fn start(others: u32, options: &Options) -> Result<Self> {
        ensure!(
            others.is_multiple_of(4 * CONNECTIONS),
            "the number of people must be a multiple of 4 times the connections"
        );
        let stack = Stack::builder()
            .durable_cluster()
            .variable("data", "DATABASE_POOL_SIZE", CONNECTIONS.to_string())
            .start()
            .await?;
        let tokens = tokens(&stack, (FIRST_NUMBER..=FIRST_NUMBER + others).map(person_id)).await?;
        let loaded = Self {
            builds: Builds::start(stack, options).await?,
            others,
            tokens,
        };
        let begin = Instant::now();
        loaded.load().await.context("loading")?;
        println!(
            "{} records of {others} people, and {PULLED_RECORDS} of one more, loaded in {:.0} s",
            others * RECORDS,
            begin.elapsed().as_secs_f64()
        );
        Ok(loaded)
    }

    /// Returns the services of this build, and the database.
    pub(crate) fn stack(&self) -> &Stack {
        &self.builds.stack
    }

    /// Returns the number of the person with the records that are pulled and do not change.
    pub(crate) fn pulled_person(&self) -> u32 {
        FIRST_NUMBER
    }

    /// Returns the numbers of the people with records that the service changes: half of all others.
    pub(crate) fn served(&self) -> Range<u32> {
        FIRST_NUMBER + 1..FIRST_NUMBER + 1 + self.others / 2
    }

    /// Returns the numbers of the people with records that pgbench updates: a quarter of all others.
    pub(crate) fn updated(&self) -> Range<u32> {
        let first = self.served().end;
        first..first + self.others / 4
    }

    /// Returns the numbers of the people with records that pgbench pushes: the last quarter.
    pub(crate) fn pushed(&self) -> Range<u32> {
        let first = self.updated().end;
        first..first + self.others / 4
    }

    /// Returns the access token of a person.
    pub(crate) fn token(&self, person: u32) -> &str {
        &self.tokens[(person - FIRST_NUMBER) as usize]
    }

    async fn load(&self) -> Result<()> {
        let mut superuser = self.stack().database.connect(SUPERUSER).await?;
        let people = FIRST_NUMBER..=FIRST_NUMBER + self.others;
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
        // The first records of all people, then the second ones: so the records of one person are scattered over the
        // table.
        let rows = (0..PULLED_RECORDS).map(|record| self.rows(record));
        copy(&mut superuser, records, rows).await?;
        for statement in DERIVED_ROWS {
            sqlx::raw_sql(statement).execute(&mut superuser).await?;
        }
        for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&mut superuser).await?;
        }
        Ok(())
    }

    /// Returns the number of records of a person.
    fn count(&self, person: u32) -> u32 {
        if person == self.pulled_person() {
            PULLED_RECORDS
        } else {
            RECORDS
        }
    }

    /// Returns the record with this number of all people as input for COPY.
    fn rows(&self, record: u32) -> Result<String> {
        let at = (Utc::now() - TimeDelta::hours((PULLED_RECORDS - record).into())).to_rfc3339();
        let mut rows = String::new();
        for person in FIRST_NUMBER..=FIRST_NUMBER + self.others {
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

/// Returns a random payload in place of ciphertext of the person's device, and its envelope.
pub(crate) fn sealed(person: u32) -> (Vec<u8>, CryptoEnvelope) {
    let payload = rand::random::<[u8; PAYLOAD_BYTES]>().to_vec();
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

/// Returns bytes in the format of COPY.
fn hex(bytes: &[u8]) -> String {
    let mut hex = String::from("\\\\x");
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Returns the id of the person with this number.
pub(crate) fn person_id(person: u32) -> Uuid {
    id(&format!("{PERSON_PREFIX}{person}"))
}

/// Returns the id of the person's only device.
pub(crate) fn device_id(person: u32) -> Uuid {
    id(&format!("{DEVICE_PREFIX}{person}"))
}

/// Returns the id of a person's record. It contains the index in the block, the person, and the block.
pub(crate) fn record_id(person: u32, record: u32) -> Uuid {
    id(&format!(
        "{RECORD_PREFIX}{}{person}{}",
        FIRST_INDEX + record % BLOCK,
        FIRST_NUMBER + record / BLOCK
    ))
}

/// The first index of a record in its block, as in ids. All indexes have three digits.
pub(crate) const FIRST_INDEX: u32 = 100;

/// The prefix of a person's id, before the person's number.
pub(crate) const PERSON_PREFIX: &str = "00000000-0000-7000-8000-10000000";

/// The prefix of a device's id, before the person's number.
pub(crate) const DEVICE_PREFIX: &str = "00000000-0000-7000-8000-20000000";

/// The prefix of a record's id, before the index in the block, the person's number and the block's number.
pub(crate) const RECORD_PREFIX: &str = "00000000-0000-7000-8000-3";

fn id(digits: &str) -> Uuid {
    digits.parse().expect("decimal digits are hexadecimal digits")
}
