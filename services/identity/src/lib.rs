//! Haven's identity service: accounts, sign-in and tokens.
//!
//! The crate has three layers: [`domain`] has the rules, [`store`] has the SQL, and [`rpc`] has the gRPC services.
//! Besides them, there are [`hashing`] of passwords, signing of access tokens, the [`dispatcher`], which delivers messages
//! about new and erased accounts to data, and the [`erasure_journal`]. The services share [`haven_platform`].

mod audit_command;
mod audit_summary;
pub mod config;
pub mod dispatcher;
pub mod domain;
pub mod ended_sessions;
pub mod erasure_journal;
pub mod estimator;
pub mod hashing;
mod reconcile_command;
pub mod rpc;
pub mod signing_keys;
pub mod store;
pub mod sweeper;

use std::{error::Error, num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use clap::Subcommand;
use haven_platform::{
    application::{Application, CommandError, Resources},
    client::channel,
    config::ConfigProblems,
    database::{Migrations, WorkerConfig, checks::Finding},
    grpc_server,
    hashing::{HashLane, HashQueue},
    mac::MacKeys,
    page::PageTokens,
    server::ServerBuilder,
};
use haven_proto::{
    data::v1::person_service_client::PersonServiceClient,
    identity::v1::{
        account_service_server::AccountServiceServer, recovery_service_server::RecoveryServiceServer,
        session_service_server::SessionServiceServer,
    },
};

use crate::{
    audit_command::AuditArgs,
    config::{IdentityArgs, IdentityConfig},
    dispatcher::Dispatcher,
    domain::rate_limit::LimitKind,
    estimator::EstimatorQueue,
    hashing::{Hasher, Passwords},
    reconcile_command::ReconcileArgs,
    rpc::{AccountRpc, AuditOrigins, RateLimitKeys, RecoveryRpc, SessionRpc},
    signing_keys::TokenSigner,
    store::{
        account::{Accounts, Consents, Erasures, Exports, OwnPasswords},
        audit_log::AuditLog,
        outbox::Outbox,
        recovery::Recovery,
        retention::Retention,
        session::Sessions,
    },
    sweeper::Sweeper,
};

/// The RPCs that data calls in the background: every ten seconds, and every five minutes.
const POLLED: [&str; 2] = [
    "haven.identity.v1.SessionService/ListEndedSessions",
    "haven.identity.v1.SessionService/GetSigningKeys",
];

/// The RPCs with compressed answers: large ones, to the person whom they are about.
const COMPRESSED: [&str; 2] = [
    "haven.identity.v1.AccountService/ExportAccount",
    "haven.identity.v1.AccountService/ListAuditEvents",
];

/// The identity service, as an application of the platform.
#[derive(Debug)]
pub struct Identity;

/// The subcommands of `identity`, besides those that every service has.
#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// Verify the security audit log
    Audit(AuditArgs),
    /// Compare the people of identity and data after a restore, and mend what differs
    Reconcile(Box<ReconcileArgs>),
}

impl Application for Identity {
    const NAME: &'static str = "identity";
    const ABOUT: &'static str = "Haven's identity service: accounts, sign-in and tokens";
    const PORTS: [u16; 3] = [50051, 50061, 9101];
    /// A person may have ten devices, and each device may hold a stream open; the rest is for reconnects.
    const STREAMS_PER_USER: usize = 12;
    const DESCRIPTORS: &'static [u8] = haven_proto::FILE_DESCRIPTOR_SET;
    type Args = IdentityArgs;
    type Config = IdentityConfig;
    type Command = IdentityCommand;

    fn check(args: &IdentityArgs, problems: &mut ConfigProblems) -> Option<IdentityConfig> {
        args.check(problems)
    }

    fn migrations() -> Migrations {
        Migrations {
            schema: Self::NAME,
            migrator: sqlx::migrate!(),
        }
    }

