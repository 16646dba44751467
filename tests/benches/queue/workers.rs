//! Workers, who lease and complete jobs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::{
    AnalysisType, CompleteJobRequest, CompleteJobsRequest, JobLease, LeaseJobsRequest,
};
use haven_testkit::{Client, random, secrets::SUPERUSER};
use tonic::Code;

use super::{
    jobs,
    measure::{
        CHANNELS,
        build::Build,
        cpu::Meter,
        turn::{self, Turn},
    },
};

/// The jobs that one call leases, and one call completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// LeaseJobs of one, and CompleteJob.
    One,
    /// LeaseJobs of ten, and CompleteJobs.
    Ten,
}

/// The workers of one build.
pub(crate) struct Workers<'a> {
    build: Build<'a>,
    channels: Vec<Client>,
    count: usize,
    meter: Meter,
}

/// A worker, who leases jobs and completes them.
struct Worker {
    client: Client,
    batch: Batch,
}

impl Batch {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::One, Self::Ten];

    /// Returns the name of the RPC that completes jobs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "CompleteJob",
            Self::Ten => "CompleteJobs",
        }
    }
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

    /// Returns true if the build has the RPC of `batch`: the one before CompleteJobs has not.
    pub(crate) async fn can(&self, batch: Batch) -> bool {
        if batch == Batch::One {
            return true;
        }
        let nothing = CompleteJobsRequest::default();
        let answer = self.channels[0].queue().complete_jobs(nothing).await;
        answer.is_err_and(|status| status.code() != Code::Unimplemented)
    }

    /// Returns the name of the build.
    pub(crate) fn name(&self) -> &'static str {
        self.build.name
    }

    /// Returns the meter of the build.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Fills the queue, and lets the workers do as many jobs as possible within `turn`, or all of them.
    pub(crate) async fn run(&self, batch: Batch, turn: Duration) -> Result<Turn> {
        let mut superuser = self.build.stack.database.connect(SUPERUSER).await?;
        jobs::refill(&mut superuser).await.context("filling the queue")?;
        let workers = (0..self.count).map(|number| Worker {
            client: self.channels[number % CHANNELS].clone(),
            batch,
        });
        turn::take(&self.meter, turn, workers.collect()).await
    }
}

impl turn::Caller for Worker {
    async fn call(&mut self) -> Result<u64> {
        let most = match self.batch {
            Batch::One => 1,
            Batch::Ten => 10,
        };
        let mut leases = lease(&self.client, most, Duration::ZERO).await?;
        let done = leases.len() as u64;
        match self.batch {
            _ if leases.is_empty() => {}
            Batch::One => complete(&self.client, leases.remove(0)).await?,
            Batch::Ten => complete_all(&self.client, leases).await?,
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

/// Completes jobs in one call.
async fn complete_all(client: &Client, leases: Vec<JobLease>) -> Result<()> {
    let completions = leases.into_iter().map(completion).collect();
    let request = CompleteJobsRequest { completions };
    let response = client
        .queue()
        .complete_jobs(request)
        .await
        .context("CompleteJobs")?;
    let results = response.into_inner().results;
    ensure!(
        results.iter().all(|result| result.completed.is_some()),
        "a job was not completed"
    );
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
