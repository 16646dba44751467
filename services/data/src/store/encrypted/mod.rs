//! SQL for client-encrypted content: cycle records, preferences, devices and shares.

pub mod calling_device;
pub mod cycle;
pub mod device;
mod envelope_columns;
pub mod error;
pub mod preferences;
pub mod share;

pub(in crate::store) use self::envelope_columns::EnvelopeColumns;
use self::envelope_columns::envelope_columns;
