//! The API of Haven: messages, clients and servers generated from the protos of this crate, and their descriptors.
//!
//! Servers and clients, in this repository and elsewhere, need only this crate to call Haven. `README.md` of this crate
//! describes the API. `Debug` prints `[redacted]` for every field that its proto marks `(haven.access.v1.redact)`.
//!
//! ```
//! use haven_proto::{data::v1::AppendMessageRequest, errors::v1::Reason};
//!
//! let request = AppendMessageRequest {
//!     text: "I said hello first today.".into(),
//!     ..Default::default()
//! };
//! assert!(!format!("{request:?}").contains("hello"));
//! assert_eq!(Reason::NotFound.as_str_name(), "REASON_NOT_FOUND");
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "generated stubs create statuses themselves"
)]

/// The option that declares which callers an RPC admits.
pub mod access {
    /// Version 1 of this package.
    pub mod v1 {
        tonic::include_proto!("haven.access.v1");
    }
}

/// The reasons of failed calls.
pub mod errors {
    /// Version 1 of this package.
    pub mod v1 {
        tonic::include_proto!("haven.errors.v1");
    }
}

/// The identity service: accounts and sessions.
pub mod identity {
    /// Version 1 of this package.
    pub mod v1 {
        tonic::include_proto!("haven.identity.v1");
    }
}

/// The data service: conversations, analyses, crisis events, and content that devices encrypt.
pub mod data {
    /// Version 1 of this package.
    pub mod v1 {
        tonic::include_proto!("haven.data.v1");
    }
}

/// The health protocol of gRPC, which both services serve.
pub mod health {
    /// Version 1 of this package.
    #[allow(missing_docs, reason = "prost generates a module without a comment")]
    pub mod v1 {
        tonic::include_proto!("grpc.health.v1");
    }

    /// An encoded `google.protobuf.FileDescriptorSet` with the protos of this protocol.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/standard.binpb"));
}

mod debug {
    include!(concat!(env!("OUT_DIR"), "/debug.rs"));
}

/// An encoded `google.protobuf.FileDescriptorSet` with the protos of this crate and their imports.
///
/// It includes the comments, and the options of `access.proto`, which the types of `prost` would drop.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/haven.binpb"));

/// Compiles the examples of `README.md`.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
