//! The access table: the RPCs of a server, with the callers that each admits and the kind of its response, read from
//! the access options in the protos.

use std::{collections::HashMap, sync::Arc};

pub use haven_proto::access::v1::Access;
use prost_reflect::{DescriptorPool, MethodDescriptor};

use crate::scopes::{self, Scope};

/// Standard protocols. Their RPCs cannot carry our access option. Every caller may use them: they expose only whether a
/// service is healthy, and its published contract.
const STANDARD: [&str; 3] = [
    HEALTH,
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The health service.
const HEALTH: &str = "grpc.health.v1.Health";

/// The kind of response that an RPC sends. It decides the time limit of a call and the limits that count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseKind {
    /// A single message. A stream that needs no credentials, such as that of reflection, also has this kind, because an
    /// unauthenticated caller must not hold a permit for long. The watches of health do not: they have places of their own.
    Message,
    /// A stream that ends when all data was sent.
    Stream,
    /// A stream that stays open for later updates. Only the names of these RPCs begin with `Watch`.
    Watch,
}

/// The access rule and response kind of one RPC.
#[derive(Clone, Debug)]
pub struct Rpc {
    /// The RPC's name in logs and metrics, such as `haven.data.v1.PersonService/ProvisionUser`.
    pub name: Arc<str>,
    /// The callers that the RPC admits.
    pub access: Access,
    /// The scope that a service needs to call the RPC. `None` if the RPC admits no service, or any caller.
    pub scope: Option<Scope>,
    /// The kind of response that the RPC sends.
    pub response: ResponseKind,
    /// `true` if the request is a stream of messages, from a caller with credentials. Such a call may take as long as a stream.
    pub uploads: bool,
    /// `true` if the RPC admits users whose consents to required documents are missing.
    pub despite_unmet: bool,
}

/// The RPCs of a server, keyed by their HTTP/2 path, such as `/haven.data.v1.PersonService/ProvisionUser`. Cloning
/// shares the table.
#[derive(Clone, Debug)]
pub struct AccessTable(Arc<HashMap<String, Rpc>>);

/// The reason why the access table cannot be read. A server does not start then.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The descriptors cannot be decoded.
    #[error("the descriptors cannot be decoded: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// A served service is not described by any descriptor.
    #[error("no descriptor describes service {0}")]
    UnknownService(String),
    /// These RPCs do not declare the access option.
    #[error("the option (haven.access.v1.access) is missing on: {}", .0.join(", "))]
    Undeclared(Vec<String>),
    /// These RPCs do not follow the rules of the scope option.
    #[error("the option (haven.access.v1.scope) is wrong on: {}", .0.join("; "))]
    Scope(Vec<String>),
    /// These RPCs admit no users, and have the option for users without consents.
    #[error("the option (haven.access.v1.without_consents) is on RPCs that admit no users: {}", .0.join(", "))]
    DespiteUnmet(Vec<String>),
}

/// A rule of the scope option that an RPC violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum ScopeError {
    #[error("an RPC that admits services must declare a scope")]
    Missing,
    #[error("an RPC that does not admit services as such must not declare a scope")]
    WithoutService,
    #[error("the scope of an RPC must be a group of RPCs, and not a power")]
    Power,
}

impl Rpc {
    /// Returns whether the RPC belongs to a standard protocol, such as gRPC's health service.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        let service = self.name.split_once('/').map(|(service, _)| service);
        service.is_some_and(|service| STANDARD.contains(&service))
    }
}

