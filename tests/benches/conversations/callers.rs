//! Concurrent callers of the service.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::{
    AppendMessageRequest, GetMessageRequest, ListMessagesRequest, MessageOrder, SenderType,
};
use haven_testkit::{client::Client, random};

use super::{
    loaded_stack::{LoadedStack, MESSAGES, TYPICAL_LENGTH, message_id, words},
    measure::{
        CHANNELS,
        build::Build,
        cpu::Meter,
        turn::{self, Turn},
    },
    operation::{Operation, PAGE},
};

/// The connections of the callers to one build.
pub(crate) struct Callers<'a> {
    loaded: &'a LoadedStack,
    channels: Vec<Client>,
    count: usize,
    meter: Meter,
}

/// A caller, who makes each call for a random person other than the measured one.
struct Caller {
    operation: Operation,
    channel: Client,
    others: RangeInclusive<u32>,
    tokens: Arc<BTreeMap<u32, String>>,
}

impl<'a> Callers<'a> {
    /// Creates [`CHANNELS`] connections for `count` callers, which connect on the first call.
    pub(crate) fn new(loaded: &'a LoadedStack, build: Build<'_>, count: usize) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| build.anonymous());
        Ok(Self {
            loaded,
            channels: channels.collect::<Result<_>>()?,
            count,
            meter: build.data_meter()?,
        })
    }

    /// Makes as many calls as possible within `turn`.
    pub(crate) async fn run(&self, operation: Operation, turn: Duration) -> Result<Turn> {
        let callers = (0..self.count).map(|number| Caller {
            operation,
            channel: self.channels[number % CHANNELS].clone(),
            others: self.loaded.others(),
            tokens: self.loaded.tokens(),
        });
        turn::take(&self.meter, turn, callers.collect()).await
    }

    /// Returns the meter of the build.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Reads the newest page of the measured person `times` times with one caller, and returns the median duration.
    pub(crate) async fn pages(&self, times: usize) -> Result<Duration> {
        let person = self.loaded.measured();
        let client = self.channels[0].with_token(&self.loaded.tokens()[&person])?;
        let mut durations = Vec::with_capacity(times);
        for _ in 0..times {
            let start = Instant::now();
            call(&client, Operation::List, person).await?;
            durations.push(start.elapsed());
        }
        durations.sort();
        Ok(durations[times / 2])
    }
}

impl turn::Caller for Caller {
    async fn call(&mut self) -> Result<u64> {
        let person = rand::random_range(self.others.clone());
        let client = self.channel.with_token(&self.tokens[&person])?;
        call(&client, self.operation, person)
            .await
            .context(self.operation.name())?;
        Ok(1)
    }
}

/// Makes one call, and fails if the response is incomplete.
async fn call(client: &Client, operation: Operation, person: u32) -> Result<()> {
    let mut client = client.conversation();
    let complete = match operation {
        Operation::Append => {
            let request = AppendMessageRequest {
                sender_type: SenderType::User.into(),
                text: words(TYPICAL_LENGTH).to_owned(),
                message_id: String::new(),
                request_id: random::uuid().to_string(),
            };
            let response = client.append_message(request).await?.into_inner();
            // The transaction of pgbench stores no crisis event either.
            response.message.is_some() && response.crisis.is_none()
        }
        Operation::Get => {
            let message_id = message_id(person, rand::random_range(1..=MESSAGES)).to_string();
            let response = client.get_message(GetMessageRequest { message_id }).await?;
            response.get_ref().message.is_some()
        }
        Operation::List => {
            let request = ListMessagesRequest {
                page_size: PAGE as i32,
                order: MessageOrder::NewestFirst.into(),
                ..ListMessagesRequest::default()
            };
            client.list_messages(request).await?.get_ref().messages.len() == PAGE
        }
    };
    ensure!(complete, "the response is incomplete");
    Ok(())
}
