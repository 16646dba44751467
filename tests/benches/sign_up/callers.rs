//! People who sign up, and people who sign in.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use haven_proto::identity::v1::SignInRequest;
use haven_testkit::{Client, client::sign_up_request, random};

use super::measure::{
    CHANNELS,
    build::Build,
    cpu::Meter,
    turn::{self, Turn},
};

/// The password of everyone.
const PASSWORD: &str = "Correct-Horse-7-Battery";

/// A measured RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    SignUp,
    SignIn,
}

/// The connections of the callers to one build.
pub(crate) struct Callers {
    channels: Vec<Client>,
    count: usize,
    /// The email addresses of people who have an account.
    people: Arc<Vec<String>>,
    meter: Meter,
}

/// A caller, who signs up one new person after the other, or signs in one of the people after the other.
struct Caller {
    operation: Operation,
    client: Client,
    people: Arc<Vec<String>>,
}

impl Operation {
    /// All operations.
    pub(crate) const ALL: [Self; 2] = [Self::SignUp, Self::SignIn];

    /// Returns the name of the RPC.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SignUp => "SignUp",
            Self::SignIn => "SignIn",
        }
    }
}

/// Signs up `count` people, and returns their email addresses.
pub(crate) async fn people(build: Build<'_>, count: u32) -> Result<Arc<Vec<String>>> {
    let account = build.anonymous()?.account();
    let mut people = Vec::new();
    for _ in 0..count {
        let email = new_email();
        let request = sign_up_request(&email, PASSWORD);
        account.clone().sign_up(request).await.context("SignUp")?;
        people.push(email);
    }
    Ok(Arc::new(people))
}

impl Callers {
    /// Creates [`CHANNELS`] connections for `count` callers, which connect on the first call.
    pub(crate) fn new(build: Build<'_>, count: usize, people: &Arc<Vec<String>>) -> Result<Self> {
        let channels = (0..CHANNELS).map(|_| build.anonymous());
        Ok(Self {
            channels: channels.collect::<Result<_>>()?,
            count,
            people: Arc::clone(people),
            // A sign-up reaches both services.
            meter: Meter::new(build.stack, &[build.identity, build.data])?,
        })
    }

    /// Returns the meter of the build.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Makes as many calls as possible within `turn`.
    pub(crate) async fn run(&self, operation: Operation, turn: Duration) -> Result<Turn> {
        let callers = (0..self.count).map(|number| Caller {
            operation,
            client: self.channels[number % CHANNELS].clone(),
            people: Arc::clone(&self.people),
        });
        turn::take(&self.meter, turn, callers.collect()).await
    }
}

impl turn::Caller for Caller {
    async fn call(&mut self) -> Result<u64> {
        match self.operation {
            Operation::SignUp => {
                let request = sign_up_request(&new_email(), PASSWORD);
                self.client.account().sign_up(request).await.context("SignUp")?;
            }
            Operation::SignIn => {
                let email = &self.people[rand::random_range(0..self.people.len())];
                let request = SignInRequest {
                    email: email.clone(),
                    password: PASSWORD.to_owned(),
                    request_id: random::uuid().to_string(),
                    ..SignInRequest::default()
                };
                self.client.session().sign_in(request).await.context("SignIn")?;
            }
        }
        Ok(1)
    }
}

fn new_email() -> String {
    format!("{}@example.org", random::uuid())
}