impl AccessTable {
    /// Reads the access rules of all RPCs of `services` from encoded `FileDescriptorSet`s.
    ///
    /// # Errors
    ///
    /// [`AccessError`] when a descriptor cannot be decoded, a service has no descriptor, an RPC has no access option, or
    /// its scope option does not fit its access.
    pub fn read<'a>(
        descriptors: impl IntoIterator<Item = &'a [u8]>,
        services: &[&str],
    ) -> Result<Self, AccessError> {
        let mut pool = DescriptorPool::new();
        for set in descriptors {
            pool.decode_file_descriptor_set(set)?;
        }
        let (mut table, mut undeclared, mut wrong) = (HashMap::new(), Vec::new(), Vec::new());
        let mut needless = Vec::new();
        for service_name in services {
            let service = pool
                .get_service_by_name(service_name)
                .ok_or_else(|| AccessError::UnknownService((*service_name).to_owned()))?;
            for method in service.methods() {
                let name = format!("{service_name}/{}", method.name());
                let access = if STANDARD.contains(service_name) {
                    Access::Anyone
                } else {
                    declared(&pool, &method, "haven.access.v1.access").unwrap_or(Access::Unspecified)
                };
                if access == Access::Unspecified {
                    undeclared.push(name);
                    continue;
                }
                let scope = declared(&pool, &method, "haven.access.v1.scope");
                let scope = scope.filter(|scope| *scope != Scope::Unspecified);
                if let Err(error) = check_scope(access, scope) {
                    wrong.push(format!("{name}: {error}"));
                }
                let despite_unmet = is_set(&pool, &method, "haven.access.v1.without_consents");
                if despite_unmet && !matches!(access, Access::User | Access::UserOrService) {
                    needless.push(name.clone());
                }
                let rpc = Rpc {
                    name: name.as_str().into(),
                    access,
                    scope,
                    response: response_kind(&method, access),
                    uploads: method.is_client_streaming() && access != Access::Anyone,
                    despite_unmet,
                };
                table.insert(format!("/{name}"), rpc);
            }
        }
        match (undeclared.is_empty(), wrong.is_empty(), needless.is_empty()) {
            (true, true, true) => Ok(Self(Arc::new(table))),
            (false, ..) => Err(AccessError::Undeclared(undeclared)),
            (true, false, _) => Err(AccessError::Scope(wrong)),
            (true, true, false) => Err(AccessError::DespiteUnmet(needless)),
        }
    }

    /// The path of [`for_tests`](Self::for_tests) whose requests are streams.
    #[cfg(test)]
    pub(crate) const UPLOAD: &'static str = "/haven.test.v1.TestService/UploadItems";

    /// Returns a table with the given paths. Every RPC in it requires a user.
    #[cfg(test)]
    pub(crate) fn for_tests<const N: usize>(rpcs: [(&str, ResponseKind); N]) -> Self {
        let rpcs = rpcs.map(|(path, response)| {
            let rpc = Rpc {
                name: path.trim_start_matches('/').into(),
                access: Access::User,
                scope: None,
                response,
                uploads: path == Self::UPLOAD,
                despite_unmet: false,
            };
            (path.to_owned(), rpc)
        });
        Self(Arc::new(rpcs.into()))
    }

    /// Returns all RPCs with their paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Rpc)> {
        self.0.iter().map(|(path, rpc)| (path.as_str(), rpc))
    }

    /// Returns the RPC at `path`; `None` when the server has no such RPC.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Rpc> {
        self.0.get(path)
    }
}

/// Returns the value of the option `name`; `None` when it is not a value of its enum.
fn declared<E: TryFrom<i32>>(pool: &DescriptorPool, method: &MethodDescriptor, name: &str) -> Option<E> {
    pool.get_extension_by_name(name)
        .and_then(|extension| method.options().get_extension(&extension).as_enum_number())
        .and_then(|number| E::try_from(number).ok())
}

/// Returns whether the option `name`, which is a bool, is true.
fn is_set(pool: &DescriptorPool, method: &MethodDescriptor, name: &str) -> bool {
    pool.get_extension_by_name(name)
        .and_then(|extension| method.options().get_extension(&extension).as_bool())
        .unwrap_or_default()
}

fn check_scope(access: Access, scope: Option<Scope>) -> Result<(), ScopeError> {
    match (access, scope) {
        (_, Some(scope)) if scopes::is_power(scope) => Err(ScopeError::Power),
        (Access::Service | Access::UserOrService, None) => Err(ScopeError::Missing),
        (Access::Anyone | Access::User | Access::Unspecified, Some(_)) => Err(ScopeError::WithoutService),
        _ => Ok(()),
    }
}

