//! `haven.data.v1.PreferencesService`: a person's preferences, one encrypted document.

mod get_preferences;
mod put_preferences;

use haven_platform::{
    mac::MacKeys,
    time::{Clock, timestamp},
};
use haven_proto::data::v1::{
    self as proto, GetPreferencesRequest, GetPreferencesResponse, PutPreferencesRequest,
    PutPreferencesResponse, preferences_service_server::PreferencesService,
};

use super::content_message;
use crate::{
    domain::encrypted::preferences::Preferences as Document, store::encrypted::preferences::Preferences,
};

/// The gRPC service `haven.data.v1.PreferencesService`.
#[derive(Debug)]
pub struct PreferencesRpc {
    /// The stored preferences of all people.
    pub preferences: Preferences,
    /// The key of the keyed hashes of requests.
    pub requests: MacKeys,
    /// The time of day.
    pub clock: Clock,
}

haven_platform::grpc_service! {
    impl PreferencesService for PreferencesRpc {
        rpc get_preferences(GetPreferencesRequest) -> GetPreferencesResponse;
        rpc put_preferences(PutPreferencesRequest) -> PutPreferencesResponse;
    }
}

/// Converts preferences into their protobuf message.
pub(in crate::rpc) fn preferences_message(preferences: Document) -> proto::Preferences {
    let (encrypted_payload, crypto_envelope) = content_message(Some(preferences.content));
    proto::Preferences {
        encrypted_payload,
        crypto_envelope,
        version: preferences.version,
        device_id: preferences.device_id.to_string(),
        create_time: Some(timestamp(preferences.created_at)),
        update_time: Some(timestamp(preferences.updated_at)),
        reencryption_due: preferences.reencryption_due,
    }
}
