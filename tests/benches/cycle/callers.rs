//! Concurrent callers of the service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chrono::Utc;
use haven_proto::data::v1::{
    Change, ChangeKind, ChangeOutcome, DeviceType, OpenShareRequest, PullChangesRequest, PushChangesRequest,
    PushMode, UpdateRecordRequest,
};
use haven_testkit::{client::Client, random};
use prost_types::Timestamp;
use tokio_stream::StreamExt;

use super::{
    loaded_stack::{BLOCK, LoadedStack, PULLED_RECORDS, RECORDS, device_id, record_id, sealed},
    operation::Operation,
    shares::Tokens,
};

/// The number of concurrent callers. It is high enough to keep the service busy.
const CALLERS: u32 = 32;
/// The number of connections that the callers share.
const CHANNELS: u32 = 4;

/// The callers of one installation. Each has its own people, so that no two change the same record.
pub(crate) struct Callers<'a> {
    loaded: &'a LoadedStack,
    channels: Vec<Client>,
    /// The current version of each record that the service changes, person by person.
    versions: Arc<Vec<AtomicI64>>,
}

/// The result of a turn.
pub(crate) struct Turn {
    /// The calls per second.
    pub(crate) rate: f64,
    /// The duration of each call, in ascending order.
    durations: Vec<Duration>,
}

/// The people of one caller, with a client for each.
struct Caller {
    people: Vec<(u32, Client)>,
    first: u32,
    versions: Arc<Vec<AtomicI64>>,
}

impl<'a> Callers<'a> {
    /// Creates [`CHANNELS`] connections, which connect on the first call.
    pub(crate) fn new(loaded: &'a LoadedStack) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| loaded.stack.anonymous());
        let records = loaded.served().len() * RECORDS as usize;
        Ok(Self {
            loaded,
            channels: channels.collect::<Result<_>>()?,
            versions: Arc::new((0..records).map(|_| AtomicI64::new(1)).collect()),
        })
    }

    fn channel(&self, number: u32) -> &Client {
        &self.channels[(number % CHANNELS) as usize]
    }

    /// Makes as many calls as possible within `turn`.
    pub(crate) async fn run(&self, operation: Operation, turn: Duration) -> Result<Turn> {
        let served = self.loaded.served();
        let mut callers = Vec::new();
        for number in 0..CALLERS {
            let people = served.clone().skip(number as usize).step_by(CALLERS as usize);
            let people = people
                .map(|person| {
                    Ok((
                        person,
                        self.channel(number).with_token(self.loaded.token(person))?,
                    ))
                })
                .collect::<Result<Vec<_>>>()?;
            ensure!(!people.is_empty(), "there are more callers than people");
            callers.push(Caller {
                people,
                first: served.start,
                versions: Arc::clone(&self.versions),
            });
        }
        let begin = Instant::now();
        let callers = callers.into_iter().map(|caller| {
            tokio::spawn(async move {
                let mut durations = Vec::new();
                while begin.elapsed() < turn {
                    let start = Instant::now();
                    caller.call(operation).await?;
                    durations.push(start.elapsed());
                }
                anyhow::Ok(durations)
            })
        });
        let callers = callers.collect::<Vec<_>>();
        collect(begin, callers)
            .await
            .with_context(|| operation.to_string())
    }

    /// Opens as many shares as possible within `turn`, without an identity.
    pub(crate) async fn open(&self, tokens: &Tokens, turn: Duration) -> Result<Turn> {
        let begin = Instant::now();
        let callers = (0..CALLERS).map(|number| {
            let (client, tokens) = (self.channel(number).clone(), tokens.clone());
            tokio::spawn(async move {
                let mut durations = Vec::new();
                while begin.elapsed() < turn {
                    let start = Instant::now();
                    let request = OpenShareRequest {
                        token: tokens.next(),
                        passcode: tokens.passcode.clone(),
                        device_type: DeviceType::Mobile.into(),
                    };
                    let opened = client.share().open_share(request).await?;
                    ensure!(
                        !opened.get_ref().encrypted_share_data.is_empty(),
                        "the share is empty"
                    );
                    durations.push(start.elapsed());
                }
                anyhow::Ok(durations)
            })
        });
        collect(begin, callers.collect()).await.context("OpenShare")
    }

