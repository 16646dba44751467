//! Postgres constraints on envelopes: a person's SQL session has to keep the same rules as a request.

use anyhow::{Context, Result};
use haven_testkit::{Stack, random};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgDatabaseError};
use uuid::Uuid;

use crate::test_device::Device;

/// A valid envelope: each column with its value in SQL.
const VALID_ENVELOPE: [(&str, &str); 11] = [
    ("encrypted_payload", "decode(repeat('a5', 16), 'hex')"),
    ("envelope_version", "1"),
    ("algorithm", "'xchacha20_poly1305'"),
    ("key_id", ":device"),
    ("key_version", "1"),
    ("nonce", "decode(repeat('01', 24), 'hex')"),
    ("salt", "decode(repeat('02', 16), 'hex')"),
    ("kdf_memory_kib", "19456"),
    ("kdf_iterations", "2"),
    ("kdf_parallelism", "1"),
    ("associated_data_version", "1"),
];

/// The tables with envelopes: name, other columns, their values, and the largest payload in bytes.
const TABLES: [(&str, &str, &str, usize); 4] = [
    (
        "encrypted_cycle_data",
        "id, version, device_id, local_timestamp, change_number, created_at, updated_at",
        "gen_random_uuid(), 1, :device, now(), 1000, now(), now()",
        65_536,
    ),
    (
        "cycle_data_conflicts",
        "id, record_id, base_version, device_id, local_timestamp, change_number, created_at",
        "gen_random_uuid(), :record, 0, :device, now(), 1000, now()",
        65_536,
    ),
    (
        "encrypted_user_prefs",
        "version, device_id, created_at, updated_at",
        "1, :device, now(), now()",
        65_536,
    ),
    (
        "healthcare_share",
        "id, expires_at, max_access_count, created_at",
        "gen_random_uuid(), now() + interval '1 day', 1, now()",
        262_144,
    ),
];

/// Returns the invalid values: the column, its value, and the constraint that refuses it.
fn cases() -> Vec<(&'static str, String, &'static str)> {
    let bytes = |count: usize| format!("decode(repeat('ff', {count}), 'hex')");
    let one = |column, value: &str, constraint| (column, value.to_owned(), constraint);
    vec![
        one("encrypted_payload", &bytes(0), "envelope_encrypted_payload_check"),
        one(
            "encrypted_payload",
            &bytes(15),
            "envelope_encrypted_payload_check",
        ),
        one(
            "encrypted_payload",
            "convert_to('A text of forty characters, or even more.', 'UTF8')",
            "envelope_encrypted_payload_check",
        ),
        one(
            "encrypted_payload",
            "decode(repeat('00', 256), 'hex') || '\\xff'",
            "envelope_encrypted_payload_check",
        ),
        one("envelope_version", "0", "envelope_envelope_version_check"),
        one("envelope_version", "2", "envelope_envelope_version_check"),
        one("algorithm", "'rot13'", "envelope_algorithm_check"),
        one("key_version", "0", "envelope_key_version_check"),
        one("nonce", &bytes(23), "envelope_nonce_check"),
        one("nonce", &bytes(25), "envelope_nonce_check"),
        one("nonce", &bytes(12), "envelope_nonce_check"),
        // The nonce of the valid envelope has 24 bytes, not 12.
        one("algorithm", "'aes_256_gcm'", "envelope_nonce_check"),
        one("salt", &bytes(15), "envelope_salt_check"),
        one("salt", &bytes(65), "envelope_salt_check"),
        one("kdf_memory_kib", "19455", "envelope_kdf_memory_kib_check"),
        one("kdf_memory_kib", "1048577", "envelope_kdf_memory_kib_check"),
        one("kdf_iterations", "1", "envelope_kdf_iterations_check"),
        one("kdf_iterations", "65", "envelope_kdf_iterations_check"),
        one("kdf_parallelism", "0", "envelope_kdf_parallelism_check"),
        one("kdf_parallelism", "17", "envelope_kdf_parallelism_check"),
        one(
            "associated_data_version",
            "0",
            "envelope_associated_data_version_check",
        ),
        one(
            "associated_data_version",
            "2",
            "envelope_associated_data_version_check",
        ),
        one("nonce", "NULL", "envelope_check"),
        one("kdf_iterations", "NULL", "envelope_check"),
    ]
}

/// A SQL session of a person, without the service.
struct Session {
    connection: PgConnection,
    person: Uuid,
    device: Uuid,
    record: Uuid,
}

impl Session {
    /// Opens a session of the person of `device`, who gets a record.
    async fn of(stack: &Stack, device: &Device) -> Result<Self> {
        let record = random::uuid();
        let request = device.create(record, "a record")?;
        device.client.cycle().create_record(request).await?;
        Ok(Self {
            connection: stack.database.connect("data_app").await?,
            person: device.person.id,
            device: device.id,
            record,
        })
    }

