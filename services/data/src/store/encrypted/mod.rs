//! What people's devices encrypt, in SQL.

pub mod acknowledge;
pub mod caller;
pub mod changes;
pub mod conflict;
pub mod device;
pub mod device_change;
pub mod device_register;
pub mod feed;
mod feed_row;
pub mod preferences;
pub mod push;
pub mod record;
pub mod record_change;
pub mod record_list;
pub mod refusal;
pub mod resolution;
pub mod row;
pub mod share;
pub mod share_list;
pub mod share_open;
