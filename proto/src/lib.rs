//! Haven's contracts: the types and stubs generated from the protos of this crate, and their descriptors.
//!
//! Servers and clients, in this repository and elsewhere, depend on this crate alone to speak to Haven. `Debug`
//! leaves out every field that its proto marks `debug_redact`.

#![allow(
    clippy::disallowed_methods,
    reason = "generated stubs make statuses of their own"
)]

/// Who may call an RPC.
pub mod access {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("haven.access.v1");
    }
}

/// Why a call failed.
pub mod errors {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("haven.errors.v1");
    }
}

/// Accounts and sessions.
pub mod identity {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("haven.identity.v1");
    }
}

/// What people write.
pub mod data {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("haven.data.v1");
    }
}

mod debug {
    include!(concat!(env!("OUT_DIR"), "/debug.rs"));
}

/// The descriptors of every proto of this crate and of what they import: an encoded `google.protobuf.FileDescriptorSet`,
/// with comments, and with the access options that `prost` does not keep.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/haven.binpb"));
