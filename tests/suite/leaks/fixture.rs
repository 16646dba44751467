//! A stack that logs as much as it can, people with canaries for their private values, and every answer that was
//! received.

use std::{fs, path::PathBuf, sync::Mutex};

use haven_proto::{
    data::v1::{AppendMessageRequest, JobLease, SenderType},
    identity::v1::ListConsentsRequest,
};
use haven_testkit::{
    Client, Person, Stack, database::Database, environment::Variables, installation::Installation, random,
    stack::Builder, template::TestCluster,
};
use tonic::{Response, Status, metadata::MetadataMap};

use super::canary::{Allowed, Canary, Flock};
use crate::{
    analysis_jobs,
    crisis_message::{ALARMING, say_until_heard},
    encrypted_fixture::EncryptedFixture,
    every_rpc::{self, RecoveryTokens},
};

/// The table of accounts, which stores their email addresses.
pub(super) const ACCOUNTS: &str = "identity.users";

/// The table of recovery tokens, which stores the addresses that accounts are to get, or may get back.
pub(super) const RECOVERY: &str = "identity.recovery_tokens";

/// Both services at their most verbose log filter, one person with a canary for each private value, and the answers so
/// far.
pub(crate) struct Fixture {
    pub(crate) stack: Stack,
    pub(super) flock: Flock,
    pub(super) person: Person,
    pub(super) message_id: String,
    pub(super) consent_id: String,
    /// The ids of a message in which the person says that they are in danger, and of its crisis event.
    pub(super) crisis: (String, String),
    /// The leases of three jobs: the first two are completed, the third is failed.
    pub(super) leases: [JobLease; 3],
    /// The id of a dead job.
    pub(super) dead_job: String,
    /// The ids of two analyses: the first is read, the second is deleted.
    pub(super) analyses: [String; 2],
    /// Data that only the person's devices can decrypt.
    pub(super) encrypted: EncryptedFixture,
    /// The tokens of the person that changes the address, and of the one that recovers otherwise.
    pub(super) recovery: Vec<RecoveryTokens>,
    disposable: Vec<Person>,
    /// Postgres's own log, and its length in bytes before the test.
    pub(super) postgres_log: (PathBuf, usize),
    /// The database `postgres` of the stack's cluster.
    pub(super) maintenance: Database,
    /// `true` on a cluster with the configuration files of production, where no error of a service is logged.
    pub(super) is_production: bool,
    pub(super) answers: Mutex<String>,
    /// The metrics pages of processes that have ended since.
    pub(super) metrics: String,
}

/// The caller of an RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Anonymous,
    Person,
    Service,
    /// A person that the call leaves in another state.
    Disposable(Disposable),
}

/// A person of their own for each call that changes its caller, by that call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposable {
    ChangesPassword,
    DeletesAccount,
    RefreshesSession,
    RevokesSession,
    SignsOut,
    ChangesEmail,
    Recovers,
}

impl Fixture {
    /// Starts the stack on the shared cluster, and creates everything as [`Fixture::of`] does.
    pub(super) async fn start() -> Self {
        let cluster = TestCluster::shared().await.unwrap();
        let postgres_log = cluster.cluster.log();
        let before = fs::metadata(&postgres_log).unwrap().len() as usize;
        // pg_stat_statements keeps 5,000 entries, and those of earlier tests would take them.
        let reset = "SELECT pg_stat_statements_reset()";
        cluster.maintenance().run("postgres", reset).await.unwrap();
        let stack = verbose().start().await.unwrap();
        let fixture = Self::of(stack, cluster.maintenance()).await;
        Self {
            postgres_log: (postgres_log, before),
            ..fixture
        }
    }

    /// Does the same on a cluster of its own, with the configuration files of production. All of its log is searched.
    pub(super) async fn start_in_production(installation: Installation) -> Self {
        let stack = verbose().production_cluster(installation).start().await.unwrap();
        let own = stack.own_cluster().unwrap();
        let (maintenance, log) = (own.maintenance(), own.cluster.log());
        let fixture = Self::of(stack, maintenance).await;
        Self {
            postgres_log: (log, 0),
            is_production: true,
            ..fixture
        }
    }