    /// Pulls all records of one person, and returns the records per second.
    pub(crate) async fn pull(&self) -> Result<f64> {
        let person = self.loaded.pulled_person();
        let client = self.channel(0).with_token(self.loaded.token(person))?;
        let request = PullChangesRequest {
            device_id: device_id(person).to_string(),
            cursor: String::new(),
        };
        let begin = Instant::now();
        let mut responses = client.cycle().pull_changes(request).await?.into_inner();
        let mut records = 0;
        while let Some(response) = responses.next().await {
            records += response?.entries.len();
        }
        ensure!(
            records == PULLED_RECORDS as usize,
            "{records} records were pulled"
        );
        Ok(records as f64 / begin.elapsed().as_secs_f64())
    }
}

/// Waits for all callers, and collects the durations of their calls.
async fn collect(
    begin: Instant,
    callers: Vec<tokio::task::JoinHandle<Result<Vec<Duration>>>>,
) -> Result<Turn> {
    let mut durations = Vec::new();
    for caller in callers {
        durations.extend(caller.await??);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    ensure!(!durations.is_empty(), "no call succeeded");
    durations.sort();
    Ok(Turn {
        rate: durations.len() as f64 / elapsed,
        durations,
    })
}

impl Turn {
    /// Returns the given percentile of the durations, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let index = (self.durations.len() * percent / 100).min(self.durations.len() - 1);
        self.durations[index].as_secs_f64() * 1000.0
    }
}

impl Caller {
    /// Makes one call for a random person.
    async fn call(&self, operation: Operation) -> Result<()> {
        let (person, client) = &self.people[rand::random_range(0..self.people.len())];
        match operation {
            Operation::Update => self.update(*person, client).await,
            Operation::Push => self.push(*person, client).await,
        }
    }

    fn version(&self, person: u32, record: u32) -> &AtomicI64 {
        &self.versions[((person - self.first) * RECORDS + record) as usize]
    }

    async fn update(&self, person: u32, client: &Client) -> Result<()> {
        let record = rand::random_range(0..RECORDS);
        let version = self.version(person, record);
        let (encrypted_payload, envelope) = sealed(person);
        let request = UpdateRecordRequest {
            device_id: device_id(person).to_string(),
            record_id: record_id(person, record).to_string(),
            expected_version: version.load(Ordering::Relaxed),
            encrypted_payload,
            crypto_envelope: Some(envelope),
            local_time: Some(now()),
            request_id: random::uuid().to_string(),
        };
        let response = client.cycle().update_record(request).await?.into_inner();
        let new_version = response.record.context("the response has no record")?.version;
        version.store(new_version, Ordering::Relaxed);
        Ok(())
    }

    async fn push(&self, person: u32, client: &Client) -> Result<()> {
        let first = BLOCK * rand::random_range(0..RECORDS / BLOCK);
        let changes = (first..first + BLOCK).map(|record| {
            let (encrypted_payload, envelope) = sealed(person);
            Change {
                kind: ChangeKind::Put.into(),
                record_id: record_id(person, record).to_string(),
                expected_version: self.version(person, record).load(Ordering::Relaxed),
                encrypted_payload,
                crypto_envelope: Some(envelope),
                local_time: Some(now()),
            }
        });
        let request = PushChangesRequest {
            device_id: device_id(person).to_string(),
            changes: changes.collect(),
            mode: PushMode::Independent.into(),
            request_id: random::uuid().to_string(),
        };
        let response = client.cycle().push_changes(request).await?.into_inner();
        for (record, result) in (first..).zip(response.results) {
            if result.outcome() != ChangeOutcome::Applied {
                bail!("a change was not applied: {:?}", result.outcome());
            }
            self.version(person, record)
                .store(result.version, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn now() -> Timestamp {
    Timestamp {
        seconds: Utc::now().timestamp(),
        nanos: 0,
    }
}
