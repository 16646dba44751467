//! OpenShare: returns the content of a share to a recipient that has its token.
//!
//! The recipient has no account. A refusal has one reason for all causes, and its latency is quantized, so that neither
//! shows whether the token exists or why the share was not opened.

use std::{mem, time::Duration};

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    latency::next_step,
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, OpenShareRequest, OpenShareResponse};
use secrecy::SecretString;
use tokio::time::{Instant, sleep_until};

use super::{super::content_message, ShareRpc, passcode};
use crate::domain::encrypted::{
    passcode::Passcode,
    share::{DeviceType, OpenedShare},
    share_token::ShareToken,
};

/// The step of a refusal's latency: a refusal is sent at a multiple of the step after the start of the call. The step
/// is many times longer than looking up a share and logging the refusal.
const STEP: Duration = Duration::from_millis(50);

/// The step of a refusal's latency when a passcode is hashed, which may have to queue.
const STEP_WITH_PASSCODE: Duration = Duration::from_millis(250);

/// The step of the time for which a refused attempt holds the mutex of its token. Attempts behind it wait for it, and
/// would otherwise show the difference between an unknown token, which is only looked up, and a refusal, which is
/// logged to disk.
const LOCKED_STEP: Duration = Duration::from_millis(5);

/// The parsed [`OpenShareRequest`].
struct Open {
    token: ShareToken,
    passcode: Option<Passcode>,
    device_type: DeviceType,
}

impl Handler<OpenShareRequest> for ShareRpc {
    type Answer = OpenShareResponse;

    async fn handle(&self, call: &Call, request: OpenShareRequest) -> Result<Self::Answer, Failure> {
        let start = Instant::now();
        let open = Open::parse(request)?;
        let step = match open.passcode {
            Some(_) => STEP_WITH_PASSCODE,
            None => STEP,
        };
        match self.open(call, open).await? {
            Some(opened) => Ok(response(opened)),
            None => {
                sleep_until(next_step(start, Instant::now(), step)).await;
                Err(Failure::new(Reason::ShareUnavailable))
            }
        }
    }
}

impl ShareRpc {
    /// Opens the share. `None` when the attempt is refused, for any reason.
    async fn open(&self, call: &Call, open: Open) -> Result<Option<OpenedShare>, Failure> {
        let token_hashes = self.share_token_hashes.of(&open.token);
        let passcode = match open.passcode {
            // The passcode is hashed even when there is no hash to compare with.
            Some(passcode) => {
                let permit = self.passcodes.anonymous_permit(call.network)?;
                let recipe = self.shares.passcode_recipe(&token_hashes, call.deadline).await?;
                let recipe = recipe.as_ref().map(|(key, recipe)| (*key, recipe.as_str()));
                let hash = self
                    .passcodes
                    .hash_attempt(permit, &passcode, recipe, call.deadline);
                Some(hash.await?)
            }
            None => None,
        };
        let guard = self.openings.lock(&token_hashes.first().mac()).await;
        let locked_at = Instant::now();
        let opened = self.shares.open(
            &token_hashes,
            passcode.as_ref(),
            open.device_type,
            self.clock.now(),
            call.deadline,
        );
        let opened = opened.await?;
        if opened.is_none() {
            sleep_until(next_step(locked_at, Instant::now(), LOCKED_STEP)).await;
        }
        drop(guard);
        Ok(opened)
    }
}

impl Open {
    fn parse(mut request: OpenShareRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let token = SecretString::from(mem::take(&mut request.token));
        let token = ShareToken::parse(&token);
        if token.is_none() {
            let description = "token must be one that CreateShare returned";
            violations.add(Violation::new("token", "NOT_A_TOKEN", description));
        }
        let passcode = passcode::parse(mem::take(&mut request.passcode).into(), &mut violations);
        let device_type = match proto::DeviceType::try_from(request.device_type) {
            Ok(proto::DeviceType::Mobile) => DeviceType::Mobile,
            Ok(proto::DeviceType::Desktop) => DeviceType::Desktop,
            Ok(proto::DeviceType::Unspecified | proto::DeviceType::Unknown) => DeviceType::Unknown,
            Err(_) => {
                violations.unknown_value("device_type");
                DeviceType::Unknown
            }
        };
        Ok(Self {
            token: violations.finish(token)?,
            passcode,
            device_type,
        })
    }
}

fn response(opened: OpenedShare) -> OpenShareResponse {
    let (encrypted_share_data, crypto_envelope) = content_message(Some(opened.content));
    OpenShareResponse {
        encrypted_share_data,
        crypto_envelope,
        share_id: opened.share_id.to_string(),
        user_id: opened.person.to_string(),
        create_time: Some(timestamp(opened.created_at)),
        expire_time: Some(timestamp(opened.expires_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(request: OpenShareRequest) -> Vec<(String, &'static str)> {
        let failure = Open::parse(request).err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let request = OpenShareRequest {
            token: "x".into(),
            passcode: "123".into(),
            device_type: 99,
        };
        let expected = [
            ("token", "NOT_A_TOKEN"),
            ("passcode", "PASSCODE_TOO_SHORT"),
            ("device_type", "UNKNOWN_VALUE"),
        ];
        assert_eq!(
            violations(request),
            expected.map(|(field, name)| (field.into(), name))
        );
        let empty = violations(OpenShareRequest::default());
        assert_eq!(empty, [("token".into(), "NOT_A_TOKEN")]);
    }

    #[test]
    fn the_device_type_is_optional() {
        let device_type = |device_type: proto::DeviceType| {
            let request = OpenShareRequest {
                token: ShareToken::new([1; 32]).write(),
                passcode: String::new(),
                device_type: device_type.into(),
            };
            Open::parse(request).ok().unwrap().device_type
        };
        assert_eq!(device_type(proto::DeviceType::Unspecified), DeviceType::Unknown);
        assert_eq!(device_type(proto::DeviceType::Unknown), DeviceType::Unknown);
        assert_eq!(device_type(proto::DeviceType::Mobile), DeviceType::Mobile);
        assert_eq!(device_type(proto::DeviceType::Desktop), DeviceType::Desktop);
    }
}