    /// Creates the people and everything that requests refer to on `stack`, which has no analyses yet. `maintenance` is the
    /// database `postgres` of its cluster.
    pub(crate) async fn of(stack: Stack, maintenance: Database) -> Self {
        let flock = Flock::default();
        for service in [&stack.identity, &stack.data] {
            add_secrets(service.name, &service.variables, &flock);
        }
        // CreateEmailChange keeps the address for an undo.
        let email = flock.allowed(
            "the person's email address",
            Allowed::Surely(&[ACCOUNTS, RECOVERY]),
        );
        let password = flock.canary("the person's password");
        let anonymous = stack.anonymous().unwrap();
        let signed_in = anonymous
            .sign_up_and_in(&email.email(), &password.password())
            .await;
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
        let (_, danger, finding) = say_until_heard(&ada, &format!("{danger}. {ALARMING}.")).await;
        let analyses = [
            analysis_jobs::done(&stack, &ada).await,
            analysis_jobs::done(&stack, &ada).await,
        ];
        let dead_job = analysis_jobs::dead(&stack, &ada).await;
        let failed = analysis_jobs::leased(&stack, &ada).await;
        // A person has at most one open requested job, so the other leases are on other people's.
        let mut leases = Vec::new();
        for _ in 0..2 {
            let other = stack.person().await.unwrap();
            leases.push(analysis_jobs::leased(&stack, &stack.user(&other).unwrap()).await);
        }
        leases.push(failed);
        for lease in &leases {
            flock.given("a lease token", Allowed::Nowhere, &lease.lease_token);
        }
        let text = |what: &str| flock.canary(what).text();
        let encrypted = EncryptedFixture::of(&stack, person.clone(), &text).await;
        for token in encrypted.tokens() {
            flock.given("a share's token", Allowed::Nowhere, token);
        }
        let mut disposable = Vec::new();
        for purpose in [
            Disposable::ChangesPassword,
            Disposable::DeletesAccount,
            Disposable::RefreshesSession,
            Disposable::RevokesSession,
            Disposable::SignsOut,
            Disposable::ChangesEmail,
            Disposable::Recovers,
        ] {
            // Nothing remains of a deleted account.
            let allowed = match purpose {
                Disposable::DeletesAccount => Allowed::Nowhere,
                _ => Allowed::Surely(&[ACCOUNTS]),
            };
            let email = flock.allowed(&format!("{purpose:?}: email"), allowed);
            let password = flock.canary(&format!("{purpose:?}: password"));
            let person = anonymous
                .sign_up_and_in(&email.email(), &password.password())
                .await;
            let mut person = person.unwrap();
            if purpose == Disposable::RevokesSession {
                // The caller's session revokes another one, and continues.
                let revoked = person.session_id;
                person = anonymous.sign_in(&person.email, &person.password).await.unwrap();
                person.session_id = revoked;
            }
            for part in person.token.split('.').skip(1) {
                flock.given(
                    &format!("{purpose:?}: a part of the token"),
                    Allowed::Nowhere,
                    part,
                );
            }
            let token = &person.refresh_token;
            flock.given(&format!("{purpose:?}: refresh token"), Allowed::Nowhere, token);
            disposable.push(person);
        }
        let mut recovery = Vec::new();
        for (person, purpose) in disposable[Disposable::ChangesEmail as usize..]
            .iter()
            .zip(["ChangesEmail", "Recovers"])
        {
            let email = flock.allowed(
                &format!("{purpose}: new email"),
                Allowed::At(&[ACCOUNTS, RECOVERY]),
            );
            let tokens = RecoveryTokens::create(&stack, person, email.email()).await;
            for token in [&tokens.reset, &tokens.verification, &tokens.change, &tokens.undo] {
                flock.given(&format!("{purpose}: recovery token"), Allowed::Nowhere, token);
            }
            recovery.push(tokens);
        }
        Self {
            recovery,
            consent_id: consents.unwrap().into_inner().consents[0].id.clone(),
            crisis: (danger.id, finding.event_id),
            leases: leases.try_into().unwrap(),
            dead_job,
            analyses,
            encrypted,
            disposable,
            message_id: stored.into_inner().message.unwrap().id,
            stack,
            flock,
            person,
            postgres_log: (PathBuf::new(), 0),
            maintenance,
            is_production: false,
            answers: Mutex::default(),
            metrics: String::new(),
        }
    }

