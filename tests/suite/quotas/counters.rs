//! The counters equal the numbers of rows: after all kinds of writes, sweeps, purges and erasures, and after the migration.

use std::fs;

use haven_proto::data::v1::{
    AcknowledgeChangesRequest, DeleteMessageRequest, DeleteRecordRequest, PullChangesRequest,
    RevokeShareRequest, SenderType,
};
use haven_testkit::{Stack, random, workspace};

use super::{append, change, message, push, say, share_request, update};
use crate::{
    superuser_sql::{execute, execute_with, scalar, scalar_with},
    test_device::Device,
};

/// The people and the names of quotas for which a counter differs from the rows.
const DIFFERENCES: &str = "
    WITH counted AS (
        SELECT user_id, 'messages' AS quota, count(*) AS used FROM data.conversations GROUP BY user_id
        UNION ALL SELECT user_id, 'message_bytes', sum(octet_length(message_text)) FROM data.conversations GROUP BY user_id
        UNION ALL SELECT user_id, 'analysis_jobs', count(*) FROM (
            SELECT user_id FROM data.analysis_jobs WHERE state <> 'done' UNION ALL SELECT user_id FROM data.analysis_results
        ) AS analyses GROUP BY user_id
        UNION ALL SELECT user_id, 'analysis_bytes', sum(octet_length(details)) FROM data.analysis_results GROUP BY user_id
        UNION ALL SELECT user_id, 'crisis_events', count(*) FROM data.crisis_events GROUP BY user_id
        UNION ALL SELECT user_id, 'records', count(*) FROM data.encrypted_cycle_data GROUP BY user_id
        UNION ALL SELECT user_id, 'record_bytes', coalesce(sum(octet_length(encrypted_payload)), 0)
            FROM data.encrypted_cycle_data GROUP BY user_id
        UNION ALL SELECT user_id, 'deleted_records', count(*) FROM data.purged_records GROUP BY user_id
        UNION ALL SELECT user_id, 'conflicts', count(*) FROM data.cycle_data_conflicts GROUP BY user_id
        UNION ALL SELECT user_id, 'conflict_bytes', coalesce(sum(octet_length(encrypted_payload)), 0)
            FROM data.cycle_data_conflicts GROUP BY user_id
        UNION ALL SELECT user_id, 'nonces', count(*) FROM data.envelope_nonces GROUP BY user_id
        UNION ALL SELECT user_id, 'shares', count(encrypted_payload) FROM data.healthcare_share GROUP BY user_id
        UNION ALL SELECT user_id, 'share_bytes', coalesce(sum(octet_length(encrypted_payload)), 0)
            FROM data.healthcare_share GROUP BY user_id
        UNION ALL SELECT user_id, 'requests', count(*) FROM data.requests WHERE NOT by_service GROUP BY user_id
        UNION ALL SELECT user_id, 'request_bytes', sum(octet_length(answer::text)) FROM data.requests
            WHERE NOT by_service GROUP BY user_id
    ), kept AS (
        SELECT u.user_id, q.key AS quota, q.value::bigint AS used
        FROM data.usage_counters AS u, jsonb_each_text(to_jsonb(u) - '{user_id,mutations_until,mutations_reset_at}'::text[]) AS q
    )
    SELECT coalesce(string_agg(format('%s %s: %s rows, counter %s', user_id, quota, c.used, k.used), E'\\n'), '')
    FROM counted AS c FULL JOIN kept AS k USING (user_id, quota)
    WHERE coalesce(c.used, 0) <> coalesce(k.used, 0)";

async fn assert_counters(stack: &Stack) {
    assert_eq!(scalar::<String>(&stack.database, DIFFERENCES).await, "");
}

/// Writes rows of every counted kind.
async fn live(stack: &Stack) -> Device {
    let ada = Device::invent(stack).await.unwrap();
    let mut said = Vec::new();
    for _ in 0..26 {
        said.push(say(&ada.client, "hello").await.unwrap());
    }
    let event = "Sometimes I want to kill myself.";
    say(&ada.client, event).await.unwrap();
    update(
        &ada.client,
        change(&said[0], "a longer text than before, by a good deal"),
    )
    .await
    .unwrap();
    update(&ada.client, change(&said[1], event)).await.unwrap();
    let request = DeleteMessageRequest {
        message_id: said[2].id.clone(),
        request_id: random::uuid().to_string(),
    };
    ada.client.conversation().delete_message(request).await.unwrap();
    let records = [(); 5].map(|()| random::uuid());
    let puts = records.map(|id| ada.put(id, 0, "content").unwrap());
    push(&ada, puts.into()).await.unwrap();
    push(
        &ada,
        vec![
            ada.put(records[0], 0, "lost").unwrap(),
            ada.put(records[1], 1, "much longer content").unwrap(),
        ],
    )
    .await
    .unwrap();
    for id in &records[2..4] {
        let request = DeleteRecordRequest {
            device_id: ada.id.to_string(),
            record_id: id.to_string(),
            expected_version: 1,
            request_id: random::uuid().to_string(),
        };
        ada.client.cycle().delete_record(request).await.unwrap();
    }
    for _ in 0..2 {
        let request = share_request(&ada, "shared");
        ada.client.share().create_share(request).await.unwrap();
    }
    let request = RevokeShareRequest {
        share_id: share_of(stack, &ada).await,
    };
    ada.client.share().revoke_share(request).await.unwrap();
    let result = "INSERT INTO data.analysis_results (user_id, id, analysis_type, chat_score, first_number,
            last_number, details, key_id, created_at)
        SELECT user_id, id, 'chat_scoring', 1, first_number, last_number, 'gAAAA' || repeat('A', 100), 'test-1', now()
        FROM data.analysis_jobs WHERE user_id = $1";
    execute_with(&stack.database, result, ada.person.id).await;
    let done = "UPDATE data.analysis_jobs SET state = 'done', finished_at = now() WHERE user_id = $1";
    execute_with(&stack.database, done, ada.person.id).await;
    // A service's answer, which counts for no quota.
    let coach = stack.service("backend").unwrap();
    let coach = coach.with_token(&ada.person.token).unwrap();
    append(&coach, message(SenderType::Coach, "hello")).await.unwrap();
    ada
}

