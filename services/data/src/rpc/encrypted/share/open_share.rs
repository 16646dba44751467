//! Opening a share, as whoever has its token. Of a refusal nobody learns the reason: not from what it says, and not from
//! how long it takes.

use std::{mem, time::Duration};

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, OpenShareRequest, OpenShareResponse};
use secrecy::SecretString;
use tokio::time::{Instant, sleep_until};

use super::{EncryptedRpc, message_of_content::content_message, share_message::passcode};
use crate::domain::encrypted::{
    passcode::Passcode,
    share::{DeviceType, OpenedShare},
    share_token::ShareToken,
};

/// A refusal is answered at a multiple of this after the call, and not before: many times what it takes to look for a share,
/// and to write down that it was refused.
const STEP: Duration = Duration::from_millis(50);

/// The same where a passcode is hashed, whose turn may have to be waited for.
const STEP_WITH_PASSCODE: Duration = Duration::from_millis(250);

/// A turn that ends in a refusal lasts a multiple of this. Those behind wait for all before them, and to find that there
/// is no share takes less than to write down that one was refused, which has to reach the disk.
const TURN: Duration = Duration::from_millis(5);

/// A share that somebody wants to open.
struct Open {
    token: ShareToken,
    passcode: Option<Passcode>,
    device_type: DeviceType,
}

impl EncryptedRpc {
    pub(super) async fn open_share_of(
        &self,
        call: &Call,
        request: OpenShareRequest,
    ) -> Result<OpenShareResponse, Failure> {
        let began = Instant::now();
        let open = Open::parse(request)?;
        let step = match open.passcode {
            Some(_) => STEP_WITH_PASSCODE,
            None => STEP,
        };
        match self.opened(call, open).await? {
            Some(opened) => Ok(response(opened)),
            None => {
                sleep_until(next_step(began, Instant::now(), step)).await;
                Err(Failure::new(Reason::ShareUnavailable))
            }
        }
    }

    async fn opened(&self, call: &Call, open: Open) -> Result<Option<OpenedShare>, Failure> {
        let token_hash = self.share_token_hashes.of(&open.token);
        let passcode = match open.passcode {
            // Hashed also where there is nothing to compare with.
            Some(passcode) => {
                let stranger = self.passcodes.stranger(call.network)?;
                let recipe = self.shares.passcode_recipe(token_hash, call.deadline).await?;
                let hash = self
                    .passcodes
                    .try_by(stranger, passcode, recipe.as_deref(), call.deadline);
                Some(hash.await?)
            }
            None => None,
        };
        let turn = self.openings.turn(&token_hash).await;
        let began = Instant::now();
        let opened = self.shares.open(
            token_hash,
            passcode.as_ref(),
            open.device_type,
            self.clock.now(),
            call.deadline,
        );
        let opened = opened.await?;
        if opened.is_none() {
            sleep_until(next_step(began, Instant::now(), TURN)).await;
        }
        drop(turn);
        Ok(opened)
    }
}

impl Open {
    fn parse(mut sent: OpenShareRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let token = SecretString::from(mem::take(&mut sent.token));
        let token = ShareToken::parse(&token);
        if token.is_none() {
            let description = "This has to be a token, as CreateShare answers one";
            violations.add(Violation::new("token", "NOT_A_TOKEN", description));
        }
        let passcode = passcode(mem::take(&mut sent.passcode).into(), &mut violations);
        let device_type = match proto::DeviceType::try_from(sent.device_type) {
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

/// The first multiple of `step` after `began` that is not before `now`, and not `began` itself.
fn next_step(began: Instant, now: Instant, step: Duration) -> Instant {
    let elapsed = now.saturating_duration_since(began);
    let steps = elapsed.as_nanos().div_ceil(step.as_nanos()).max(1);
    began + step * u32::try_from(steps).unwrap_or(u32::MAX)
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
        let nothing = violations(OpenShareRequest::default());
        assert_eq!(nothing, [("token".into(), "NOT_A_TOKEN")]);
    }

    #[test]
    fn a_device_need_not_say_what_it_is() {
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

    #[test]
    fn a_refusal_waits_for_the_next_step() {
        let began = Instant::now();
        let waits_for = |millis: u64| {
            let now = began + Duration::from_millis(millis);
            next_step(began, now, STEP).duration_since(began).as_millis()
        };
        assert_eq!([0, 1, 49, 50, 51, 100].map(waits_for), [50, 50, 50, 50, 100, 100]);
    }
}