    /// Returns the person that exists for one call.
    pub(super) fn disposable(&self, purpose: Disposable) -> &Person {
        &self.disposable[purpose as usize]
    }

    /// Returns a client of `caller`.
    pub(super) fn client(&self, caller: Caller) -> Client {
        match caller {
            Caller::Anonymous => self.stack.anonymous(),
            Caller::Person => self.stack.user(&self.person),
            Caller::Service => self.stack.service("backend"),
            Caller::Disposable(purpose) => self.stack.user(self.disposable(purpose)),
        }
        .unwrap()
    }

    /// Calls `path` of `server` with `body`; neither has to be valid. Keeps the answer for the search.
    pub(crate) async fn send(
        &self,
        server: &str,
        caller: Caller,
        path: &str,
        headers: MetadataMap,
        body: Vec<u8>,
    ) -> Result<(), Status> {
        let client = match caller {
            Caller::Service => self.stack.service(every_rpc::service_of(path)).unwrap(),
            _ => self.client(caller),
        };
        self.keep(every_rpc::call(&client, server, path, headers, body).await)
    }

    /// Keeps an outcome for the search: all of a status, and the headers of an answer.
    pub(super) fn keep<T>(&self, outcome: Result<Response<T>, Status>) -> Result<(), Status> {
        let (text, outcome) = match outcome {
            Ok(answer) => (format!("{:?}", answer.metadata()), Ok(())),
            Err(status) => {
                let details = String::from_utf8_lossy(status.details()).into_owned();
                (format!("{status:?} {} {details}", status.message()), Err(status))
            }
        };
        *self.answers.lock().unwrap() += &format!("{text}\n");
        outcome
    }
}

/// Returns a builder of a stack that logs as much as it can.
fn verbose() -> Builder {
    Stack::builder()
        .variable("identity", "LOG_FILTER", "trace")
        .variable("data", "LOG_FILTER", "trace")
        // Each format writes values in its own way.
        .variable("data", "LOG_FORMAT", "pretty")
}

/// Returns a request with a canary as its text.
pub(super) fn message(text: &Canary) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.text(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Adds the keys and passwords in a service's configuration to the values that must be found nowhere.
fn add_secrets(service: &str, variables: &Variables, flock: &Flock) {
    let add = |name: &str, secret: &str| {
        flock.given(&format!("{service}'s {name}"), Allowed::Nowhere, secret);
    };
    for name in ["DATABASE_URL", "WORKER_DATABASE_URL"] {
        let (_, rest) = variables[name].split_once("://").unwrap();
        let (_, password) = rest.split_once('@').unwrap().0.split_once(':').unwrap();
        add(name, password);
    }
    for name in ["SECRET_KEY", "PEPPERS", "MESSAGE_KEYS"] {
        for key in variables.get(name).iter().flat_map(|keys| keys.split(',')) {
            add(name, key.split_once(':').unwrap().1);
        }
    }
    for name in ["TLS_KEY_FILE", "SIGNING_KEY_FILES"] {
        if let Some(file) = variables.get(name) {
            let pem = fs::read_to_string(file).unwrap();
            // The first line of the base64 is the same for every key of its kind; the second belongs to the key.
            add(name, pem.lines().nth(2).unwrap());
        }
    }
}
