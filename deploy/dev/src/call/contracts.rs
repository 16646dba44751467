//! The contracts: every RPC that the running services answer, with its access, and the comments of the protos.

use anyhow::{Context, Result};
use haven_proto::access::v1::{Access, Scope};
use prost_reflect::{DescriptorPool, ExtensionDescriptor, FileDescriptor, MethodDescriptor};

/// The descriptors of Haven, of gRPC's health service and of gRPC's reflection service.
pub(crate) struct Contracts {
    pool: DescriptorPool,
    access: ExtensionDescriptor,
    scope: ExtensionDescriptor,
}

/// An RPC.
#[derive(Clone)]
pub(crate) struct Rpc {
    /// The descriptor.
    pub(crate) method: MethodDescriptor,
    /// The service that answers it: `identity` or `data`. `None` if both do.
    pub(crate) server: Option<&'static str>,
    /// The callers that it admits.
    pub(crate) access: Access,
    /// The scope that a service needs. `None` if the RPC admits no service as such.
    pub(crate) scope: Option<Scope>,
}

impl Contracts {
    /// Reads the descriptors that are compiled into this program.
    pub(crate) fn read() -> Result<Self> {
        let mut pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
        pool.decode_file_descriptor_set(haven_proto::health::FILE_DESCRIPTOR_SET)?;
        pool.decode_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)?;
        let access = pool.get_extension_by_name("haven.access.v1.access");
        let scope = pool.get_extension_by_name("haven.access.v1.scope");
        Ok(Self {
            pool,
            access: access.context("the descriptors have no access option")?,
            scope: scope.context("the descriptors have no scope option")?,
        })
    }

    /// Returns the descriptors.
    pub(crate) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// Returns all RPCs: those of Haven in the order of the protos, and then the standard ones.
    pub(crate) fn rpcs(&self) -> Vec<Rpc> {
        let services = self.pool.services();
        services
            .flat_map(|service| {
                service
                    .methods()
                    .map(|method| self.rpc(method))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn rpc(&self, method: MethodDescriptor) -> Rpc {
        let server = match method.parent_service().package_name() {
            "haven.identity.v1" => Some("identity"),
            "haven.data.v1" => Some("data"),
            _ => None,
        };
        let declared = method.options().get_extension(&self.access).as_enum_number();
        // The standard services declare nothing, and admit every caller.
        let declared = declared.and_then(|number| Access::try_from(number).ok());
        let access = match declared {
            None | Some(Access::Unspecified) => Access::Anyone,
            Some(access) => access,
        };
        let scope = method.options().get_extension(&self.scope).as_enum_number();
        let scope = scope.and_then(|number| Scope::try_from(number).ok());
        Rpc {
            method,
            server,
            access,
            scope: scope.filter(|scope| *scope != Scope::Unspecified),
        }
    }
}

impl Rpc {
    /// Returns the full name: `haven.identity.v1.AccountService/SignUp`.
    pub(crate) fn full_name(&self) -> String {
        format!(
            "{}/{}",
            self.method.parent_service().full_name(),
            self.method.name()
        )
    }

    /// Returns the name without the package: `AccountService/SignUp`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.method.parent_service().name(), self.method.name())
    }

    /// Returns the comment of the proto.
    pub(crate) fn comment(&self) -> String {
        comment(&self.method.parent_file(), self.method.path())
    }

    /// Returns the access option in words.
    pub(crate) fn access_words(&self) -> &'static str {
        match self.access {
            Access::Unspecified | Access::Anyone => "anyone",
            Access::User => "user",
            Access::Service => "service",
            Access::UserOrService => "user or service",
        }
    }

    /// Returns the name of the scope that a service needs, as `ALLOWED_SERVICES` has it.
    pub(crate) fn scope_name(&self) -> Option<String> {
        let name = self.scope?.as_str_name();
        Some(name.trim_start_matches("SCOPE_").to_lowercase())
    }

    /// Returns the service of the running installation that has the scope of the RPC.
    pub(crate) fn service(&self) -> &'static str {
        match self.scope {
            Some(Scope::Provisioning) => "identity",
            Some(Scope::Analysis) => "worker",
            Some(Scope::Keys) => "data",
            _ => "backend",
        }
    }
}

/// Returns the comment above the declaration at `path` of `file`, without indentation. Empty if there is none.
pub(crate) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location
        .map(|location| location.leading_comments())
        .unwrap_or_default();
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Returns the first sentence of a comment, on one line.
pub(crate) fn first_sentence(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => line,
    }
}
