//! Concurrent callers of the service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use chrono::Utc;
use haven_proto::data::v1::{
    Change, ChangeKind, ChangeOutcome, PullChangesRequest, PushChangesRequest, PushMode, UpdateRecordRequest,
};
use haven_testkit::{client::Client, random};
use prost_types::Timestamp;
use tokio_stream::StreamExt;

use super::{
    loaded_stack::{BLOCK, LoadedStack, PULLED_RECORDS, RECORDS, device_id, record_id, sealed},
    measure::{
        CHANNELS,
        build::Build,
        cpu::Meter,
        turn::{self, Turn},
    },
    operation::Operation,
    shares::{Opener, Tokens},
};

/// The current version of each record that the services change, person by person. All builds change the same records.
#[derive(Clone)]
pub(crate) struct Versions {
    first_person: u32,
    versions: Arc<Vec<AtomicI64>>,
}

/// The connections of the callers to one build. Each caller has its own people, so that no two change the same record.
pub(crate) struct Callers<'a> {
    loaded: &'a LoadedStack,
    channels: Vec<Client>,
    count: usize,
    versions: Versions,
    meter: Meter,
}

/// The people of one caller, with a client for each.
struct Caller {
    operation: Operation,
    people: Vec<(u32, Client)>,
    versions: Versions,
}

/// A device that pulls all records of one person again and again.
struct Puller {
    person: u32,
    client: Client,
}

impl Versions {
    /// Returns the versions of the records after loading.
    pub(crate) fn new(loaded: &LoadedStack) -> Self {
        let records = loaded.served().len() * RECORDS as usize;
        Self {
            first_person: loaded.served().start,
            versions: Arc::new((0..records).map(|_| AtomicI64::new(1)).collect()),
        }
    }

    fn of(&self, person: u32, record: u32) -> &AtomicI64 {
        &self.versions[((person - self.first_person) * RECORDS + record) as usize]
    }
}

impl<'a> Callers<'a> {
    /// Creates [`CHANNELS`] connections for `count` callers, which connect on the first call.
    pub(crate) fn new(
        loaded: &'a LoadedStack,
        build: Build<'_>,
        count: usize,
        versions: &Versions,
    ) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| build.anonymous());
        let people = loaded.served().len();
        ensure!(
            count <= people,
            "there are {count} callers, and only {people} people"
        );
        Ok(Self {
            loaded,
            channels: channels.collect::<Result<_>>()?,
            count,
            versions: versions.clone(),
            meter: build.data_meter()?,
        })
    }

    /// Returns the meter of the build.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Makes as many calls as possible within `turn`.
    pub(crate) async fn run(&self, operation: Operation, turn: Duration) -> Result<Turn> {
        let mut callers = Vec::new();
        for number in 0..self.count {
            let people = self.loaded.served().skip(number).step_by(self.count);
            let people = people.map(|person| {
                let token = self.loaded.token(person);
                Ok((person, self.channels[number % CHANNELS].with_token(token)?))
            });
            callers.push(Caller {
                operation,
                people: people.collect::<Result<_>>()?,
                versions: self.versions.clone(),
            });
        }
        turn::take(&self.meter, turn, callers).await
    }

    /// Opens as many shares as possible within `turn`, without an identity.
    pub(crate) async fn open(&self, tokens: &Tokens, turn: Duration) -> Result<Turn> {
        let opener = |number: usize| Opener {
            client: self.channels[number % CHANNELS].clone(),
            tokens: tokens.clone(),
        };
        turn::take(&self.meter, turn, (0..self.count).map(opener).collect()).await
    }

    /// Pulls all records of one person as often as possible within `turn`, one pull at a time.
    pub(crate) async fn pull(&self, turn: Duration) -> Result<Turn> {
        let person = self.loaded.pulled_person();
        let client = self.channels[0].with_token(self.loaded.token(person))?;
        turn::take(&self.meter, turn, vec![Puller { person, client }]).await
    }
}

impl turn::Caller for Puller {
    async fn call(&mut self) -> Result<u64> {
        let request = PullChangesRequest {
            device_id: device_id(self.person).to_string(),
            cursor: String::new(),
        };
        let mut responses = self.client.cycle().pull_changes(request).await?.into_inner();
        let mut records = 0;
        while let Some(response) = responses.next().await {
            records += response?.entries.len();
        }
        ensure!(
            records == PULLED_RECORDS as usize,
            "{records} records were pulled"
        );
        Ok(records as u64)
    }
}

impl turn::Caller for Caller {
    /// Makes one call for a random person.
    async fn call(&mut self) -> Result<u64> {
        let (person, client) = &self.people[rand::random_range(0..self.people.len())];
        match self.operation {
            Operation::Update => self.update(*person, client).await?,
            Operation::Push => self.push(*person, client).await?,
        }
        Ok(1)
    }
}

impl Caller {
    async fn update(&self, person: u32, client: &Client) -> Result<()> {
        let record = rand::random_range(0..RECORDS);
        let version = self.versions.of(person, record);
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
                expected_version: self.versions.of(person, record).load(Ordering::Relaxed),
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
            self.versions
                .of(person, record)
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
