//! Who may call which RPC, as the protos declare it.

use std::{collections::HashMap, sync::Arc};

pub use haven_proto::access::v1::Access;
use prost_reflect::{DescriptorPool, MethodDescriptor};

/// Protocols that others define, and whose RPCs can carry no option of ours. Everybody may call them: they show
/// nothing but whether a service is well, and what its published contract is.
const STANDARD: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// With what an RPC answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseKind {
    /// With one message. A stream that anybody may call, such as reflection's, answers what it was asked and is taken as
    /// that: nobody unknown keeps a place for long.
    Message,
    /// With a stream that ends when everything was said.
    Stream,
    /// With a stream that goes on for as long as there is something to say. The names of such RPCs, and of no others,
    /// begin with the verb Watch.
    Watch,
}

/// One RPC of a server.
#[derive(Clone, Debug)]
pub struct Rpc {
    /// Its name in logs and metrics, such as `haven.data.v1.PersonService/ProvisionUser`.
    pub name: Arc<str>,
    /// Who may call it.
    pub access: Access,
    /// With what it answers.
    pub response: ResponseKind,
}

/// The RPCs of a server, by the path that they are called under.
#[derive(Clone, Debug)]
pub struct AccessTable(Arc<HashMap<String, Rpc>>);

/// The protos do not say who may call something that is served.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The descriptors cannot be read.
    #[error("the descriptors cannot be read: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// A service is served that no descriptor describes.
    #[error("service {0} is in no descriptor")]
    UnknownService(String),
    /// RPCs without the option.
    #[error("no (haven.access.v1.access) on: {}", .0.join(", "))]
    Undeclared(Vec<String>),
}

impl AccessTable {
    /// Reads who may call each RPC of `services` out of encoded `descriptors`.
    ///
    /// # Errors
    ///
    /// When a service is in no descriptor, or one of its RPCs has no access option: the server must not start then.
    pub fn read<'a>(
        descriptors: impl IntoIterator<Item = &'a [u8]>,
        services: &[&str],
    ) -> Result<Self, AccessError> {
        let mut pool = DescriptorPool::new();
        for set in descriptors {
            pool.decode_file_descriptor_set(set)?;
        }
        let (mut table, mut undeclared) = (HashMap::new(), Vec::new());
        for service_name in services {
            let service = pool
                .get_service_by_name(service_name)
                .ok_or_else(|| AccessError::UnknownService((*service_name).to_owned()))?;
            for method in service.methods() {
                let name = format!("{service_name}/{}", method.name());
                let access = if STANDARD.contains(service_name) {
                    Access::Anyone
                } else {
                    declared(&pool, &method)
                };
                if access == Access::Unspecified {
                    undeclared.push(name);
                } else {
                    table.insert(
                        format!("/{name}"),
                        Rpc {
                            name: name.into(),
                            access,
                            response: response_kind(&method, access),
                        },
                    );
                }
            }
        }
        if undeclared.is_empty() {
            Ok(Self(Arc::new(table)))
        } else {
            Err(AccessError::Undeclared(undeclared))
        }
    }

    /// A table of `rpcs`, each with its path, which require a user.
    #[cfg(test)]
    pub(crate) fn for_tests<const N: usize>(rpcs: [(&str, ResponseKind); N]) -> Self {
        let rpcs = rpcs.map(|(path, response)| {
            let rpc = Rpc {
                name: path.trim_start_matches('/').into(),
                access: Access::User,
                response,
            };
            (path.to_owned(), rpc)
        });
        Self(Arc::new(rpcs.into()))
    }

    /// The RPC at `path`; `None` when the server has no such RPC.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Rpc> {
        self.0.get(path)
    }
}

fn declared(pool: &DescriptorPool, method: &MethodDescriptor) -> Access {
    pool.get_extension_by_name("haven.access.v1.access")
        .and_then(|extension| method.options().get_extension(&extension).as_enum_number())
        .and_then(|number| Access::try_from(number).ok())
        .unwrap_or(Access::Unspecified)
}

fn response_kind(method: &MethodDescriptor, access: Access) -> ResponseKind {
    match method.is_server_streaming() && access != Access::Anyone {
        true if method.name().starts_with("Watch") => ResponseKind::Watch,
        true => ResponseKind::Stream,
        false => ResponseKind::Message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protos_say_who_may_call() {
        let table = AccessTable::read(
            [haven_proto::FILE_DESCRIPTOR_SET],
            &["haven.data.v1.PersonService"],
        )
        .unwrap();
        let rpc = table.find("/haven.data.v1.PersonService/ProvisionUser").unwrap();
        assert_eq!(rpc.access, Access::Service);
        assert!(table.find("/haven.data.v1.PersonService/Nothing").is_none());
        assert!(
            table.find("/haven.identity.v1.AccountService/SignUp").is_none(),
            "not served"
        );
    }

    /// A stream that every caller may open, such as reflection's, has the time limits of a call that has one response.
    #[test]
    fn a_public_stream_counts_as_a_single_message() {
        let service = "grpc.reflection.v1.ServerReflection";
        let table = AccessTable::read([tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET], &[service]).unwrap();
        let rpc = table.find(&format!("/{service}/ServerReflectionInfo")).unwrap();
        assert_eq!(rpc.response, ResponseKind::Message);
    }

    #[test]
    fn an_rpc_without_the_option_is_refused() {
        let error =
            AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &["haven.data.v1.NoService"]).unwrap_err();
        assert!(matches!(error, AccessError::UnknownService(_)), "{error}");

        // The health protocol's RPCs carry no option of ours: under any other name they would be refused.
        use prost::Message as _;
        let mut set = prost_types_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        set.file[0].package = Some("haven.test.v1".into());
        for message in set.file[0]
            .service
            .iter_mut()
            .flat_map(|service| &mut service.method)
        {
            for name in [&mut message.input_type, &mut message.output_type] {
                *name = name
                    .as_ref()
                    .map(|name| name.replace("grpc.health.v1", "haven.test.v1"));
            }
        }
        for message in &mut set.file[0].message_type {
            for field in &mut message.field {
                field.type_name = field
                    .type_name
                    .as_ref()
                    .map(|name| name.replace("grpc.health.v1", "haven.test.v1"));
            }
        }
        let bytes = set.encode_to_vec();
        let error = AccessTable::read([bytes.as_slice()], &["haven.test.v1.Health"]).unwrap_err();
        let AccessError::Undeclared(rpcs) = error else {
            panic!("{error}")
        };
        assert!(
            rpcs.contains(&"haven.test.v1.Health/Check".to_owned()),
            "{rpcs:?}"
        );
    }

    fn prost_types_set(bytes: &[u8]) -> prost_reflect::prost_types::FileDescriptorSet {
        use prost::Message as _;
        prost_reflect::prost_types::FileDescriptorSet::decode(bytes).unwrap()
    }
}
