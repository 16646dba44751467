//! What people's devices encrypt. There is no key to any of it here, and nothing in this module, or in the ones of the
//! same name in `store` and `rpc`, may open anything: a test checks what they name.

pub mod change;
pub mod device;
pub mod envelope;
pub mod feed;
pub mod passcode;
mod plaintext;
pub mod preferences;
pub mod record;
pub mod record_list;
pub mod share;
pub mod share_token;
