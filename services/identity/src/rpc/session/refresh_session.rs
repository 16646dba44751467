//! RefreshSession: exchanges a refresh token for new tokens.

use haven_platform::{call::Call, failure::Failure, handler::Handler, reason::Reason, time::timestamp};
use haven_proto::identity::v1::{RefreshSessionRequest, RefreshSessionResponse};
use secrecy::{ExposeSecret, SecretString};

use super::SessionRpc;
use crate::{
    domain::{provider::AuthProvider, refresh_token::RefreshToken, session::Session},
    store::session::Refreshed,
};

impl Handler<RefreshSessionRequest> for SessionRpc {
    type Answer = RefreshSessionResponse;

    async fn handle(
        &self,
        call: &Call,
        request: RefreshSessionRequest,
    ) -> Result<RefreshSessionResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let token = parse(request)?;
        let next = token.next(&self.refresh_key);
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
}

impl SessionRpc {
    async fn refresh(
        &self,
        call: &Call,
        token: &RefreshToken,
        next: &RefreshToken,
    ) -> Result<Session, Failure> {
        let key = self
            .sessions
            .find_refresh_token(&token.hash(&self.refresh_key), call.deadline)
            .await?
            .ok_or_else(|| Failure::new(Reason::TokenInvalid))?;
        let next = self.new_refresh_token(next);
        let origin = self.audit_origins.of(call);
        let now = self.clock.now();
        match self
            .sessions
            .refresh(key, next, &origin, now, call.deadline)
            .await?
        {
            Refreshed::Session(session) => Ok(session),
            Refreshed::Reused => {
                self.ended_sessions.add(key.session_id);
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
    let text = SecretString::from(request.refresh_token);
    match text.expose_secret() {
        "" => Err(Failure::field(FIELD, "REQUIRED", "refresh_token is required")),
        text => RefreshToken::parse(text).map_err(|_| {
            Failure::field(
                FIELD,
                "NOT_A_REFRESH_TOKEN",
                "refresh_token must be a refresh token that this service issued",
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_refresh_token_is_an_invalid_field() {
        for (text, name) in [
            ("", "REQUIRED"),
            ("hrt_x", "NOT_A_REFRESH_TOKEN"),
            (" ", "NOT_A_REFRESH_TOKEN"),
        ] {
            let request = RefreshSessionRequest {
                refresh_token: text.into(),
            };
            let failure = parse(request).unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidField);
            assert_eq!(failure.all_violations()[0].name, name);
        }
    }
}