    fn assemble(
        config: IdentityConfig,
        parts: &Resources,
        server: ServerBuilder,
    ) -> Result<ServerBuilder, Box<dyn Error + Send + Sync>> {
        haven_platform::hashing::describe_metrics();
        hashing::describe_metrics();
        dispatcher::describe_metrics();
        erasure_journal::describe_metrics();
        estimator::describe_metrics();
        rpc::recovery::describe_metrics();
        sweeper::describe_metrics();
        let keys: Result<Vec<_>, _> = config.signing_keys.public().map(|key| key.verifying()).collect();
        parts.keys.set_permanently(keys?);
        let signer = TokenSigner::new(
            config.signing_keys,
            parts.tokens.issuer.clone(),
            parts.tokens.audience.clone(),
        );
        let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let queue = HashQueue::new(cores);
        // Sign-ins with hashes of this service keep at least half of the cores.
        let places = NonZeroUsize::new(cores.get().div_ceil(2)).unwrap_or(NonZeroUsize::MIN);
        let lane = HashLane::new(places, config.imports.budget_kib);
        let hasher = Hasher::new(config.peppers, config.imports.imported, parts.entropy.clone())
            .map_err(|error| error.to_string())?;
        let data = channel(&config.delivery.data_url, Arc::clone(&parts.tls))
            .map_err(|error| format!("DATA_URL: {error}"))?;
        if config.delivery.journal.is_none() {
            tracing::warn!(
                "without ERASURE_JOURNAL, a restore of both schemas takes completed erasures back"
            );
        }
        let dispatcher = Dispatcher::new(
            Outbox::new(Arc::clone(&parts.database)),
            PersonServiceClient::new(data),
            config.delivery.journal,
            (parts.clock.clone(), parts.entropy.clone()),
            parts.tasks.clone(),
            parts.stop.clone(),
        );
        dispatcher.start(parts.stop.clone());
        let sessions = Sessions::new(Arc::clone(&parts.database));
        parts.tasks.spawn(ended_sessions::reload(
            Arc::clone(&parts.ended),
            sessions.clone(),
            parts.clock.clone(),
            parts.stop.clone(),
        ));
        let sweeper = Sweeper::new(
            Retention::new(Arc::clone(&parts.database)),
            config.audit_retention,
            config.receipt_retention,
            parts.entropy.clone(),
        );
        parts.tasks.spawn(sweeper.run(parts.stop.clone()));
        let secret = &parts.tokens.secret_keys;
        let passwords = Passwords::new(queue, lane, Arc::new(hasher));
        let estimator = EstimatorQueue::new(cores);
        let rate_limit_keys = RateLimitKeys::new(MacKeys::derive(secret, "identity.rate_limits"));
        let audit_origins = AuditOrigins::new(MacKeys::derive(secret, "identity.networks"));
        let request_mac = MacKeys::derive(secret, "identity.requests");
        let page_tokens = PageTokens::new(MacKeys::derive(secret, "identity.pages"));
        let account = AccountRpc {
            accounts: Accounts::new(Arc::clone(&parts.database)),
            own_passwords: OwnPasswords::new(Arc::clone(&parts.database)),
            erasures: Erasures::new(Arc::clone(&parts.database)),
            consents: Consents::new(Arc::clone(&parts.database)),
            exports: Exports::new(Arc::clone(&parts.database)),
            audit_log: AuditLog::new(Arc::clone(&parts.database)),
            dispatcher,
            passwords: passwords.clone(),
            provider: config.provider,
            estimator: estimator.clone(),
            sign_up_limits: config.sign_up_limits,
            check_password_limits: config.check_password_limits,
            mutation_limits: config.mutation_limits,
            quotas: config.quotas,
            reauthentication_limit: config.sign_in_limits.get(LimitKind::Email),
            rate_limit_keys: rate_limit_keys.clone(),
            required_consents: config.required_consents.clone(),
            consent_versions: config.consent_versions,
            ended_sessions: Arc::clone(&parts.ended),
            request_mac: request_mac.clone(),
            audit_origins: audit_origins.clone(),
            page_tokens: page_tokens.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        let recovery = RecoveryRpc {
            recovery: Recovery::new(Arc::clone(&parts.database)),
            own_passwords: OwnPasswords::new(Arc::clone(&parts.database)),
            passwords: passwords.clone(),
            estimator,
            provider: config.provider,
            lifetimes: config.recovery.lifetimes,
            creation_limits: config.recovery.creation_limits,
            use_limits: config.recovery.use_limits,
            rate_limit_keys: rate_limit_keys.clone(),
            ended_sessions: Arc::clone(&parts.ended),
            request_mac: request_mac.clone(),
            keys: MacKeys::derive(secret, "identity.recovery_tokens"),
            device_keys: MacKeys::derive(secret, "identity.device_tokens"),
            max_devices: config.quotas.devices,
            audit_origins: audit_origins.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        let session = SessionRpc {
            sessions,
            passwords,
            provider: config.provider,
            requires_verified_email: config.recovery.requires_verified_email,
            sign_in_limits: config.sign_in_limits,
            wrong_password_limits: config.wrong_password_limits,
            refresh_limits: config.refresh_limits,
            quotas: config.quotas,
            required_consents: config.required_consents,
            rate_limit_keys,
            signer: Arc::new(signer),
            ended_sessions: Arc::clone(&parts.ended),
            request_mac,
            audit_origins,
            refresh_keys: MacKeys::derive(secret, "identity.refresh_tokens"),
            device_keys: MacKeys::derive(secret, "identity.device_tokens"),
            page_tokens,
            tasks: parts.tasks.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        Ok(server
            .polled(&POLLED)
            .compressed(&COMPRESSED)
            .service(|limits| grpc_server!(AccountServiceServer::new(account), limits))
            .service(|limits| grpc_server!(RecoveryServiceServer::new(recovery), limits))
            .service(|limits| grpc_server!(SessionServiceServer::new(session), limits)))
    }

    async fn findings(config: &WorkerConfig) -> Vec<Finding> {
        vec![audit_command::finding(config).await]
    }

    async fn command(command: IdentityCommand) -> Result<(), CommandError> {
        match command {
            IdentityCommand::Audit(args) => audit_command::run(args).await,
            IdentityCommand::Reconcile(args) => reconcile_command::run(*args).await,
        }
    }
}
