//! The time of a restore. It is measured by one command, and not with every run:
//!
//! ```sh
//! HAVEN_GIGABYTES=1 cargo test --test suite -- --ignored --nocapture backup::measure
//! ```
//!
//! It needs three times as much room on the disk of the state directory and of the temporary directory.

use std::{
    env,
    time::{Duration, Instant},
};

use haven_testkit::{Stack, database::Database, template::TestCluster};

use super::archive::{Archive, text};
use crate::{
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// The number of records of 8 KB in a batch: 64 MB.
const BATCH: usize = 8192;

/// The pool of random bytes that records are made of: larger than what compression looks back at, so that it finds nothing.
const POOL: &str = "
    CREATE UNLOGGED TABLE public.pool AS
        SELECT n, (SELECT string_agg(sha256(convert_to(n || '/' || i, 'UTF8')), '') FROM generate_series(1, 240) AS i) AS bytes
          FROM generate_series(0, 8191) AS n;
    CREATE UNIQUE INDEX ON public.pool (n)";

/// Stores records of `device` as the service does, with what looks like ciphertext.
async fn store(database: &Database, device: &Device, batches: usize) {
    let (person, device) = (device.person.id, device.id);
    for _ in 0..batches {
        let sql = format!(
            "WITH counter AS (
                UPDATE data.change_counters SET last_number = last_number + {BATCH}
                WHERE user_id = '{person}' RETURNING last_number - {BATCH} AS before
            )
            INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id,
                key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version,
                device_id, local_timestamp, change_number, created_at, updated_at)
            SELECT '{person}', gen_random_uuid(), pool.bytes, 1, 'aes_256_gcm', '{device}', 1,
                substr(sha256(convert_to(n::text, 'UTF8')), 1, 12), sha256('salt'), 19456, 2, 1, 1, 1, '{device}', now(),
                counter.before + n + 1, now(), now()
            FROM counter, public.pool"
        );
        execute(database, &sql).await;
    }
}

/// Returns the seconds since `begun`.
fn seconds(begun: Instant) -> f64 {
    let elapsed: Duration = begun.elapsed();
    elapsed.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it writes gigabytes"]
async fn the_time_of_a_restore() {
    let gigabytes: f64 = env::var("HAVEN_GIGABYTES").map_or(1.0, |number| number.parse().unwrap());
    let (archive, installation) = Archive::prepare().expect("the packages");
    let cluster = TestCluster::production_on_disk(installation).await.unwrap();
    let mut stack = Stack::builder().on(cluster).start().await.unwrap();
    let database = stack.database.clone();
    archive.attach(stack.cluster().unwrap(), &database);
    let device = Device::invent(&stack).await.unwrap();

    // What is in the backup needs no archive.
    let archiving = async |change: &str| {
        execute(&stack.database, change).await;
        execute(&stack.database, "SELECT pg_reload_conf()").await;
    };
    archiving("ALTER SYSTEM SET archive_command = 'true'").await;
    execute(&stack.database, POOL).await;
    let batches = (gigabytes * 1024.0 / 64.0).ceil() as usize;
    let begun = Instant::now();
    store(&stack.database, &device, batches).await;
    execute(&stack.database, "CHECKPOINT").await;
    let size: i64 = scalar(&stack.database, "SELECT pg_database_size('haven')").await;
    eprintln!("{} MB stored in {:.0} s", size / 1_000_000, seconds(begun));
    archiving("ALTER SYSTEM RESET archive_command").await;

    let begun = Instant::now();
    archive.back_up("full");
    eprintln!("checked, backed up and verified in {:.0} s", seconds(begun));
    // A tenth of it is written after the backup, and replayed from the archive.
    store(&stack.database, &device, batches.div_ceil(10)).await;
    let info = archive.info();
    let repository = info["backup"][0]["info"]["repository"]["size"].as_i64().unwrap();
    eprintln!("{} MB in the repository", repository / 1_000_000);

    let keys = archive.write(
        "work/message-keys",
        &stack.own_cluster().unwrap().secrets.message_keys,
    );
    let begun = Instant::now();
    let mut restore = archive.command("restore");
    let output = restore
        .env("MESSAGE_KEYS_FILE", keys)
        .args(["--stop", "--to", "latest", "--into", "copy"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    eprintln!("{}\nrestored in {:.0} s", text(&output), seconds(begun));
}
