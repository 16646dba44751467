//! `haven.data.v1.PreferencesService`: people's preferences.

mod put_preferences;

pub(in crate::rpc) use self::put_preferences::preferences_message;
use super::{EncryptedRpc, cycle::record as message, envelope, rotation_notice as notice};
