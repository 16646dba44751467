//! Concurrent callers of the service.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::{
    AppendMessageRequest, GetMessageRequest, ListMessagesRequest, MessageOrder, SenderType,
    conversation_service_client::ConversationServiceClient,
};
use haven_testkit::{
    client::{Client, Connection},
    random,
};
use tonic::Status;

use super::{
    loaded_stack::{LoadedStack, MESSAGES, TYPICAL_LENGTH, message_id, words},
    operation::{Operation, PAGE},
};

/// The number of concurrent callers. It is high enough to keep the service busy.
const CALLERS: usize = 32;
/// The number of connections that the callers share.
const CHANNELS: usize = 4;

/// The connections of the callers of one installation.
pub(crate) struct Callers<'a> {
    loaded: &'a LoadedStack,
    channels: Vec<Client>,
}

/// The result of a turn.
pub(crate) struct Turn {
    /// The calls per second.
    pub(crate) rate: f64,
    /// The duration of each call, in ascending order.
    durations: Vec<Duration>,
}

impl<'a> Callers<'a> {
    /// Creates [`CHANNELS`] connections, which connect on the first call.
    pub(crate) fn new(loaded: &'a LoadedStack) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| loaded.stack.anonymous());
        Ok(Self {
            loaded,
            channels: channels.collect::<Result<_>>()?,
        })
    }

    /// Makes as many calls as possible within `turn`, each for a random person other than the measured one.
    pub(crate) async fn run(&self, operation: Operation, turn: Duration) -> Result<Turn> {
        let begin = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let channel = self.channels[number % CHANNELS].clone();
                let (others, tokens) = (self.loaded.others(), self.loaded.tokens());
                tokio::spawn(async move {
                    let mut durations = Vec::new();
                    while begin.elapsed() < turn {
                        let person = rand::random_range(others.clone());
                        let client = channel.with_token(&tokens[&person])?.conversation();
                        let start = Instant::now();
                        call(client, operation, person).await?;
                        durations.push(start.elapsed());
                    }
                    anyhow::Ok(durations)
                })
            })
            .collect();
        let mut durations = Vec::new();
        for caller in callers {
            durations.extend(caller.await?.with_context(|| operation.to_string())?);
        }
        let elapsed = begin.elapsed().as_secs_f64();
        ensure!(!durations.is_empty(), "no call succeeded");
        durations.sort();
        Ok(Turn {
            rate: durations.len() as f64 / elapsed,
            durations,
        })
    }

    /// Reads the newest page of the measured person `times` times with one caller, and returns the median duration.
    pub(crate) async fn pages(&self, times: usize) -> Result<Duration> {
        let person = self.loaded.measured();
        let client = self.channels[0].with_token(&self.loaded.tokens()[&person])?;
        let mut durations = Vec::with_capacity(times);
        for _ in 0..times {
            let start = Instant::now();
            call(client.conversation(), Operation::List, person).await?;
            durations.push(start.elapsed());
        }
        durations.sort();
        Ok(durations[times / 2])
    }
}

impl Turn {
    /// Returns the given percentile of the durations, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let index = (self.durations.len() * percent / 100).min(self.durations.len() - 1);
        self.durations[index].as_secs_f64() * 1000.0
    }
}

/// Makes one call, and fails if the response is incomplete.
async fn call(
    mut client: ConversationServiceClient<Connection>,
    operation: Operation,
    person: u32,
) -> Result<(), Status> {
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
    match complete {
        true => Ok(()),
        false => Err(Status::data_loss("the response is incomplete")),
    }
}
