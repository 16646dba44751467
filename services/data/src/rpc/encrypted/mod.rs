//! The services with client-encrypted content: cycle records, preferences, devices and shares.
//!
//! Nothing here has a key to the content, or may name a module that has one; a test checks that.

pub mod cycle;
pub mod device;
mod envelope;
mod failure;
mod local_time;
pub mod preferences;
mod rotation_notice;
pub mod share;

pub(in crate::rpc) use self::envelope::content_message;
