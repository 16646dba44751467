//! What the clients find: a person with two hundred long messages and a crisis event, and the certificate of a backend.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use haven_proto::{
    data::v1::{AppendMessageRequest, ListMessagesRequest, MessageOrder, SenderType},
    identity::v1::RefreshSessionRequest,
};
use haven_testkit::{Person, Stack, random, service_config, workspace};

/// Variables of the environment of a client.
pub(crate) type Environment = Vec<(&'static str, String)>;

/// The messages of one page of the largest size: 1.2 MB.
const MESSAGES: usize = 200;

/// The text of each message: the most characters that one may have, of three bytes each.
const CHARACTERS: usize = 2000;

/// A text in which the detector finds a crisis.
const ALARMING: &str = "I want to kill myself";

/// The person as whom the clients call.
pub(crate) struct Fixture {
    person: Person,
}

impl Fixture {
    /// Signs the person up, and stores the messages and the event.
    pub(crate) async fn new(stack: &Stack) -> Result<Self> {
        let fixture = Self {
            person: stack.person().await?,
        };
        let text = "火".repeat(CHARACTERS);
        for _ in 0..MESSAGES {
            fixture.say(stack, &text).await?;
        }
        // Detection does not wait long for a core.
        for _ in 0..100 {
            if fixture.say(stack, ALARMING).await? {
                return Ok(fixture);
            }
        }
        bail!("the detector found no crisis in a hundred messages");
    }

    /// Appends a message, and returns whether it is a sign of a crisis.
    async fn say(&self, stack: &Stack, text: &str) -> Result<bool> {
        let request = AppendMessageRequest {
            sender_type: SenderType::User.into(),
            text: text.to_owned(),
            message_id: String::new(),
            request_id: random::uuid().to_string(),
        };
        let mut conversation = stack.user(&self.person)?.conversation();
        let mut answer = conversation.append_message(request.clone()).await;
        // The account may be unknown to data for a moment.
        for _ in 0..20 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            answer = conversation.append_message(request.clone()).await;
        }
        Ok(answer.context("AppendMessage")?.into_inner().crisis.is_some())
    }

    /// Gets a new access token, which is valid for 15 minutes.
    pub(crate) async fn refresh(&mut self, stack: &Stack) -> Result<()> {
        let request = RefreshSessionRequest {
            refresh_token: self.person.refresh_token.clone(),
        };
        let answer = stack.anonymous()?.session().refresh_session(request).await;
        let answer = answer.context("RefreshSession")?.into_inner();
        self.person.token = answer.access_token;
        self.person.refresh_token = answer.refresh_token;
        Ok(())
    }

    /// Returns the number of the person's newest message.
    pub(crate) async fn newest(&self, stack: &Stack) -> Result<i64> {
        let request = ListMessagesRequest {
            page_size: 1,
            order: MessageOrder::NewestFirst.into(),
            ..ListMessagesRequest::default()
        };
        let answer = stack
            .user(&self.person)?
            .conversation()
            .list_messages(request)
            .await?;
        Ok(answer
            .into_inner()
            .messages
            .first()
            .map_or(0, |message| message.number))
    }

    /// Returns the variables that each client gets.
    pub(crate) fn environment(&self, stack: &Stack) -> Environment {
        let backend = stack.certificates.leaf("backend");
        let path = |path: PathBuf| path.display().to_string();
        vec![
            (
                "HAVEN_IDENTITY",
                format!("localhost:{}", stack.identity.listeners.api),
            ),
            ("HAVEN_DATA", format!("localhost:{}", stack.data.listeners.api)),
            ("HAVEN_CA", path(stack.certificates.authority())),
            ("HAVEN_CERTIFICATE", path(backend.certificate)),
            ("HAVEN_KEY", path(backend.key)),
            ("HAVEN_SERVICE_CONFIG", path(service_config::path())),
            ("HAVEN_PROTO", path(workspace::root().join("proto"))),
            ("HAVEN_TOKEN", self.person.token.clone()),
            ("HAVEN_EMAIL", self.person.email.clone()),
            ("HAVEN_PASSWORD", self.person.password.clone()),
        ]
    }
}
