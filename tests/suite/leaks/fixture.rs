//! A Haven that says as much as it can, and somebody who keeps what it answers.

use std::{fs, path::PathBuf, sync::Mutex};

use haven_proto::{
    data::v1::{AppendMessageRequest, JobLease, SenderType},
    identity::v1::ListConsentsRequest,
};
use haven_testkit::{Client, Person, Stack, environment::Variables, random, template::TestCluster};
use tonic::{Response, Status, metadata::MetadataMap};

use super::canary::{Allowed, Canary, Flock};
use crate::{
    analysis_jobs,
    crisis_message::{ALARMING, say_until_heard},
    encrypted_fixture::EncryptedFixture,
    permissions::streams,
    raw_call,
};

/// Where email addresses are kept, and nowhere else.
pub(super) const ACCOUNTS: &str = "identity.users";

/// Both services at their most talkative, one person with canaries for all that is private, and what was answered.
pub(super) struct World {
    pub(super) stack: Stack,
    pub(super) flock: Flock,
    pub(super) person: Person,
    pub(super) message_id: String,
    pub(super) consent_id: String,
    /// A message in which somebody is in danger, and the event of it.
    pub(super) crisis: (String, String),
    /// The leases of two jobs: one is completed, one is failed.
    pub(super) leases: [JobLease; 2],
    /// A job that was given up.
    pub(super) dead_job: String,
    /// Two analyses: one is read, one is deleted.
    pub(super) analyses: [String; 2],
    /// What only the person's devices can decrypt.
    pub(super) fixture: EncryptedFixture,
    guests: Vec<Person>,
    /// Postgres's own log, and how long it was before.
    pub(super) postgres_log: (PathBuf, usize),
    pub(super) answers: Mutex<String>,
    /// The metrics of processes that have ended since.
    pub(super) metrics: String,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Nobody,
    Person,
    Service,
    /// Somebody whom the call leaves in another state.
    Guest(Guest),
}

/// What is done to whom, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    ChangesPassword,
    Leaves,
    Refreshes,
    Revokes,
    SignsOut,
}

impl World {
    pub(super) async fn start() -> Self {
        let cluster = TestCluster::shared().await.unwrap();
        let postgres_log = cluster.cluster.log();
        let before = fs::metadata(&postgres_log).unwrap().len() as usize;
        // Statistics have 5,000 places, and those of many earlier tests would take them.
        let forget = "SELECT pg_stat_statements_reset()";
        cluster.maintenance().run("postgres", forget).await.unwrap();
        let stack = Stack::builder()
            .variable("identity", "LOG_FILTER", "trace")
            .variable("data", "LOG_FILTER", "trace")
            // Each format writes values in its own way.
            .variable("data", "LOG_FORMAT", "pretty")
            .start()
            .await
            .unwrap();
        let flock = Flock::default();
        for service in [&stack.identity, &stack.data] {
            keep_secrets(service.name, &service.variables, &flock);
        }
        let email = flock.allowed("the person's email address", Allowed::Surely(&[ACCOUNTS]));
        let password = flock.canary("the person's password");
        let nobody = stack.anonymous().unwrap();
        let signed_in = nobody.sign_up_and_in(&email.email(), &password.password()).await;
        let person = signed_in.unwrap();
        for part in person.token.split('.').skip(1) {
            flock.given("a part of the person's token", Allowed::Nowhere, part);
        }
        let text = flock.canary("the person's first message");
        let mut conversation = stack.user(&person).unwrap().conversation();
        let stored = conversation.append_message(message(&text)).await.unwrap();
        let consents = stack
            .user(&person)
            .unwrap()
            .account()
            .list_consents(ListConsentsRequest::default())
            .await;
        let ada = stack.user(&person).unwrap();
        let danger = flock.canary("the person's message in danger").text();
        let (_, danger, found) = say_until_heard(&ada, &format!("{danger}. {ALARMING}.")).await;
        let analyses = [
            analysis_jobs::done(&stack, &ada).await,
            analysis_jobs::done(&stack, &ada).await,
        ];
        let dead_job = analysis_jobs::dead(&stack, &ada).await;
        let failed = analysis_jobs::leased(&stack, &ada).await;
        // One that somebody asked for is open: another person's is the second.
        let other = stack.person().await.unwrap();
        let completed = analysis_jobs::leased(&stack, &stack.user(&other).unwrap()).await;
        for lease in [&completed, &failed] {
            let kept = Allowed::At(&["data.analysis_jobs"]);
            flock.given("a lease token", kept, &lease.lease_token);
        }
        let say = |what: &str| flock.canary(what).text();
        let fixture = EncryptedFixture::of(&stack, person.clone(), &say).await;
        for token in fixture.tokens() {
            flock.given("a share's token", Allowed::Nowhere, token);
        }
        let mut guests = Vec::new();
        for guest in [
            Guest::ChangesPassword,
            Guest::Leaves,
            Guest::Refreshes,
            Guest::Revokes,
            Guest::SignsOut,
        ] {
            // Of whoever leaves, nothing stays anywhere.
            let allowed = match guest {
                Guest::Leaves => Allowed::Nowhere,
                _ => Allowed::Surely(&[ACCOUNTS]),
            };
            let email = flock.allowed(&format!("{guest:?}: email"), allowed);
            let password = flock.canary(&format!("{guest:?}: password"));
            let person = nobody.sign_up_and_in(&email.email(), &password.password()).await;
            let mut person = person.unwrap();
            if guest == Guest::Revokes {
                // One session ends another, and goes on.
                let ends = person.session_id;
                person = nobody.sign_in(&person.email, &person.password).await.unwrap();
                person.session_id = ends;
            }
            for part in person.token.split('.').skip(1) {
                flock.given(&format!("{guest:?}: a part of the token"), Allowed::Nowhere, part);
            }
            let token = &person.refresh_token;
            flock.given(&format!("{guest:?}: refresh token"), Allowed::Nowhere, token);
            guests.push(person);
        }
        Self {
            consent_id: consents.unwrap().into_inner().consents[0].id.clone(),
            crisis: (danger.id, found.event_id),
            leases: [completed, failed],
            dead_job,
            analyses,
            fixture,
            guests,
            message_id: stored.into_inner().message.unwrap().id,
            stack,
            flock,
            person,
            postgres_log: (postgres_log, before),
            answers: Mutex::default(),
            metrics: String::new(),
        }
    }

