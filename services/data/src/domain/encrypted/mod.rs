//! Client-encrypted content: cycle records, preferences, devices and shares.
//!
//! The service has no key to this content. Nothing in this module, or in the modules of the same name in `store` and
//! `rpc`, may decrypt; a test checks which names these modules use.

pub mod change;
pub mod device;
pub mod device_change;
pub mod envelope;
pub mod feed;
pub mod passcode;
mod plaintext;
pub mod preferences;
pub mod push;
pub mod record;
pub mod record_list;
pub mod resolution;
pub mod share;
pub mod share_token;