fn response_kind(method: &MethodDescriptor, access: Access) -> ResponseKind {
    let may_last = access != Access::Anyone || method.parent_service().full_name() == HEALTH;
    match method.is_server_streaming() && may_last {
        true if method.name().starts_with("Watch") => ResponseKind::Watch,
        true => ResponseKind::Stream,
        false => ResponseKind::Message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_rules_are_read_from_the_protos() {
        let table = AccessTable::read(
            [haven_proto::FILE_DESCRIPTOR_SET],
            &["haven.data.v1.PersonService"],
        )
        .unwrap();
        let rpc = table.find("/haven.data.v1.PersonService/ProvisionUser").unwrap();
        assert_eq!(
            (rpc.access, rpc.scope, rpc.despite_unmet),
            (Access::Service, Some(Scope::Provisioning), false)
        );
        let rpc = table.find("/haven.data.v1.PersonService/ExportData").unwrap();
        assert_eq!((rpc.access, rpc.despite_unmet), (Access::User, true));
        assert!(table.find("/haven.data.v1.PersonService/Nothing").is_none());
        assert!(
            table.find("/haven.identity.v1.AccountService/SignUp").is_none(),
            "not served"
        );
    }

    #[test]
    fn an_rpc_has_a_scope_if_and_only_if_it_admits_services() {
        for access in [Access::Service, Access::UserOrService] {
            assert_eq!(check_scope(access, None), Err(ScopeError::Missing));
            assert_eq!(check_scope(access, Some(Scope::Keys)), Ok(()));
        }
        for access in [Access::Anyone, Access::User] {
            assert_eq!(check_scope(access, None), Ok(()));
            let scope = Some(Scope::Keys);
            assert_eq!(check_scope(access, scope), Err(ScopeError::WithoutService));
        }
        for power in [Scope::Author, Scope::Forward] {
            assert_eq!(check_scope(Access::Service, Some(power)), Err(ScopeError::Power));
        }
    }

    /// A stream that needs no credentials, such as that of reflection, has the time limits of a single response.
    #[test]
    fn a_public_stream_counts_as_a_single_message_unless_it_is_a_watch_of_health() {
        let service = "grpc.reflection.v1.ServerReflection";
        let table = AccessTable::read([tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET], &[service]).unwrap();
        let rpc = table.find(&format!("/{service}/ServerReflectionInfo")).unwrap();
        assert_eq!(rpc.response, ResponseKind::Message);
        let table = AccessTable::read([haven_proto::health::FILE_DESCRIPTOR_SET], &[HEALTH]).unwrap();
        for (rpc, expected) in [("Watch", ResponseKind::Watch), ("List", ResponseKind::Message)] {
            let rpc = table.find(&format!("/{HEALTH}/{rpc}")).unwrap();
            assert_eq!(rpc.response, expected);
        }
    }

    #[test]
    fn an_rpc_without_the_access_option_is_an_error() {
        let error =
            AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &["haven.data.v1.NoService"]).unwrap_err();
        assert!(matches!(error, AccessError::UnknownService(_)), "{error}");

        // The RPCs of the health protocol carry no access option; under another name that is an error.
        use prost::Message as _;
        let mut set = prost_types_set(haven_proto::health::FILE_DESCRIPTOR_SET);
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
        let messages = set.file[0].message_type.iter_mut();
        // The entries of a map are a nested message.
        for field in messages.flat_map(|message| {
            let (fields, nested) = (&mut message.field, &mut message.nested_type);
            fields
                .iter_mut()
                .chain(nested.iter_mut().flat_map(|message| &mut message.field))
        }) {
            field.type_name = field
                .type_name
                .as_ref()
                .map(|name| name.replace("grpc.health.v1", "haven.test.v1"));
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
