//! Workers, who lease and complete jobs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::{AnalysisType, CompleteJobRequest, JobLease, LeaseJobsRequest};
use haven_testkit::{Client, random, secrets::SUPERUSER};

use super::{
    jobs,
    measure::{
        CHANNELS,
        build::Build,
        cpu::Meter,
        turn::{self, Turn},
    },
};

/// The workers of one build.
pub(crate) struct Workers<'a> {
    build: Build<'a>,
    channels: Vec<Client>,
    count: usize,
    meter: Meter,
}

/// A worker, who leases a job and completes it.
struct Worker {
    client: Client,
}

impl<'a> Workers<'a> {
    /// Creates [`CHANNELS`] connections for `count` workers, which connect on the first call.
    pub(crate) fn new(build: Build<'a>, count: usize) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| build.service("worker"));
        Ok(Self {
            build,
            channels: channels.collect::<Result<_>>()?,
            count,
            meter: build.data_meter()?,
        })
    }

    /// Returns the meter of the build.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Fills the queue, and lets the workers do as many jobs as possible within `turn`, or all of them.
    pub(crate) async fn run(&self, turn: Duration) -> Result<Turn> {
        let mut superuser = self.build.stack.database.connect(SUPERUSER).await?;
        jobs::refill(&mut superuser).await.context("filling the queue")?;
        let workers = (0..self.count).map(|number| Worker {
            client: self.channels[number % CHANNELS].clone(),
        });
        turn::take(&self.meter, turn, workers.collect()).await
    }
}

impl turn::Caller for Worker {
    async fn call(&mut self) -> Result<u64> {
        let leases = lease(&self.client, 1, Duration::ZERO).await?;
        let done = leases.len() as u64;
        for lease in leases {
            complete(&self.client, lease).await?;
        }
        Ok(done)
    }
}

/// Leases up to `most` jobs, and waits for the first up to `wait`.
pub(crate) async fn lease(client: &Client, most: i32, wait: Duration) -> Result<Vec<JobLease>> {
    let request = LeaseJobsRequest {
        max_jobs: most,
        wait: Some(wait.try_into().context("the wait")?),
        request_id: random::uuid().to_string(),
        ..LeaseJobsRequest::default()
    };
    let response = client.queue().lease_jobs(request).await.context("LeaseJobs")?;
    let jobs = response.into_inner().jobs;
    ensure!(
        jobs.iter().all(|job| !job.messages.is_empty()),
        "a job has no messages"
    );
    let leases = jobs
        .into_iter()
        .map(|job| job.lease.context("a job has no lease"));
    leases.collect()
}

/// Completes a job.
pub(crate) async fn complete(client: &Client, lease: JobLease) -> Result<()> {
    let completed = client.queue().complete_job(completion(lease)).await;
    completed.context("CompleteJob")?;
    Ok(())
}

/// Returns a result of typical size.
pub(crate) fn completion(lease: JobLease) -> CompleteJobRequest {
    let lines = |line: &str| vec![line.to_owned(); 3];
    CompleteJobRequest {
        lease: Some(lease),
        analysis_type: AnalysisType::ChatScoring.into(),
        chat_score_tenths: 73,
        insights: lines("You began the conversation yourself, and stayed with it."),
        strengths: lines("You asked an open question."),
        improvement_areas: lines("Let the other person finish the thought."),
        triggered_milestone: String::new(),
        request_id: random::uuid().to_string(),
    }
}
