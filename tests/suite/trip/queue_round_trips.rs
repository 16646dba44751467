//! Round trips of the analysis queue to Postgres: one for each call of a worker.

use haven_proto::data::v1::{CompleteJobsRequest, LeaseJobsRequest};
use haven_testkit::{Stack, random};

use crate::{analysis_jobs::completion, superuser_sql::execute};

/// The jobs of a round: one is completed alone, and the others together.
const JOBS: i64 = 4;

/// Rounds before the measurement. A connection prepares each statement at its first use, which takes one more round trip.
const WARM: usize = 8;

#[tokio::test]
async fn a_call_of_a_worker_takes_one_round_trip() {
    let stack = Stack::builder()
        .counted_work()
        .variable("data", "DATABASE_POOL_SIZE", "1")
        .variable("data", "WORKER_POOL_SIZE", "1")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let mut queue = stack.service("worker").unwrap().queue();
    let mut trips = Vec::new();
    for round in 0..WARM as i64 + 8 {
        let insert = format!(
            "INSERT INTO data.analysis_jobs
                 (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
             SELECT '{}', gen_random_uuid(), n, n, false, 0, now(), now()
             FROM generate_series({}, {}) AS n",
            ada.id,
            round * JOBS + 1,
            round * JOBS + JOBS
        );
        execute(&stack.database, &insert).await;
        let mut so_far = vec![stack.round_trips("data")];
        let request = LeaseJobsRequest {
            max_jobs: 10,
            request_id: random::uuid().to_string(),
            ..LeaseJobsRequest::default()
        };
        let jobs = queue.lease_jobs(request).await.unwrap().into_inner().jobs;
        so_far.push(stack.round_trips("data"));
        assert_eq!(jobs.len() as i64, JOBS);
        let mut completions = jobs.into_iter().map(|job| completion(job.lease.unwrap()));
        queue.complete_job(completions.next().unwrap()).await.unwrap();
        so_far.push(stack.round_trips("data"));
        let request = CompleteJobsRequest {
            completions: completions.collect(),
        };
        let results = queue.complete_jobs(request).await.unwrap().into_inner().results;
        so_far.push(stack.round_trips("data"));
        assert!(
            results.iter().all(|result| result.completed.is_some()),
            "{results:?}"
        );
        trips.push([0, 1, 2].map(|i| so_far[i + 1] - so_far[i]));
    }
    // Readiness and periodic work use the same pools, so some counts are higher.
    let least = trips
        .iter()
        .skip(WARM)
        .copied()
        .reduce(|a, b| std::array::from_fn(|i| a[i].min(b[i])))
        .unwrap();
    assert_eq!(least, [1; 3], "lease, complete one, complete three: {trips:?}");
}
