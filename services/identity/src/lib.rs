//! Haven's identity service: accounts, sign-in and tokens.
//!
//! Three rooms: `domain` is what is true, `store` is SQL, `rpc` speaks gRPC. Beside them: [`hashing`] of passwords,
//! [`tokens`], and the [`dispatcher`] that tells data of new people. What they stand on is in [`haven_platform`].

pub mod config;
pub mod dispatcher;
pub mod domain;
pub mod hashing;
pub mod rpc;
pub mod store;
pub mod tokens;

use std::{error::Error, num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use haven_platform::{
    application::{Application, Parts},
    client::channel,
    config::Problems,
    database::Migrations,
    mac::MacKey,
    server::ServerBuilder,
};
use haven_proto::{
    data::v1::person_service_client::PersonServiceClient,
    identity::v1::{
        account_service_server::AccountServiceServer, session_service_server::SessionServiceServer,
    },
};

use crate::{
    config::{IdentityArgs, IdentityConfig},
    dispatcher::Dispatcher,
    hashing::{Admission, Hasher},
    rpc::{account::AccountRpc, session::SessionRpc},
    store::{account::Accounts, outbox::Outbox, session::Sessions},
    tokens::TokenSigner,
};

/// The service.
#[derive(Debug)]
pub struct Identity;

impl Application for Identity {
    const NAME: &'static str = "identity";
    const ABOUT: &'static str = "Haven's identity service: accounts, sign-in and tokens";
    const PORTS: [u16; 3] = [50051, 50061, 9101];
    const DESCRIPTORS: &'static [u8] = haven_proto::FILE_DESCRIPTOR_SET;
    type Args = IdentityArgs;
    type Config = IdentityConfig;

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
        hashing::describe_metrics();
        dispatcher::describe_metrics();
        let keys: Result<Vec<_>, _> = config.signing_keys.public().map(|key| key.verifying()).collect();
        parts.keys.replace(keys?);
        let signer = TokenSigner::new(
            config.signing_keys,
            parts.tokens.issuer.clone(),
            parts.tokens.audience.clone(),
        );
        let admission = Admission::new(available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let hasher = Hasher::new(config.peppers, parts.entropy.clone()).map_err(|error| error.to_string())?;
        let hasher = Arc::new(hasher);
        let requests = MacKey::derive(&parts.tokens.secret_key, "identity.requests");
        let accounts = Accounts::new(Arc::clone(&parts.database));
        let data = channel(&config.data_url, Arc::clone(&parts.tls))
            .map_err(|error| format!("DATA_URL: {error}"))?;
        let dispatcher = Dispatcher::new(
            Outbox::new(Arc::clone(&parts.database)),
            PersonServiceClient::new(data),
            parts.clock.clone(),
            parts.entropy.clone(),
            parts.tasks.clone(),
        );
        parts.tasks.spawn(dispatcher.clone().run(parts.stop.clone()));
        let account_rpc = AccountRpc {
            accounts: accounts.clone(),
            dispatcher,
            admission: admission.clone(),
            hasher: Arc::clone(&hasher),
            required: config.required_consents,
            requests: requests.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        let session_rpc = SessionRpc {
            accounts,
            sessions: Sessions::new(Arc::clone(&parts.database)),
            admission,
            hasher,
            signer: Arc::new(signer),
            requests,
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
        };
        Ok(server
            .service(|limits| {
                AccountServiceServer::new(account_rpc)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                SessionServiceServer::new(session_rpc)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            }))
    }
}
