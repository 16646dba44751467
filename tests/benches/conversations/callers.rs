//! Those who call the service.

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
    operation::{Operation, PAGE},
    world::{MESSAGES, TYPICAL, World, message_id, words},
};

/// How many calls are under way at once, on how many connections: enough for the service to be at work all the time.
const CALLERS: usize = 32;
const CHANNELS: usize = 4;

/// Callers of one world.
pub(crate) struct Callers<'a> {
    world: &'a World,
    channels: Vec<Client>,
}

/// What a turn came to.
pub(crate) struct Turn {
    /// Calls a second.
    pub(crate) rate: f64,
    /// How long each took, from the shortest on.
    took: Vec<Duration>,
}

impl<'a> Callers<'a> {
    pub(crate) fn new(world: &'a World) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| world.stack.anonymous());
        Ok(Self {
            world,
            channels: channels.collect::<Result<_>>()?,
        })
    }

    /// As many calls as can be made in a `turn`, each for any one of the others.
    pub(crate) async fn run(&self, operation: Operation, turn: Duration) -> Result<Turn> {
        let begin = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let channel = self.channels[number % CHANNELS].clone();
                let (others, tokens) = (self.world.others(), self.world.tokens());
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while begin.elapsed() < turn {
                        let person = rand::random_range(others.clone());
                        let client = channel.with_token(&tokens[&person])?.conversation();
                        let start = Instant::now();
                        call(client, operation, person).await?;
                        took.push(start.elapsed());
                    }
                    anyhow::Ok(took)
                })
            })
            .collect();
        let mut took = Vec::new();
        for caller in callers {
            took.extend(caller.await?.with_context(|| operation.to_string())?);
        }
        let elapsed = begin.elapsed().as_secs_f64();
        ensure!(!took.is_empty(), "nobody got an answer");
        took.sort();
        Ok(Turn {
            rate: took.len() as f64 / elapsed,
            took,
        })
    }

    /// One caller reads the newest page of the one person who is in every world, so many times: the median.
    pub(crate) async fn pages(&self, times: usize) -> Result<Duration> {
        let person = self.world.measured();
        let client = self.channels[0].with_token(&self.world.tokens()[&person])?;
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            let start = Instant::now();
            call(client.conversation(), Operation::List, person).await?;
            took.push(start.elapsed());
        }
        took.sort();
        Ok(took[times / 2])
    }
}

impl Turn {
    /// In milliseconds, what so many in a hundred calls took at most.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.took.len() * percent / 100).min(self.took.len() - 1);
        self.took[place].as_secs_f64() * 1000.0
    }
}

async fn call(
    mut client: ConversationServiceClient<Connection>,
    operation: Operation,
    person: u32,
) -> Result<(), Status> {
    let complete = match operation {
        Operation::Append => {
            let request = AppendMessageRequest {
                sender_type: SenderType::User.into(),
                text: words(TYPICAL).to_owned(),
                message_id: String::new(),
                request_id: random::uuid().to_string(),
            };
            let answer = client.append_message(request).await?.into_inner();
            // pgbench's transaction stores no finding either.
            answer.message.is_some() && answer.crisis.is_none()
        }
        Operation::Get => {
            let message_id = message_id(person, rand::random_range(1..=MESSAGES)).to_string();
            let answer = client.get_message(GetMessageRequest { message_id }).await?;
            answer.get_ref().message.is_some()
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
        false => Err(Status::data_loss("not all of the answer")),
    }
}
