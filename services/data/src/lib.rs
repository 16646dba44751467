//! Haven's data service: what people write, sealed at rest, and reachable by nobody but them.
//!
//! Three rooms: [`domain`] is what is true, [`store`] is SQL, [`rpc`] speaks gRPC. [`identity`] keeps what tells whose an
//! access token is; [`config`] is what the service needs to know. What it stands on is in [`haven_platform`].

pub mod config;
pub mod domain;
pub mod identity;
pub mod rpc;
pub mod store;

use std::{convert::Infallible, error::Error, sync::Arc};

use haven_platform::{
    application::{Application, CommandError, Parts},
    client,
    config::{AuthMode, Problems},
    database::Migrations,
    server::ServerBuilder,
};
use haven_proto::{
    data::v1::{
        conversation_service_server::ConversationServiceServer, person_service_server::PersonServiceServer,
    },
    identity::v1::session_service_client::SessionServiceClient,
};

use crate::{
    config::{DataArgs, DataConfig},
    rpc::{conversation::ConversationRpc, person::PersonRpc},
    store::{conversation::Conversations, person::People},
};

/// The data service.
#[derive(Debug)]
pub struct Data;

impl Application for Data {
    const NAME: &'static str = "data";
    const ABOUT: &'static str = "What people write, sealed at rest, and reachable by nobody but them";
    const PORTS: [u16; 3] = [50052, 50062, 9102];
    const DESCRIPTORS: &'static [u8] = haven_proto::FILE_DESCRIPTOR_SET;
    type Args = DataArgs;
    type Config = DataConfig;
    type Command = Infallible;

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
        // Where nobody looks at tokens, identity need not be there.
        if parts.auth_mode == AuthMode::Token {
            let sessions =
                SessionServiceClient::new(client::channel(&config.identity_url, Arc::clone(&parts.tls))?);
            let (keys, issuer) = (Arc::clone(&parts.keys), parts.tokens.issuer.clone());
            let keys = identity::keys::keep(keys, sessions.clone(), issuer);
            let ended = identity::ended::keep(Arc::clone(&parts.ended), sessions);
            parts
                .tasks
                .spawn(parts.stop.clone().run_until_cancelled_owned(keys));
            parts
                .tasks
                .spawn(parts.stop.clone().run_until_cancelled_owned(ended));
        }

        let conversations = ConversationRpc::new(
            Conversations::new(Arc::clone(&parts.database)),
            config.message_keys,
            &parts.tokens.secret_key,
            parts.clock.clone(),
            parts.entropy.clone(),
        );
        let people = PersonRpc::new(People::new(Arc::clone(&parts.database)), parts.clock.clone());
        Ok(server
            .service(|limits| {
                ConversationServiceServer::new(conversations)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            })
            .service(|limits| {
                PersonServiceServer::new(people)
                    .max_decoding_message_size(limits.request)
                    .max_encoding_message_size(limits.response)
            }))
    }

    async fn command(command: Infallible) -> Result<(), CommandError> {
        match command {}
    }
}
