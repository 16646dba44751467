//! Who calls: the access token of a person, and the certificate of a service.

use std::env;

use anyhow::Result;
use clap::Args;
use haven_proto::identity::v1::{RefreshSessionRequest, SignInRequest};
use haven_testkit::{Client, random};
use tonic::{Code, Status};

use super::failure::{FailedCall, Usage};
use crate::people::{People, Session};

/// The names with a client certificate. Haven does not admit `stranger`.
const SERVICES: [&str; 5] = ["backend", "worker", "identity", "data", "stranger"];

/// The environment variable with a person's password.
const PASSWORD: &str = "HAVEN_PASSWORD";

/// The caller of an RPC.
#[derive(Args)]
#[command(next_help_heading = "Caller, anonymous by default")]
pub(crate) struct Caller {
    /// Call as the person with this email address, and sign in if needed
    ///
    /// The session is kept, and is renewed when its token expires. `cargo dev` knows the passwords of people that `seed`,
    /// `tour` and `call SignUp` have created; for other people a password is needed once.
    #[arg(long = "as", value_name = "EMAIL")]
    pub(crate) person: Option<String>,
    /// The password of the person, if it is not known or has changed; also read from HAVEN_PASSWORD, if it is not known
    #[arg(long, requires = "person")]
    password: Option<String>,
    /// Call as a service, with its client certificate; with --as, the service calls for the person
    #[arg(long, value_name = "NAME", value_parser = SERVICES)]
    pub(crate) service: Option<String>,
}

impl Caller {
    /// Returns an access token of the person, and whether it comes from a session that a command has kept. `None` without
    /// a person.
    pub(crate) async fn token(&self, people: &People, anonymous: &Client) -> Result<Option<(String, bool)>> {
        let Some(email) = &self.person else {
            return Ok(None);
        };
        let known = people.find(email)?;
        // Another password than the known one is tried: it may be the new one, or a wrong one.
        let is_new = self.password.is_some() && self.password != known.password;
        let kept = known.session.filter(|_| !is_new);
        match kept {
            Some(session) if session.is_current() => Ok(Some((session.access_token, true))),
            Some(session) => match refresh(anonymous, session).await {
                Ok(session) => {
                    people.sign_in(email, Some(session.clone()))?;
                    Ok(Some((session.access_token, true)))
                }
                // The session has ended, or its token is no longer one of this installation.
                Err(status) if matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument) => {
                    Ok(Some((self.sign_in(people, anonymous).await?, false)))
                }
                Err(status) => Err(failed("RefreshSession", status)),
            },
            None => Ok(Some((self.sign_in(people, anonymous).await?, false))),
        }
    }

    /// Signs the person in, and returns the access token.
    pub(crate) async fn sign_in(&self, people: &People, anonymous: &Client) -> Result<String> {
        let email = self.person.clone().unwrap_or_default();
        let known = people.find(&email)?.password;
        let variable = || env::var(PASSWORD).ok().filter(|password| !password.is_empty());
        let Some(password) = self.password.clone().or(known).or_else(variable) else {
            return Err(unknown_password(people, &email));
        };
        let request = SignInRequest {
            email: email.clone(),
            password: password.clone(),
            request_id: random::uuid().to_string(),
            ..SignInRequest::default()
        };
        let response = anonymous.session().sign_in(request).await;
        let response = response.map_err(|status| failed("SignIn", status))?.into_inner();
        let session = Session::new(
            response.access_token.clone(),
            response.access_token_expire_time,
            response.refresh_token,
        );
        people.remember([(email.as_str(), password.as_str())])?;
        people.sign_in(&email, Some(session))?;
        Ok(response.access_token)
    }
}

/// Exchanges the tokens of a session for new ones.
async fn refresh(anonymous: &Client, session: Session) -> Result<Session, Status> {
    let request = RefreshSessionRequest {
        refresh_token: session.refresh_token,
    };
    let response = anonymous.session().refresh_session(request).await?.into_inner();
    Ok(Session::new(
        response.access_token,
        response.access_token_expire_time,
        response.refresh_token,
    ))
}

fn failed(rpc: &str, status: Status) -> anyhow::Error {
    let rpc = format!("SessionService/{rpc}");
    FailedCall { rpc, status }.into()
}

fn unknown_password(people: &People, email: &str) -> anyhow::Error {
    let known = people.emails().unwrap_or_default();
    let hint = match known.first() {
        Some(first) => format!(
            "known are the passwords of {} people, for example of {first}",
            known.len()
        ),
        None => "`cargo dev seed` creates people with known passwords".to_owned(),
    };
    Usage::error(format!(
        "the password of {email} is not known: give it once, with --password or in {PASSWORD} ({hint})"
    ))
}
