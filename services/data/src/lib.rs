//! Haven's data service: stores people's messages and analyses sealed at rest, and content that their devices encrypt.
//! Only the person can reach it.
//!
//! Three layers: [`domain`] has the types and rules, [`store`] the SQL, [`rpc`] the gRPC handlers. Beside them:
//!
//! - [`config`]: the service's own variables;
//! - [`crisis_detection`]: runs the crisis detector on messages;
//! - [`identity_client`]: caches the signing keys and ended sessions of identity;
//! - [`job_metrics`]: metrics of analysis jobs;
//! - [`keyed_mutex`]: a mutex for each key;
//! - [`lease_reaper`]: returns jobs with expired leases to the queue;
//! - [`notify`]: wakes calls that wait for new rows;
//! - [`passcodes`]: hashes the passcodes of shares;
//! - [`seal_rotation`]: reseals texts under a new key;
//! - [`sweeper`]: deletes expired rows.
//!
//! The server, authentication and database access are in [`haven_platform`].

pub mod config;
pub mod crisis_detection;
pub mod domain;
pub mod identity_client;
pub mod idle;
pub mod job_metrics;
pub mod keyed_mutex;
mod keys_command;
pub mod lease_reaper;
pub mod notify;
pub mod passcodes;
pub mod rpc;
pub mod seal_rotation;
mod share_hashes_command;
pub mod store;
pub mod sweeper;

use std::{error::Error, num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use clap::Subcommand;
use haven_platform::{
    application::{Application, CommandError, Inspection, Resources},
    client,
    config::{AuthMode, ConfigProblems},
    database::{Database, InspectionError, Listener, Migrations},
    grpc_server,
    hashing::{self, HashQueue},
    mac::MacKeys,
    page::PageTokens,
    server::ServerBuilder,
};
use haven_proto::{
    data::v1::{
        analysis_queue_service_server::AnalysisQueueServiceServer,
        analysis_service_server::AnalysisServiceServer,
        conversation_service_server::ConversationServiceServer, crisis_service_server::CrisisServiceServer,
        cycle_service_server::CycleServiceServer, device_service_server::DeviceServiceServer,
        person_service_server::PersonServiceServer, preferences_service_server::PreferencesServiceServer,
        share_service_server::ShareServiceServer,
    },
    identity::v1::session_service_client::SessionServiceClient,
};

use crate::{
    config::{DataArgs, DataConfig},
    crisis_detection::Detection,
    domain::{encrypted::share_token::TokenHashes, phrases::PhraseList},
    keyed_mutex::KeyedMutex,
    keys_command::KeysArgs,
    notify::{Notify, PersonNotify},
    passcodes::Passcodes,
    rpc::{
        analysis::AnalysisRpc,
        analysis_queue::AnalysisQueueRpc,
        conversation::ConversationRpc,
        crisis::CrisisRpc,
        encrypted::{cycle::CycleRpc, device::DeviceRpc, preferences::PreferencesRpc, share::ShareRpc},
        person::PersonRpc,
    },
    share_hashes_command::ShareHashesArgs,
    store::{
        analysis::Analyses,
        analysis_queue::Queue,
        conversation::Conversations,
        crisis::CrisisEvents,
        encrypted::{
            cycle::{Changes, Records},
            device::Devices,
            preferences::Preferences,
            share::Shares,
        },
        person::{People, export_data::Exports, list_audit_events::AuditLog},
        request::Requests,
        retention::Retention,
        seal::Seals,
    },
};

/// The RPCs with compressed answers: large ones, to the person whom they are about.
const COMPRESSED: [&str; 7] = [
    "haven.data.v1.ConversationService/ListMessages",
    "haven.data.v1.AnalysisService/ListAnalyses",
    "haven.data.v1.CycleService/ListRecords",
    "haven.data.v1.CycleService/ListConflicts",
    "haven.data.v1.CycleService/PullChanges",
    "haven.data.v1.PersonService/ExportData",
    "haven.data.v1.PersonService/ListAuditEvents",
];

/// The channel on which replicas tell each other of new analysis jobs.
const NEW_JOBS: &str = "data_new_jobs";

/// The data service, as an application of the platform.
#[derive(Debug)]
pub struct Data;

/// The subcommands beside those of every service.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Manage the keys that messages and analyses are sealed under
    Keys(KeysArgs),
    /// Compute the arguments of the SQL functions that open shares from a token and a passcode
    ShareHashes(ShareHashesArgs),
}

