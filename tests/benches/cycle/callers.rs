//! Those who call the service.

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
    operation::Operation,
    shares::Tokens,
    world::{BLOCK, MANY, RECORDS, World, device_id, record_id, sealed},
};

/// How many calls are under way at once, on how many connections: enough for the service to be at work all the time.
const CALLERS: u32 = 32;
const CHANNELS: u32 = 4;

/// Callers of one world. Each has people of its own, so that none of them is ever too late.
pub(crate) struct Callers<'a> {
    world: &'a World,
    channels: Vec<Client>,
    /// The version of each record of those that the service changes, person by person.
    versions: Arc<Vec<AtomicI64>>,
}

/// What a turn came to.
pub(crate) struct Turn {
    /// Calls a second.
    pub(crate) rate: f64,
    /// How long each took, from the shortest on.
    took: Vec<Duration>,
}

/// One caller's people, and how to call for each.
struct Caller {
    people: Vec<(u32, Client)>,
    first: u32,
    versions: Arc<Vec<AtomicI64>>,
}

impl<'a> Callers<'a> {
    pub(crate) fn new(world: &'a World) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| world.stack.anonymous());
        let records = world.served().len() * RECORDS as usize;
        Ok(Self {
            world,
            channels: channels.collect::<Result<_>>()?,
            versions: Arc::new((0..records).map(|_| AtomicI64::new(1)).collect()),
        })
    }

    fn channel(&self, number: u32) -> &Client {
        &self.channels[(number % CHANNELS) as usize]
    }

    /// As many calls as can be made in a `turn`.
    pub(crate) async fn run(&self, operation: Operation, turn: Duration) -> Result<Turn> {
        let served = self.world.served();
        let mut callers = Vec::new();
        for number in 0..CALLERS {
            let people = served.clone().skip(number as usize).step_by(CALLERS as usize);
            let people = people
                .map(|person| Ok((person, self.channel(number).with_token(self.world.token(person))?)))
                .collect::<Result<Vec<_>>>()?;
            ensure!(!people.is_empty(), "a caller without people");
            callers.push(Caller {
                people,
                first: served.start,
                versions: Arc::clone(&self.versions),
            });
        }
        let begin = Instant::now();
        let callers = callers.into_iter().map(|caller| {
            tokio::spawn(async move {
                let mut took = Vec::new();
                while begin.elapsed() < turn {
                    let start = Instant::now();
                    caller.call(operation).await?;
                    took.push(start.elapsed());
                }
                anyhow::Ok(took)
            })
        });
        let callers = callers.collect::<Vec<_>>();
        finished(begin, callers)
            .await
            .with_context(|| operation.to_string())
    }

    /// As many openings of shares as can be made in a `turn`, by people who are nobody here.
    pub(crate) async fn open(&self, tokens: &Tokens, turn: Duration) -> Result<Turn> {
        let begin = Instant::now();
        let callers = (0..CALLERS).map(|number| {
            let (client, tokens) = (self.channel(number).clone(), tokens.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
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
                        "nothing was shared"
                    );
                    took.push(start.elapsed());
                }
                anyhow::Ok(took)
            })
        });
        finished(begin, callers.collect()).await.context("OpenShare")
    }

    /// Records a second of one pull of everything that one person has.
    pub(crate) async fn pull(&self) -> Result<f64> {
        let person = self.world.collector();
        let client = self.channel(0).with_token(self.world.token(person))?;
        let request = PullChangesRequest {
            device_id: device_id(person).to_string(),
            cursor: String::new(),
        };
        let begin = Instant::now();
        let mut answers = client.cycle().pull_changes(request).await?.into_inner();
        let mut records = 0;
        while let Some(answer) = answers.next().await {
            records += answer?.entries.len();
        }
        ensure!(records == MANY as usize, "{records} records were pulled");
        Ok(records as f64 / begin.elapsed().as_secs_f64())
    }
}

async fn finished(
    begin: Instant,
    callers: Vec<tokio::task::JoinHandle<Result<Vec<Duration>>>>,
) -> Result<Turn> {
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await??);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    ensure!(!took.is_empty(), "nobody got an answer");
    took.sort();
    Ok(Turn {
        rate: took.len() as f64 / elapsed,
        took,
    })
}

impl Turn {
    /// In milliseconds, what so many in a hundred calls took at most.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.took.len() * percent / 100).min(self.took.len() - 1);
        self.took[place].as_secs_f64() * 1000.0
    }
}

impl Caller {
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
        let answer = client.cycle().update_record(request).await?.into_inner();
        let made = answer.record.context("an answer without a record")?.version;
        version.store(made, Ordering::Relaxed);
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
        let answer = client.cycle().push_changes(request).await?.into_inner();
        for (record, result) in (first..).zip(answer.results) {
            if result.outcome() != ChangeOutcome::Applied {
                bail!("a change that is not applied: {:?}", result.outcome());
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
