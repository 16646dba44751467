//! The table has digests of the tokens of leases. For a day after an upgrade it has the tokens too, for programs that compare
//! them.

use haven_proto::data::v1::JobLease;
use haven_testkit::Stack;

use super::{complete, extend, lease_one, lease_request};
use crate::{
    analysis_jobs,
    superuser_sql::{execute, scalar, scalar_with},
};

/// The statement with which programs before the digests lease the due jobs, under the token `$1`.
const EARLIER_LEASE: &str = "
    UPDATE data.analysis_jobs SET state = 'leased', attempts = attempts + 1, lease_token = $1::uuid, lease_holder = 'worker',
        lease_expires_at = now() + interval '1 minute'
    WHERE state = 'queued' RETURNING user_id::text || ' ' || id || ' ' || attempts";

/// The condition by which programs before the digests complete, extend and fail the job of a lease.
const EARLIER_HOLDS: &str = "
    SELECT count(*) FROM data.analysis_jobs WHERE lease_token = $1::uuid AND state = 'leased' AND lease_expires_at > now()";

const STORED: &str = "SELECT count(*) FROM data.analysis_jobs WHERE lease_token IS NOT NULL";

/// Leases a job as a program before the digests does.
async fn earlier_lease(stack: &Stack, lease_token: &str) -> JobLease {
    let row: String = scalar_with(&stack.database, EARLIER_LEASE, lease_token.to_owned()).await;
    let [person, job, attempt] = row.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{row}")
    };
    JobLease {
        user_id: person.to_owned(),
        job_id: job.to_owned(),
        lease_token: lease_token.to_owned(),
        attempt: attempt.parse().unwrap(),
    }
}

/// Makes the schema one that was upgraded `hours` ago.
async fn upgraded(stack: &Stack, hours: u32) {
    let sql = format!(
        "UPDATE data._sqlx_migrations SET installed_on = now() - interval '{hours} hours'
             - CASE WHEN version < 20261129000900 THEN interval '1 month' ELSE interval '0' END"
    );
    execute(&stack.database, &sql).await;
}

#[tokio::test]
async fn a_new_installation_stores_no_token_of_a_lease() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    analysis_jobs::requested(&ada).await;
    let worker = stack.service("worker").unwrap();
    let lease = lease_one(&worker, &lease_request()).await;
    assert_eq!(scalar::<i64>(&stack.database, STORED).await, 0);
    let digest = "SELECT lease_digest = sha256(uuid_send($1::uuid)) FROM data.analysis_jobs";
    assert!(scalar_with::<bool, _>(&stack.database, digest, lease.lease_token.clone()).await);
    extend(&worker, &lease).await.unwrap();
    complete(&worker, &lease).await.unwrap();
    let left = "SELECT count(*) FROM data.analysis_jobs WHERE num_nonnulls(lease_token, lease_digest) > 0";
    assert_eq!(scalar::<i64>(&stack.database, left).await, 0);
}

#[tokio::test]
async fn programs_of_two_versions_complete_each_others_leases_for_a_day_after_an_upgrade() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let worker = stack.service("worker").unwrap();
    upgraded(&stack, 23).await;
    analysis_jobs::requested(&ada).await;
    let lease = earlier_lease(&stack, "018f0000-0000-4000-8000-00000000c0de").await;
    extend(&worker, &lease).await.unwrap();
    complete(&worker, &lease).await.unwrap();

    analysis_jobs::requested(&ada).await;
    let lease = lease_one(&worker, &lease_request()).await;
    let held = scalar_with::<i64, _>(&stack.database, EARLIER_HOLDS, lease.lease_token.clone());
    assert_eq!(held.await, 1);
    // The next change of the job after that day forgets the token, and keeps the lease.
    upgraded(&stack, 25).await;
    extend(&worker, &lease).await.unwrap();
    assert_eq!(scalar::<i64>(&stack.database, STORED).await, 0);
    complete(&worker, &lease).await.unwrap();
}
