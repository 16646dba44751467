//! Haven's identity service: accounts, sign-in and tokens.
//!
//! Three rooms: `domain` is what is true, `store` is SQL, `rpc` speaks gRPC. Beside them: [`hashing`] of passwords,
//! [`tokens`], and the [`dispatcher`] that tells data who came and went. What they stand on is in [`haven_platform`].

mod audit_command;
pub mod config;
pub mod dispatcher;
pub mod domain;
pub mod ended_sessions;
pub mod hashing;
pub mod rpc;
pub mod store;
pub mod sweeper;
pub mod tokens;

use std::{error::Error, num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use clap::Subcommand;
use haven_platform::{
    application::{Application, CommandError, Parts},
    client::channel,
    config::Problems,
    database::Migrations,
    hashing::HashQueue,
    mac::MacKey,
    page::PageTokens,
    server::ServerBuilder,
};
use haven_proto::{
    data::v1::person_service_client::PersonServiceClient,
    identity::v1::{
        account_service_server::AccountServiceServer, session_service_server::SessionServiceServer,
    },
};

use crate::{
    audit_command::AuditArgs,
    config::{IdentityArgs, IdentityConfig},
    dispatcher::Dispatcher,
    hashing::{Hasher, Passwords},
    rpc::{IdentityRpc, rate_limit_keys::LimitKeys},
    store::{
        account::{
            consent::Consents, delete_account::Erasures, reauthentication::OwnPasswords, sign_up::Accounts,
        },
        audit_log::AuditLog,
        outbox::Outbox,
        retention::Retention,
        session::Sessions,
    },
    sweeper::Sweeper,
    tokens::TokenSigner,
};

/// The service.
#[derive(Debug)]
pub struct Identity;

/// What the program can do beside serving.
#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// Look after the security audit log
    Audit(AuditArgs),
}

impl Application for Identity {
    const NAME: &'static str = "identity";
    const ABOUT: &'static str = "Haven's identity service: accounts, sign-in and tokens";
    const PORTS: [u16; 3] = [50051, 50061, 9101];
    const DESCRIPTORS: &'static [u8] = haven_proto::FILE_DESCRIPTOR_SET;
    type Args = IdentityArgs;
    type Config = IdentityConfig;
    type Command = IdentityCommand;

    fn check(args: &IdentityArgs, problems: &mut Problems) -> Option<IdentityConfig> {
        args.check(problems)
    }

    fn migrations() -> Migrations {
        Migrations {
            migrator: sqlx::migrate!(),
        }
    }

    fn assemble(
        config: IdentityConfig,
        parts: &Parts,
        server: ServerBuilder,
    ) -> Result<ServerBuilder, Box<dyn Error + Send + Sync>> {
        haven_platform::hashing::describe_metrics();
        hashing::describe_metrics();
        dispatcher::describe_metrics();
        sweeper::describe_metrics();
        let keys: Result<Vec<_>, _> = config.signing_keys.public().map(|key| key.verifying()).collect();
        parts.keys.settle(keys?);
        let signer = TokenSigner::new(
            config.signing_keys,
            parts.tokens.issuer.clone(),
            parts.tokens.audience.clone(),
        );
        let admission = HashQueue::new(available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let hasher = Hasher::new(config.peppers, parts.entropy.clone()).map_err(|error| error.to_string())?;
        let data = channel(&config.data_url, Arc::clone(&parts.tls))
            .map_err(|error| format!("DATA_URL: {error}"))?;
        let dispatcher = Dispatcher::start(
            Outbox::new(Arc::clone(&parts.database)),
            PersonServiceClient::new(data),
            parts.clock.clone(),
            parts.entropy.clone(),
            parts.tasks.clone(),
            parts.stop.clone(),
        );
        let sessions = Sessions::new(Arc::clone(&parts.database));
        parts.tasks.spawn(ended_sessions::keep(
            Arc::clone(&parts.ended),
            sessions.clone(),
            parts.clock.clone(),
            parts.stop.clone(),
        ));
        let sweeper = Sweeper::new(
            Retention::new(Arc::clone(&parts.database)),
            config.audit_retention,
            parts.entropy.clone(),
        );
        parts.tasks.spawn(sweeper.run(parts.stop.clone()));
        let secret = &parts.tokens.secret_key;
        let rpc = Arc::new(IdentityRpc {
            accounts: Accounts::new(Arc::clone(&parts.database)),
            sessions,
            own_passwords: OwnPasswords::new(Arc::clone(&parts.database)),
            erasures: Erasures::new(Arc::clone(&parts.database)),
            consents: Consents::new(Arc::clone(&parts.database)),
            audit: AuditLog::new(Arc::clone(&parts.database)),
            dispatcher,
            passwords: Passwords::new(admission, Arc::new(hasher)),
            provider: config.provider,
            sign_up_limits: config.sign_up_limits,
            sign_in_limits: config.sign_in_limits,
            limit_keys: LimitKeys::new(MacKey::derive(secret, "identity.rate_limits")),
            required: config.required_consents,
            signer: Arc::new(signer),
            ended: Arc::clone(&parts.ended),
            requests: MacKey::derive(secret, "identity.requests"),
            networks: MacKey::derive(secret, "identity.networks"),
            refresh: MacKey::derive(secret, "identity.refresh_tokens"),
            pages: PageTokens::new(MacKey::derive(secret, "identity.pages")),
            tasks: parts.tasks.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        });
        Ok(server
            .service(|limits| {
                AccountServiceServer::from_arc(Arc::clone(&rpc))
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                SessionServiceServer::from_arc(Arc::clone(&rpc))
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            }))
    }

    async fn command(command: IdentityCommand) -> Result<(), CommandError> {
        match command {
            IdentityCommand::Audit(args) => audit_command::run(args).await,
        }
    }
}
