//! GetPreferences: returns the document.

use haven_platform::{call::Call, failure::Failure, handler::Handler, violations::Violations};
use haven_proto::data::v1::{GetPreferencesRequest, GetPreferencesResponse};

use super::{super::rotation_notice::WithRotationNotice, PreferencesRpc, preferences_message};

impl Handler<GetPreferencesRequest> for PreferencesRpc {
    type Answer = WithRotationNotice<GetPreferencesResponse>;

    async fn handle(&self, call: &Call, request: GetPreferencesRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let device = violations.optional_uuid("device_id", &request.device_id);
        violations.check()?;
        let found = self.preferences.get(caller, device, call.deadline).await?;
        Ok(WithRotationNotice::new(
            GetPreferencesResponse {
                preferences: Some(preferences_message(found.preferences)),
            },
            found.next_rotation_at,
            self.clock.now(),
        ))
    }
}
