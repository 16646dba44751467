//! What must not be: in fields, in tokens, in bytes and on sockets. Each is answered as clearly as it can be, and the
//! service goes on.

mod access_tokens;
mod fields;
mod malformed_messages;
mod page_tokens;
mod sockets;

use std::time::Duration;

use haven_proto::{data::v1::ListMessagesRequest, identity::v1::GetSigningKeysRequest};
use haven_testkit::{Client, Person, Stack, service::health_channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// How long good calls may take: less than a client may take to shake hands, so that nobody waits for that.
const LONG_TIMEOUT: Duration = Duration::from_secs(8);

/// Both services, and a person whose calls go well.
struct Served {
    stack: Stack,
    person: Person,
    /// The person, through a service on the list: admitted to every RPC.
    everybody: Client,
}

impl Served {
    async fn start() -> Self {
        let stack = Stack::start().await.unwrap();
        let person = stack.person().await.unwrap();
        let everybody = stack
            .service("backend")
            .unwrap()
            .with_token(&person.token)
            .unwrap();
        Self {
            stack,
            person,
            everybody,
        }
    }

    /// Panics unless both services serve as if nothing had happened, to those who were connected and to those who come.
    async fn go_on(&self, after: &str) {
        let serve = tokio::time::timeout(LONG_TIMEOUT, self.serve(after));
        serve
            .await
            .unwrap_or_else(|_| panic!("nobody is served after {after}"));
    }

    async fn serve(&self, after: &str) {
        for client in [&self.everybody, &self.stack.user(&self.person).unwrap()] {
            let listed = client
                .conversation()
                .list_messages(ListMessagesRequest::default())
                .await;
            listed.unwrap_or_else(|status| panic!("data, after {after}: {status:?}"));
            let asked = client.session().get_signing_keys(GetSigningKeysRequest {}).await;
            asked.unwrap_or_else(|status| panic!("identity, after {after}: {status:?}"));
        }
        for (service, name) in [
            (&self.stack.identity, "haven.identity.v1.AccountService"),
            (&self.stack.data, "haven.data.v1.ConversationService"),
        ] {
            let check = || HealthCheckRequest { service: name.into() };
            let on_api_port = self.everybody.health(service.name).check(check()).await.unwrap();
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
