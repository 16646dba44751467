//! RefreshSession: a refresh token for the next one.

use haven_platform::{call::Call, failure::Failure, reason::Reason, time::timestamp};
use haven_proto::identity::v1::{RefreshSessionRequest, RefreshSessionResponse};
use secrecy::{ExposeSecret, SecretString};

use crate::rpc::{IdentityRpc, rate_limit_keys::origin};
use crate::{
    domain::{provider::AuthProvider, refresh_token::RefreshToken, session::Session},
    store::session::refresh_session::Refreshed,
};

impl IdentityRpc {
    pub(in crate::rpc) async fn refresh_session_of(
        &self,
        call: &Call,
        request: RefreshSessionRequest,
    ) -> Result<RefreshSessionResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let token = parse(request)?;
        let next = token.next(&self.refresh);
        let session = self.refresh(call, &token, &next).await?;
        let access_token = self.signer.sign(&session).map_err(Failure::internal)?;
        Ok(RefreshSessionResponse {
            access_token: access_token.expose_secret().to_owned(),
            access_token_expire_time: Some(timestamp(session.expires_at)),
            refresh_token: next.text().expose_secret().to_owned(),
            refresh_token_expire_time: Some(timestamp(session.refresh_expires_at)),
            user_id: session.user_id.to_string(),
            session_id: session.id.to_string(),
        })
    }

    async fn refresh(
        &self,
        call: &Call,
        token: &RefreshToken,
        next: &RefreshToken,
    ) -> Result<Session, Failure> {
        let place = self
            .sessions
            .find_refresh_token(&token.hash(&self.refresh), call.deadline)
            .await?
            .ok_or_else(|| Failure::new(Reason::TokenInvalid))?;
        let origin = origin(call, &self.networks);
        let now = self.clock.now();
        let refreshed = self
            .sessions
            .refresh(place, self.kept(next), &origin, now, call.deadline);
        match refreshed.await? {
            Refreshed::Session(session) => Ok(session),
            Refreshed::Copied => {
                self.ended.add(place.session_id);
                Err(Failure::new(Reason::SessionRevoked))
            }
            Refreshed::Ended => Err(Failure::new(Reason::SessionRevoked)),
            Refreshed::Expired => Err(Failure::new(Reason::TokenExpired)),
            Refreshed::Unknown => Err(Failure::new(Reason::TokenInvalid)),
        }
    }
}

fn parse(request: RefreshSessionRequest) -> Result<RefreshToken, Failure> {
    const FIELD: &str = "refresh_token";
    let sent = SecretString::from(request.refresh_token);
    match sent.expose_secret() {
        "" => Err(Failure::field(
            FIELD,
            "REQUIRED",
            "A refresh token is required here",
        )),
        text => RefreshToken::parse(text).map_err(|_| {
            Failure::field(
                FIELD,
                "NOT_A_REFRESH_TOKEN",
                "This has to be a refresh token, as it came",
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_refresh_token_is_a_wrong_field() {
        for (sent, name) in [
            ("", "REQUIRED"),
            ("hrt_x", "NOT_A_REFRESH_TOKEN"),
            (" ", "NOT_A_REFRESH_TOKEN"),
        ] {
            let request = RefreshSessionRequest {
                refresh_token: sent.into(),
            };
            let failure = parse(request).unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidField);
            assert_eq!(failure.all_violations()[0].name, name);
        }
    }
}
