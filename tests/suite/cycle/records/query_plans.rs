//! Query plans of ListRecords: a page reads the rows on it, and no rows of other people.

use haven_testkit::{Stack, workspace};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::superuser_sql::execute;

/// Three people with 10,000 records each: 2,500 per device, a minute apart, the last one now.
const INSERT_RECORDS: &str = r"
    INSERT INTO data.users (id, created_at)
        SELECT ('00000000-0000-4000-8000-00000000000' || person)::uuid, now() FROM generate_series(1, 3) AS person;
    INSERT INTO data.device_key (user_id, id, device_id_hash, encrypted_master_key, key_derivation_path, next_rotation_at,
            platform, app_version, last_active_at, created_at)
        SELECT u.id, d.id, sha256(uuid_send(d.id)), sha256('x'), 'm', now(), 'ios', '1', now(), now()
        FROM data.users AS u, LATERAL (SELECT gen_random_uuid() AS id FROM generate_series(1, 4) WHERE u.id IS NOT NULL) AS d;
    INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id,
            key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version,
            device_id, local_timestamp, change_number, created_at, updated_at)
        SELECT d.user_id, gen_random_uuid(), sha256(uuid_send(d.id)), 1, 'aes_256_gcm', d.id, 1,
            substr(sha256('n'), 1, 12), sha256('s'), 19456, 2, 1, 1, 1, d.id, now() - interval '1 minute' * n,
            d.number * 2500 - n, now(), now()
        FROM (SELECT user_id, id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS number FROM data.device_key) AS d,
            generate_series(0, 2499) AS n;
    ANALYZE data.device_key, data.encrypted_cycle_data";

/// The second of the three people.
const PERSON: &str = "00000000-0000-4000-8000-000000000002";

/// Returns the service's statement with this name, from sqlx's offline data.
fn statement(name: &str) -> String {
    let folder = workspace::root().join("services/data/.sqlx");
    let files = std::fs::read_dir(folder).unwrap();
    let mut queries = files.map(|file| {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
        kept["query"].as_str().unwrap().to_owned()
    });
    let comment = format!("/* {name} */");
    queries
        .find(|query| query.contains(&comment))
        .unwrap_or_else(|| panic!("no statement is named {name}"))
}

/// Returns the generic plan of a statement with the row counts of one execution.
async fn plan(connection: &mut PgConnection, name: &str, types: &str, values: &str) -> String {
    let statement = statement(name);
    let plan = format!(
        "BEGIN; SET LOCAL plan_cache_mode = 'force_generic_plan'; SET LOCAL ROLE data_user;
        SELECT set_config('request.jwt.claims', '{{\"sub\":\"{PERSON}\"}}', true);
        PREPARE page ({types}) AS {statement};
        EXPLAIN (ANALYZE, FORMAT TEXT) EXECUTE page ('{PERSON}'{values});
        DEALLOCATE page; ROLLBACK"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(plan))
        .fetch_all(connection)
        .await
        .unwrap();
    let lines = rows
        .iter()
        .filter_map(|row| row.try_get::<String, _>("QUERY PLAN").ok());
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_page_reads_only_its_own_rows() {
    let stack = Stack::start().await.unwrap();
    execute(&stack.database, INSERT_RECORDS).await;
    let mut connection = stack.database.connect("postgres").await.unwrap();
    let times = "uuid, timestamptz, uuid, timestamptz, uuid, bigint";
    // The pages are in the middle of the records, in either order.
    let none = "'00000000-0000-0000-0000-000000000000'";
    let there = "now() - interval '1000 minutes'";
    for (name, index, types, values) in [
        (
            "ListRecords, oldest first",
            "encrypted_cycle_data_local_timestamp_idx",
            times,
            format!(", {there}, {none}, NULL, {none}, 51"),
        ),
        (
            "ListRecords, newest first",
            "encrypted_cycle_data_local_timestamp_idx",
            times,
            format!(", NULL, {none}, {there}, {none}, 51"),
        ),
        (
            "ListRecords, by change",
            "encrypted_cycle_data_change_number_key",
            "uuid, bigint, timestamptz, timestamptz, bigint",
            ", 5000, NULL, NULL, 51".to_owned(),
        ),
    ] {
        let plan = plan(&mut connection, name, types, &values).await;
        assert!(plan.contains(&format!("using {index} on")), "{name}: {plan}");
        assert!(plan.contains("rows=51"), "{name}: {plan}");
        for scan in [
            "Sort",
            "Seq Scan on encrypted_cycle_data",
            "Bitmap Heap Scan on encrypted_cycle_data",
        ] {
            assert!(!plan.contains(scan), "{name}, {scan}: {plan}");
        }
        // Few rows are read that are not on the page.
        for line in plan
            .lines()
            .filter(|line| line.contains("Rows Removed by Filter"))
        {
            let removed: u32 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(removed <= 12, "{name}: {plan}");
        }
    }
}

#[tokio::test]
async fn a_page_of_due_records_reads_a_page_of_each_key_version() {
    let stack = Stack::start().await.unwrap();
    execute(&stack.database, INSERT_RECORDS).await;
    // Two devices of the person have rotated their keys, and one was revoked: 7,500 of 10,000 records are due.
    let rotated = format!(
        "UPDATE data.device_key AS d SET key_version = 2, status = CASE o.n WHEN 1 THEN 'revoked' ELSE status END,
                encrypted_master_key = CASE o.n WHEN 1 THEN NULL ELSE encrypted_master_key END
         FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM data.device_key WHERE user_id = '{PERSON}') AS o
         WHERE d.user_id = '{PERSON}' AND d.id = o.id AND o.n <= 3;
         ANALYZE data.device_key"
    );
    execute(&stack.database, &rotated).await;
    let mut connection = stack.database.connect("postgres").await.unwrap();
    let times = "uuid, timestamptz, uuid, timestamptz, uuid, bigint";
    let none = "'00000000-0000-0000-0000-000000000000'";
    let there = "now() - interval '1000 minutes'";
    for (name, types, values) in [
        (
            "ListRecords, due, oldest first",
            times,
            format!(", {there}, {none}, NULL, {none}, 51"),
        ),
        (
            "ListRecords, due, newest first",
            times,
            format!(", NULL, {none}, {there}, {none}, 51"),
        ),
        (
            "ListRecords, due, by change",
            "uuid, bigint, timestamptz, timestamptz, bigint",
            ", 1000, NULL, NULL, 51".to_owned(),
        ),
    ] {
        let plan = plan(&mut connection, name, types, &values).await;
        assert!(plan.contains("using encrypted_cycle_data_key"), "{name}: {plan}");
        let scans = plan
            .lines()
            .filter(|line| line.contains(" on encrypted_cycle_data"));
        for scan in scans {
            assert!(!scan.contains("Seq Scan"), "{name}: {plan}");
            // The rows of one execution of the scan, such as `(actual time=0.01..0.02 rows=51 loops=3)`.
            let rows = scan.rsplit_once(" rows=").unwrap().1.split(' ').next().unwrap();
            assert!(rows.parse::<f64>().unwrap() <= 51.0, "{name}: {plan}");
        }
        assert!(plan.contains("rows=51"), "{name}: {plan}");
        for line in plan
            .lines()
            .filter(|line| line.contains("Rows Removed by Filter"))
        {
            let removed: u32 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(removed <= 12, "{name}: {plan}");
        }
    }
}