impl Application for Data {
    const NAME: &'static str = "data";
    const ABOUT: &'static str =
        "Stores people's messages, analyses and encrypted content, for each person alone";
    const PORTS: [u16; 3] = [50052, 50062, 9102];
    /// A person may have ten devices, and each device may hold a stream open; the rest is for reconnects.
    const STREAMS_PER_USER: usize = 12;
    const DESCRIPTORS: &'static [u8] = haven_proto::FILE_DESCRIPTOR_SET;
    type Args = DataArgs;
    type Config = DataConfig;
    type Command = DataCommand;

    fn check(args: &DataArgs, problems: &mut ConfigProblems) -> Option<DataConfig> {
        args.check(problems)
    }

    fn migrations() -> Migrations {
        Migrations {
            schema: Self::NAME,
            migrator: sqlx::migrate!(),
        }
    }

    fn assemble(
        config: DataConfig,
        parts: &Resources,
        server: ServerBuilder,
    ) -> Result<ServerBuilder, Box<dyn Error + Send + Sync>> {
        parts.database.limit(config.quotas.limits(config.mutation_limit));
        crisis_detection::describe_metrics();
        // Without token authentication the service does not need identity.
        if parts.auth_mode == AuthMode::Token {
            let sessions =
                SessionServiceClient::new(client::channel(&config.identity_url, Arc::clone(&parts.tls))?);
            let (keys, issuer) = (Arc::clone(&parts.keys), parts.tokens.issuer.clone());
            let keys = identity_client::signing_keys::run(keys, sessions.clone(), issuer);
            let ended = identity_client::ended_sessions::run(Arc::clone(&parts.ended), sessions);
            parts
                .tasks
                .spawn(parts.stop.clone().run_until_cancelled_owned(keys));
            parts
                .tasks
                .spawn(parts.stop.clone().run_until_cancelled_owned(ended));
        }

        job_metrics::describe_metrics();
        let queue = Queue::new(Arc::clone(&parts.database));
        parts.tasks.spawn(lease_reaper::run(
            queue.clone(),
            parts.entropy.clone(),
            parts.stop.clone(),
        ));
        sweeper::describe_metrics();
        parts.tasks.spawn(sweeper::run(
            Requests::new(Arc::clone(&parts.database)),
            Changes::new(Arc::clone(&parts.database)),
            Retention::new(Arc::clone(&parts.database), config.retention),
            parts.entropy.clone(),
            parts.stop.clone(),
        ));

        let secret = &parts.tokens.secret_keys;
        let requests = MacKeys::derive(secret, "data requests");
        let pages = PageTokens::new(MacKeys::derive(secret, "data page tokens"));
        let message_keys = config.message_keys;
        let (mut new_jobs, new_crisis_events) = (Notify::default(), Notify::default());
        if let Some(url) = &config.listen_url {
            let listener = Listener::new(Arc::clone(&parts.database), url, NEW_JOBS)?;
            new_jobs = new_jobs.announced_by(listener.announcer());
            let woken = new_jobs.clone();
            parts
                .tasks
                .spawn(listener.run(move || woken.wake(), parts.entropy.clone(), parts.stop.clone()));
        }
        let conversation = ConversationRpc {
            conversations: Conversations::new(Arc::clone(&parts.database)),
            detection: Detection::new(Arc::new(PhraseList)),
            keys: Arc::clone(&message_keys),
            new_jobs: new_jobs.clone(),
            new_crisis_events: new_crisis_events.clone(),
            requests: requests.clone(),
            pages: pages.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        let analysis = AnalysisRpc {
            analyses: Analyses::new(Arc::clone(&parts.database)),
            keys: Arc::clone(&message_keys),
            new_jobs: new_jobs.clone(),
            requests: requests.clone(),
            pages: pages.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        let analysis_queue = AnalysisQueueRpc {
            queue,
            keys: Arc::clone(&message_keys),
            new_jobs,
            polling: tokio::sync::Mutex::default(),
            requests: requests.clone(),
            leases: MacKeys::derive(secret, "data leases"),
            pages: pages.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
            stop: parts.stop.clone(),
        };
        let crisis = CrisisRpc {
            crisis_events: CrisisEvents::new(Arc::clone(&parts.database)),
            new_crisis_events,
            pages: pages.clone(),
            clock: parts.clock.clone(),
            stop: parts.stop.clone(),
        };
        hashing::describe_metrics();
        let passcodes = Passcodes::new(
            HashQueue::new(available_parallelism().unwrap_or(NonZeroUsize::MIN)),
            secret,
        );
        let passcodes = passcodes.map_err(|error| error.to_string())?;
        let changed = PersonNotify::default();
        let cycle = CycleRpc {
            records: Records::new(Arc::clone(&parts.database)),
            changes: Changes::new(Arc::clone(&parts.database)),
            changed: changed.clone(),
            requests: requests.clone(),
            pages: pages.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
            stop: parts.stop.clone(),
        };
        let preferences = PreferencesRpc {
            preferences: Preferences::new(Arc::clone(&parts.database)),
            requests: requests.clone(),
            clock: parts.clock.clone(),
        };
        let devices = DeviceRpc {
            devices: Devices::new(Arc::clone(&parts.database)),
            changed,
            requests: requests.clone(),
            installations: MacKeys::derive(secret, "data installations"),
            pages: pages.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        let shares = ShareRpc {
            shares: Shares::new(Arc::clone(&parts.database)),
            openings: KeyedMutex::default(),
            passcodes,
            requests,
            share_tokens: MacKeys::derive(secret, "data share tokens"),
            share_token_hashes: TokenHashes::new(secret),
            pages: pages.clone(),
            clock: parts.clock.clone(),
        };
        let person = PersonRpc {
            people: People::new(Arc::clone(&parts.database)),
            exports: Exports::new(Arc::clone(&parts.database)),
            audit_log: AuditLog::new(Arc::clone(&parts.database)),
            quotas: config.quotas,
            keys: message_keys,
            pages,
            clock: parts.clock.clone(),
        };
        Ok(server
            .compressed(&COMPRESSED)
            .service(|limits| grpc_server!(ConversationServiceServer::new(conversation), limits))
            .service(|limits| grpc_server!(AnalysisServiceServer::new(analysis), limits))
            .service(|limits| grpc_server!(AnalysisQueueServiceServer::new(analysis_queue), limits))
            .service(|limits| grpc_server!(CrisisServiceServer::new(crisis), limits))
            .service(|limits| grpc_server!(CycleServiceServer::new(cycle), limits))
            .service(|limits| grpc_server!(PreferencesServiceServer::new(preferences), limits))
            .service(|limits| grpc_server!(DeviceServiceServer::new(devices), limits))
            .service(|limits| grpc_server!(ShareServiceServer::new(shares), limits))
            .service(|limits| grpc_server!(PersonServiceServer::new(person), limits)))
    }

    /// Checks at start that the keys of all stored texts are configured, so that a missing key is not found only when a
    /// text is read.
    fn inspection(config: &DataConfig, database: &Arc<Database>) -> Inspection {
        let (keys, seals) = (Arc::clone(&config.message_keys), Seals::new(Arc::clone(database)));
        let url = config.listen_url.clone();
        let database = Arc::clone(database);
        Box::new(move || {
            let (keys, seals) = (Arc::clone(&keys), seals.clone());
            let (url, database) = (url.clone(), Arc::clone(&database));
            Box::pin(async move {
                if let Some(url) = url {
                    Listener::new(database, &url, NEW_JOBS)?.inspect().await?;
                }
                let needed = seals.keys().await?;
                keys.has_all(needed.iter().map(String::as_str))
                    .map_err(|missing| InspectionError::Refused(missing.to_string()))
            })
        })
    }

    async fn command(command: DataCommand) -> Result<(), CommandError> {
        match command {
            DataCommand::Keys(args) => keys_command::run(args).await,
            DataCommand::ShareHashes(args) => share_hashes_command::run(args).await,
        }
    }
}