    /// Inserts a row with a valid envelope except for one column, and rolls it back. Returns the constraint that
    /// refused the row, or `None`.
    async fn insert(
        &mut self,
        (table, columns, values, _): (&str, &str, &str, usize),
        replaced: Option<(&str, &str)>,
    ) -> Result<Option<String>> {
        let envelope = VALID_ENVELOPE.map(|(column, value)| match replaced {
            Some((other, value)) if other == column => (column, value),
            // A share has a key of its own.
            _ if table == "healthcare_share" && column == "key_id" => (column, "gen_random_uuid()"),
            _ => (column, value),
        });
        let (names, held): (Vec<_>, Vec<_>) = envelope.into_iter().unzip();
        let sql = format!(
            "INSERT INTO data.{table} (user_id, {columns}, {}) VALUES ('{}', {values}, {})",
            names.join(", "),
            self.person,
            held.join(", ")
        )
        .replace(":device", &format!("'{}'", self.device))
        .replace(":record", &format!("'{}'", self.record));
        self.run(&sql).await
    }

    /// Runs `sql` as the person, and rolls it back. Returns the constraint that refused it, or "policy", or `None`.
    async fn run(&mut self, sql: &str) -> Result<Option<String>> {
        let mut tx = self.connection.begin().await?;
        let claims = format!(
            "SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true)",
            self.person
        );
        for statement in [claims.as_str(), "SET LOCAL ROLE data_user"] {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
                .execute(&mut *tx)
                .await?;
        }
        let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut *tx)
            .await;
        tx.rollback().await?;
        match ran {
            Ok(_) => Ok(None),
            Err(error) => {
                let refused = error.as_database_error().and_then(|error| {
                    let error = error.try_downcast_ref::<PgDatabaseError>()?;
                    let policy = (error.code() == "42501").then_some("policy");
                    error.constraint().or(policy).map(str::to_owned)
                });
                Ok(Some(refused.with_context(|| format!("{error}: {sql}"))?))
            }
        }
    }
}

#[tokio::test]
async fn every_table_refuses_an_invalid_envelope() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    let mut session = Session::of(stack, &device).await?;
    for table in TABLES {
        let (name, .., max_size) = table;
        assert_eq!(session.insert(table, None).await?, None, "{name}");
        for (column, value, constraint) in cases() {
            let refused = session.insert(table, Some((column, &value))).await?;
            assert_eq!(refused.as_deref(), Some(constraint), "{name}: {column} = {value}");
        }
        let bytes = |count: usize| format!("decode(repeat('ff', {count}), 'hex')");
        let size = format!("{name}_payload_size_check");
        for (value, refused) in [(bytes(max_size), None), (bytes(max_size + 1), Some(size))] {
            let replaced = Some(("encrypted_payload", value.as_str()));
            assert_eq!(session.insert(table, replaced).await?, refused, "{name}");
        }
        let (another, expected) = match name {
            "healthcare_share" => (":device", "policy".to_owned()),
            _ => ("gen_random_uuid()", format!("{name}_key_id_check")),
        };
        let refused = session.insert(table, Some(("key_id", another))).await?;
        assert_eq!(refused, Some(expected), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn the_sql_functions_refuse_an_invalid_envelope() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    let mut session = Session::of(stack, &device).await?;
    // The statements are those that an operator would run in psql.
    let update = "SELECT * FROM data.update_cycle_data_optimistic(:device, :record, 1, :encrypted_payload,
        :envelope_version::smallint, :algorithm, :key_version, :nonce, :salt, :kdf_memory_kib, :kdf_iterations,
        :kdf_parallelism, :associated_data_version::smallint, now(), now())";
    let put = "SELECT * FROM data.put_preferences(:device, 0, :encrypted_payload, :envelope_version::smallint, :algorithm,
        :key_version, :nonce, :salt, :kdf_memory_kib, :kdf_iterations, :kdf_parallelism,
        :associated_data_version::smallint, now())";
    for call in [update, put] {
        for (column, value, constraint) in cases() {
            // The key version is compared with the device's before the row is stored.
            if matches!(column, "key_version") {
                continue;
            }
            let mut sql = call.to_owned();
            for (name, good) in VALID_ENVELOPE {
                let value = if name == column { &value } else { good };
                sql = sql.replace(&format!(":{name}"), value);
            }
            let sql = sql
                .replace(":device", &format!("'{}'", session.device))
                .replace(":record", &format!("'{}'", session.record));
            let refused = session.run(&sql).await?;
            assert!(refused.is_some(), "{sql}");
            // A missing nonce also violates a constraint of the table of used nonces.
            if value != "NULL" {
                assert_eq!(refused.as_deref(), Some(constraint), "{sql}");
            }
        }
    }
    Ok(())
}
