//! Invalid input in fields, tokens, messages and on sockets: it gets a precise failure, and the services keep serving.

mod access_tokens;
mod compression_bombs;
mod fields;
mod large_headers;
mod malformed_messages;
mod page_tokens;
mod sockets;

use std::{ops::Deref, time::Duration};

use haven_proto::{data::v1::ListMessagesRequest, identity::v1::GetSigningKeysRequest};
use haven_testkit::{Client, Person, Stack, service::health_channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Limit for valid calls: shorter than the handshake timeout, so that they cannot have waited for one.
const LONG_TIMEOUT: Duration = Duration::from_secs(8);

/// Both services, and a person with valid calls.
struct Served {
    stack: TestStack,
    person: Person,
    /// Client of an allowed service with the person's token: it may call every RPC.
    client: Client,
}

/// Stack of a test alone, or the stack that tests share.
enum TestStack {
    Own(Box<Stack>),
    Shared(&'static Stack),
}

impl Served {
    /// Starts a stack of its own.
    async fn start() -> Self {
        let stack = Stack::start().await.unwrap();
        Self::new(TestStack::Own(Box::new(stack))).await
    }

    /// Uses the shared stack.
    async fn shared() -> Self {
        Self::new(TestStack::Shared(Stack::shared().await.unwrap())).await
    }

    async fn new(stack: TestStack) -> Self {
        let person = stack.person().await.unwrap();
        let client = stack
            .service("backend")
            .unwrap()
            .with_token(&person.token)
            .unwrap();
        Self {
            stack,
            person,
            client,
        }
    }

    /// Returns a client of the service that may call the RPC at `path`, with the person's token.
    fn client_of(&self, path: &str) -> Client {
        let service = self.stack.service(crate::every_rpc::service_of(path)).unwrap();
        service.with_token(&self.person.token).unwrap()
    }

    /// Panics unless both services serve valid calls in time, on open and on new connections.
    async fn still_serves(&self, after: &str) {
        let serve = tokio::time::timeout(LONG_TIMEOUT, self.serve(after));
        serve
            .await
            .unwrap_or_else(|_| panic!("valid calls are not served in time after {after}"));
    }

    /// Makes valid calls of both services, and asks both health services.
    async fn serve(&self, after: &str) {
        for client in [&self.client, &self.stack.user(&self.person).unwrap()] {
            let listed = client
                .conversation()
                .list_messages(ListMessagesRequest::default())
                .await;
            listed.unwrap_or_else(|status| panic!("data, after {after}: {status:?}"));
            let keys = client.session().get_signing_keys(GetSigningKeysRequest {}).await;
            keys.unwrap_or_else(|status| panic!("identity, after {after}: {status:?}"));
        }
        for (service, name) in [
            (&self.stack.identity, "haven.identity.v1.AccountService"),
            (&self.stack.data, "haven.data.v1.ConversationService"),
        ] {
            let check = || HealthCheckRequest { service: name.into() };
            let on_api_port = self.client.health(service.name).check(check()).await.unwrap();
            let health_port = health_channel(service.listeners.health).unwrap();
            let on_health_port = HealthClient::new(health_port).check(check()).await.unwrap();
            for answer in [on_api_port, on_health_port] {
                assert_eq!(
                    answer.into_inner().status(),
                    ServingStatus::Serving,
                    "{name}, after {after}"
                );
            }
        }
    }
}

impl Deref for TestStack {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        match self {
            Self::Own(stack) => stack,
            Self::Shared(stack) => stack,
        }
    }
}