    pub(super) fn guest(&self, guest: Guest) -> &Person {
        &self.guests[guest as usize]
    }

    pub(super) fn client(&self, who: Who) -> Client {
        match who {
            Who::Nobody => self.stack.anonymous(),
            Who::Person => self.stack.user(&self.person),
            Who::Service => self.stack.service("backend"),
            Who::Guest(guest) => self.stack.user(self.guest(guest)),
        }
        .unwrap()
    }

    /// Calls `path` of `service` with `body`, whatever they are, and keeps what came back.
    pub(super) async fn send(
        &self,
        service: &str,
        who: Who,
        path: &str,
        headers: MetadataMap,
        body: Vec<u8>,
    ) -> Result<(), Status> {
        let connection = self.client(who).connection(service);
        self.keep(match streams(path) {
            true => raw_call::first(connection, path, headers, body).await,
            false => raw_call::call(connection, path, headers, body).await,
        })
    }

    /// Keeps what came back for the search: all of a status, and the headers of an answer.
    pub(super) fn keep<T>(&self, outcome: Result<Response<T>, Status>) -> Result<(), Status> {
        let (said, outcome) = match outcome {
            Ok(answer) => (format!("{:?}", answer.metadata()), Ok(())),
            Err(status) => {
                let details = String::from_utf8_lossy(status.details()).into_owned();
                (format!("{status:?} {} {details}", status.message()), Err(status))
            }
        };
        *self.answers.lock().unwrap() += &format!("{said}\n");
        outcome
    }
}

/// A message whose text is a canary.
pub(super) fn message(text: &Canary) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.text(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// The keys and passwords that a service was given.
fn keep_secrets(service: &str, variables: &Variables, flock: &Flock) {
    let keep = |name: &str, secret: &str| {
        flock.given(&format!("{service}'s {name}"), Allowed::Nowhere, secret);
    };
    keep("SECRET_KEY", &variables["SECRET_KEY"]);
    for name in ["DATABASE_URL", "WORKER_DATABASE_URL"] {
        let (_, rest) = variables[name].split_once("://").unwrap();
        let (_, password) = rest.split_once('@').unwrap().0.split_once(':').unwrap();
        keep(name, password);
    }
    for name in ["PEPPERS", "MESSAGE_KEYS"] {
        for key in variables.get(name).iter().flat_map(|keys| keys.split(',')) {
            keep(name, key.split_once(':').unwrap().1);
        }
    }
    for name in ["TLS_KEY_FILE", "SIGNING_KEY_FILES"] {
        if let Some(file) = variables.get(name) {
            let pem = fs::read_to_string(file).unwrap();
            // The first line of its base64 begins as every key of its kind does; the second is the key's own.
            keep(name, pem.lines().nth(2).unwrap());
        }
    }
}
