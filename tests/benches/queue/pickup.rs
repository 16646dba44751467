//! The time until a waiting worker at one replica gets a job that was created at another one.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::{AppendMessageRequest, RequestAnalysisRequest, SenderType};
use haven_testkit::{Client, Person, Stack, port::Port, random, service::Service};

use super::{
    measure::build::{LISTEN, like, listen_url},
    workers::{complete, lease},
};

/// The time that a worker waits for a job.
const WAIT: Duration = Duration::from_secs(20);

/// The range of pauses between the start of the wait and the creation of the job in milliseconds: different ones, so that the
/// job is not always created at the same moment of a poll.
const PAUSE: std::ops::Range<u64> = 100..600;

/// Two replicas of the data service.
pub(crate) struct Replicas {
    services: [Service; 2],
    _ports: Vec<Port>,
}

impl Replicas {
    /// Starts two replicas of the program `data` in `folder` beside `stack`, with or without a connection on which they hear
    /// of jobs.
    pub(crate) async fn start(stack: &Stack, folder: &Path, listen: bool) -> Result<Self> {
        let ports: Vec<Port> = (0..6).map(|_| Port::reserve()).collect::<Result<_>>()?;
        let mut services = [
            like(&stack.data, folder, &ports[..3], "first")?,
            like(&stack.data, folder, &ports[3..], "second")?,
        ];
        for service in &mut services {
            service.variables.remove(LISTEN);
            if listen {
                service.variables.insert(LISTEN.to_owned(), listen_url(stack));
            }
            service.start().await?;
        }
        Ok(Self {
            services,
            _ports: ports,
        })
    }

    /// Creates `count` jobs, one after the other, at either replica in turn, while a worker waits at the other one. Returns
    /// the times from the answer of RequestAnalysis to that of LeaseJobs.
    pub(crate) async fn pickups(
        &self,
        stack: &Stack,
        person: &Person,
        count: usize,
    ) -> Result<Vec<Duration>> {
        let client = |service: Option<&str>, replica: &Service| {
            let certificates = &stack.certificates;
            Client::new(certificates, service, stack.identity.listeners, replica.listeners)
        };
        let people = self.services.each_ref().map(|replica| client(None, replica));
        let workers = self
            .services
            .each_ref()
            .map(|replica| client(Some("worker"), replica));
        let (mut people_clients, mut worker_clients) = (Vec::new(), Vec::new());
        for (person_client, worker) in people.into_iter().zip(workers) {
            people_clients.push(person_client?.with_token(&person.token)?);
            worker_clients.push(worker?);
        }
        let mut times = Vec::new();
        // The first two open the connections, and are not counted.
        for number in 0..count + 2 {
            let time = pickup(&people_clients[number % 2], &worker_clients[(number + 1) % 2]).await?;
            if number >= 2 {
                times.push(time);
            }
        }
        Ok(times)
    }
}

/// Lets a worker wait, creates a job, and returns the time until the worker has it.
async fn pickup(person: &Client, worker: &Client) -> Result<Duration> {
    let message = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "I asked a question today.".to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    person
        .conversation()
        .append_message(message)
        .await
        .context("AppendMessage")?;
    let wait = async {
        let leases = lease(worker, 1, WAIT).await?;
        anyhow::Ok((leases, Instant::now()))
    };
    let create = async {
        tokio::time::sleep(Duration::from_millis(rand::random_range(PAUSE))).await;
        let request_id = random::uuid().to_string();
        let request = RequestAnalysisRequest { request_id };
        person
            .analysis()
            .request_analysis(request)
            .await
            .context("RequestAnalysis")?;
        anyhow::Ok(Instant::now())
    };
    let ((mut leases, received), created) = tokio::try_join!(wait, create)?;
    ensure!(leases.len() == 1, "the worker got {} jobs", leases.len());
    complete(worker, leases.remove(0)).await?;
    Ok(received.saturating_duration_since(created))
}

/// Returns true if the program `data` in `folder` has the variable [`LISTEN`].
pub(crate) fn can_listen(folder: &Path) -> Result<bool> {
    let help = Command::new(folder.join("data"))
        .args(["serve", "--help"])
        .output();
    let help = help.context("data serve --help")?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(LISTEN))
}