async fn share_of(stack: &Stack, device: &Device) -> String {
    let id = "SELECT min(id::text) FROM data.healthcare_share WHERE user_id = $1";
    scalar_with(&stack.database, id, device.person.id).await
}

#[tokio::test]
async fn counters_equal_the_rows_after_writes_purges_sweeps_and_erasures() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (live(&stack).await, live(&stack).await);
    assert_counters(&stack).await;
    // The only device acknowledges, so tombstones are purged.
    let pull = PullChangesRequest {
        device_id: ada.id.to_string(),
        cursor: String::new(),
    };
    let mut pages = ada.client.cycle().pull_changes(pull).await.unwrap().into_inner();
    let mut cursor = String::new();
    while let Some(page) = pages.message().await.unwrap() {
        cursor = page.cursor;
    }
    let request = AcknowledgeChangesRequest {
        device_id: ada.id.to_string(),
        cursor,
    };
    ada.client.cycle().acknowledge_changes(request).await.unwrap();
    let purged = "SELECT count(*) FROM data.purged_records WHERE user_id = $1";
    assert_eq!(
        scalar_with::<i64, _>(&stack.database, purged, ada.person.id).await,
        2
    );
    assert_counters(&stack).await;

    // One transaction, so that the service's own sweeper does not see the old rows.
    let swept = "BEGIN;
        UPDATE data.requests SET created_at = now() - interval '8 days';
        SET LOCAL ROLE data_service; SELECT data.sweep_requests(20); RESET ROLE;
        DO $$ BEGIN ASSERT (SELECT count(*) > 0 FROM data.requests), 'one batch is not all'; END $$;
        UPDATE data.requests SET created_at = now();
        COMMIT";
    execute(&stack.database, swept).await;
    assert_counters(&stack).await;

    // A batch of an erasure, then all of it.
    let erase = format!(
        "BEGIN; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true); SET LOCAL ROLE data_service;
         SELECT data.erase_batch(20); COMMIT",
        bob.person.id
    );
    execute(&stack.database, &erase).await;
    assert_counters(&stack).await;
    execute(
        &stack.database,
        &erase.replace("erase_batch(20)", "erase_user(now())"),
    )
    .await;
    let rows = "SELECT count(*) FROM data.usage_counters WHERE user_id = $1";
    assert_eq!(
        scalar_with::<i64, _>(&stack.database, rows, bob.person.id).await,
        0
    );
    assert_counters(&stack).await;
}

#[tokio::test]
async fn the_migration_counts_the_rows_that_are_there() {
    let stack = Stack::start().await.unwrap();
    live(&stack).await;
    live(&stack).await;
    // A person with many rows.
    let many = "INSERT INTO data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
        SELECT u.user_id, gen_random_uuid(), number, 'user', 'gAAAA', 'test-1', now(), now()
        FROM (SELECT min(user_id::text)::uuid AS user_id FROM data.usage_counters) AS u, generate_series(1001, 50000) AS number";
    execute(&stack.database, many).await;
    assert_counters(&stack).await;
    // This migration and the later ones. Those outside of a transaction are of indexes alone.
    let files = fs::read_dir(workspace::root().join("migrations/data")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let files = |direction: &str| {
        let of_direction = files.iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name >= "20261129000500" && name.ends_with(direction)
        });
        let texts = of_direction.map(|path| fs::read_to_string(path).unwrap());
        texts
            .filter(|text| !text.starts_with("-- no-transaction"))
            .collect::<Vec<_>>()
    };
    let (mut down, up) = (files(".down.sql"), files(".up.sql"));
    down.reverse();
    let again = format!(
        "BEGIN; SET LOCAL ROLE data_owner; {} {} COMMIT",
        down.join("\n"),
        up.join("\n")
    );
    execute(&stack.database, &again).await;
    let people: i64 = scalar(&stack.database, "SELECT count(*) FROM data.usage_counters").await;
    assert_eq!(people, 2);
    assert_counters(&stack).await;
}
