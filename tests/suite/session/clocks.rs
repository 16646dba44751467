//! Replicas of identity with clocks that differ: the grace period of a refresh token and the leases of messages go by the clock of
//! Postgres.

use std::time::Duration;

use haven_testkit::{Client, Person, Stack, package::Package, port::Port, random, service::Service};

use super::{refresh, refused, sessions};
use crate::{
    eventually::eventually,
    packages,
    replica::replica_ahead,
    superuser_sql::{execute, scalar, scalar_with},
};

/// The package with the library that shifts the clock of a process.
const FAKETIME: [&str; 1] = ["libfaketime"];

/// A stack with another replica of identity.
struct Replicas {
    stack: Stack,
    other: Service,
    _ports: [Port; 3],
}

impl Replicas {
    /// Starts both. The clock of the other replica is `seconds` ahead, or behind when the number is negative.
    async fn start(faketime: &Package, seconds: i32) -> Self {
        let stack = Stack::start().await.unwrap();
        let ports = [(); 3].map(|()| Port::reserve().unwrap());
        let other = replica_ahead(&stack.identity, &ports, faketime, seconds).await;
        Self {
            stack,
            other,
            _ports: ports,
        }
    }

    /// Returns anonymous clients of the stack's own replica and of the other one.
    fn clients(&self) -> [Client; 2] {
        let (stack, other) = (&self.stack, &self.other);
        let client = Client::new(&stack.certificates, None, other.listeners, stack.data.listeners);
        [stack.anonymous().unwrap(), client.unwrap()]
    }
}

#[tokio::test]
async fn a_retried_refresh_at_a_replica_with_another_clock_gets_the_same_successor() {
    let Some(faketime) = packages::require(&FAKETIME) else {
        return;
    };
    let both = Replicas::start(&faketime, 11).await;
    let [own, other] = both.clients();
    let ada = both.stack.person().await.unwrap();
    let answer = refresh(&own, &ada.refresh_token).await.unwrap();
    let again = refresh(&other, &ada.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, answer.refresh_token);
    // And the other way around.
    let answer = refresh(&other, &answer.refresh_token).await.unwrap();
    let again = refresh(&own, &again.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, answer.refresh_token);
    sessions(&both.stack, &again.access_token).await.unwrap();
}

#[tokio::test]
async fn a_reused_token_ends_its_session_also_at_a_replica_with_a_clock_that_is_behind() {
    let Some(faketime) = packages::require(&FAKETIME) else {
        return;
    };
    let both = Replicas::start(&faketime, -60).await;
    let [own, other] = both.clients();
    let ada = both.stack.person().await.unwrap();
    let answer = refresh(&own, &ada.refresh_token).await.unwrap();
    let age = format!(
        "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '1 minute',
            used_at = used_at - interval '11 seconds' WHERE user_id = '{}'",
        ada.id
    );
    execute(&both.stack.database, &age).await;
    assert_eq!(
        refused(refresh(&other, &ada.refresh_token).await),
        "SESSION_REVOKED"
    );
    assert_eq!(
        refused(refresh(&own, &answer.refresh_token).await),
        "SESSION_REVOKED"
    );
}

/// Stores a message to data, as a replica does that then dies: due in `delay`.
async fn leave_message(stack: &Stack, person: &Person, delay: &str) {
    let message = format!(
        "INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
         VALUES ('{}', '{}', 'provision_user', 1, now() + interval '{delay}', now())",
        person.id,
        random::uuid()
    );
    execute(&stack.database, &message).await;
}

/// Returns the attempts of the messages that are in the outbox.
async fn attempts(stack: &Stack) -> Vec<i32> {
    scalar(
        &stack.database,
        "SELECT coalesce(array_agg(attempts), '{}') FROM identity.outbox",
    )
    .await
}

#[tokio::test]
async fn a_replica_takes_a_message_when_its_lease_has_ended_by_the_clock_of_postgres() {
    let Some(faketime) = packages::require(&FAKETIME) else {
        return;
    };
    for seconds in [60, -600] {
        let mut both = Replicas::start(&faketime, seconds).await;
        let ada = both.stack.person().await.unwrap();
        let delivered = async || attempts(&both.stack).await.is_empty();
        eventually("the sign-up's message is delivered", delivered).await;
        both.stack.identity.stop();

        leave_message(&both.stack, &ada, "30 seconds").await;
        // Longer than two rounds of the outbox.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(
            attempts(&both.stack).await,
            [1],
            "{seconds}: the lease has not ended"
        );
        let end = "UPDATE identity.outbox SET next_attempt_at = now()";
        execute(&both.stack.database, end).await;
        let delivered = async || attempts(&both.stack).await.is_empty();
        eventually("the message is delivered", delivered).await;
    }
}

#[tokio::test]
async fn the_clock_of_a_replica_is_shifted_in_these_tests() {
    let Some(faketime) = packages::require(&FAKETIME) else {
        return;
    };
    let both = Replicas::start(&faketime, 60).await;
    let [own, other] = both.clients();
    for (client, range) in [(own, -30.0..30.0), (other, 30.0..90.0)] {
        let person = client.invent().await.unwrap();
        let sql = "SELECT extract(epoch FROM created_at - now())::float8 FROM identity.users WHERE id = $1";
        let lead: f64 = scalar_with(&both.stack.database, sql, person.id).await;
        assert!(range.contains(&lead), "{lead}");
    }
}
