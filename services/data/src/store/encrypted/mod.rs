//! What people's devices encrypt, in SQL.

pub mod calling_device;
pub mod cycle;
pub mod device;
pub mod error;
pub mod preferences;
pub mod share;
