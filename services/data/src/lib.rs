//! Haven's data service: what people write, sealed at rest, and reachable by nobody but them.
//!
//! Three rooms: [`domain`] is what is true, [`store`] is SQL, [`rpc`] speaks gRPC. [`identity_client`] keeps what tells whose
//! an access token is; [`config`] is what the service needs to know; [`detection`] looks at messages for signs of a
//! crisis; [`passcodes`] hashes those of shares; [`line`](mod@line) is where a crowd waits that wants one row;
//! [`signal`] wakes whoever waits for work; [`queue_keeper`] takes jobs back from workers that were not heard of again,
//! and [`job_metrics`] counts what becomes of jobs; [`rotation`] changes the key that seals; [`sweeper`] deletes what
//! has expired. What it stands on is in [`haven_platform`].

pub mod config;
pub mod crisis_detection;
pub mod domain;
pub mod identity_client;
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
    application::{Application, CommandError, Inspection, Parts},
    client,
    config::{AuthMode, Problems},
    database::{Database, Migrations, Unfit},
    hashing::{self, HashQueue},
    mac::MacKey,
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
        DataRpc,
        encrypted::{cycle::CycleRpc, device::DeviceRpc, preferences::PreferencesRpc, share::ShareRpc},
        person::PersonRpc,
    },
    share_hashes_command::ShareHashesArgs,
    store::{
        analysis::Analyses,
        audit::AuditLog,
        conversation::Conversations,
        crisis::CrisisEvents,
        encrypted::{
            cycle::{Changes, Records},
            device::Devices,
            preferences::Preferences,
            share::Shares,
        },
        export::Exports,
        person::People,
        queue::Queue,
        request::Requests,
        seal::Seals,
    },
};

/// The data service.
#[derive(Debug)]
pub struct Data;

/// What the program can do beside serving.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Look after the keys that what people write is sealed under
    Keys(KeysArgs),
    /// Compute the arguments of the SQL functions that open shares from a token and a passcode
    ShareHashes(ShareHashesArgs),
}

impl Application for Data {
    const NAME: &'static str = "data";
    const ABOUT: &'static str = "What people write, sealed at rest, and reachable by nobody but them";
    const PORTS: [u16; 3] = [50052, 50062, 9102];
    const DESCRIPTORS: &'static [u8] = haven_proto::FILE_DESCRIPTOR_SET;
    type Args = DataArgs;
    type Config = DataConfig;
    type Command = DataCommand;

    fn check(args: &DataArgs, problems: &mut Problems) -> Option<DataConfig> {
        args.check(problems)
    }

    fn migrations() -> Migrations {
        Migrations {
            migrator: sqlx::migrate!(),
        }
    }

    fn assemble(
        config: DataConfig,
        parts: &Parts,
        server: ServerBuilder,
    ) -> Result<ServerBuilder, Box<dyn Error + Send + Sync>> {
        crisis_detection::describe_metrics();
        // Where nobody looks at tokens, identity need not be there.
        if parts.auth_mode == AuthMode::Token {
            let sessions =
                SessionServiceClient::new(client::channel(&config.identity_url, Arc::clone(&parts.tls))?);
            let (keys, issuer) = (Arc::clone(&parts.keys), parts.tokens.issuer.clone());
            let keys = identity_client::signing_keys::keep(keys, sessions.clone(), issuer);
            let ended = identity_client::ended_sessions::keep(Arc::clone(&parts.ended), sessions);
            parts
                .tasks
                .spawn(parts.stop.clone().run_until_cancelled_owned(keys));
            parts
                .tasks
                .spawn(parts.stop.clone().run_until_cancelled_owned(ended));
        }

        job_metrics::describe_metrics();
        let queue = Queue::new(Arc::clone(&parts.database));
        parts.tasks.spawn(lease_reaper::keep(
            queue.clone(),
            parts.entropy.clone(),
            parts.stop.clone(),
        ));
        sweeper::describe_metrics();
        parts.tasks.spawn(sweeper::sweep(
            Requests::new(Arc::clone(&parts.database)),
            Changes::new(Arc::clone(&parts.database)),
            parts.entropy.clone(),
            parts.stop.clone(),
        ));

        let secret = &parts.tokens.secret_key;
        let requests = MacKey::derive(secret, "data requests");
        let pages = PageTokens::new(MacKey::derive(secret, "data page tokens"));
        let message_keys = Arc::clone(&config.message_keys);
        let rpc = Arc::new(DataRpc {
            conversations: Conversations::new(Arc::clone(&parts.database)),
            analyses: Analyses::new(Arc::clone(&parts.database)),
            queue,
            crisis_events: CrisisEvents::new(Arc::clone(&parts.database)),
            detection: Detection::new(Arc::new(PhraseList)),
            keys: config.message_keys,
            new_jobs: Notify::default(),
            line: tokio::sync::Mutex::default(),
            new_crisis_events: Notify::default(),
            requests: requests.clone(),
            leases: MacKey::derive(secret, "data leases"),
            pages: pages.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
            stop: parts.stop.clone(),
        });
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
            installations: MacKey::derive(secret, "data installations"),
            pages: pages.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        let shares = ShareRpc {
            shares: Shares::new(Arc::clone(&parts.database)),
            openings: KeyedMutex::default(),
            passcodes,
            requests,
            share_tokens: MacKey::derive(secret, "data share tokens"),
            share_token_hashes: TokenHashes::new(secret),
            pages: pages.clone(),
            clock: parts.clock.clone(),
        };
        let people = PersonRpc {
            people: People::new(Arc::clone(&parts.database)),
            exports: Exports::new(Arc::clone(&parts.database)),
            audit_log: AuditLog::new(Arc::clone(&parts.database)),
            keys: message_keys,
            pages,
            clock: parts.clock.clone(),
        };
        Ok(server
            .service(|limits| {
                ConversationServiceServer::from_arc(Arc::clone(&rpc))
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                AnalysisServiceServer::from_arc(Arc::clone(&rpc))
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                AnalysisQueueServiceServer::from_arc(Arc::clone(&rpc))
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                CrisisServiceServer::from_arc(Arc::clone(&rpc))
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                CycleServiceServer::new(cycle)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                PreferencesServiceServer::new(preferences)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                DeviceServiceServer::new(devices)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                ShareServiceServer::new(shares)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                PersonServiceServer::new(people)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            }))
    }

    /// A text whose key is missing is found at the start, and not when somebody wants to read it.
    fn inspection(config: &DataConfig, database: &Arc<Database>) -> Inspection {
        let (keys, seals) = (Arc::clone(&config.message_keys), Seals::new(Arc::clone(database)));
        Box::new(move || {
            let (keys, seals) = (Arc::clone(&keys), seals.clone());
            Box::pin(async move {
                let needed = seals.keys().await?;
                keys.has_all(needed.iter().map(String::as_str))
                    .map_err(|missing| Unfit::Refused(missing.to_string()))
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
