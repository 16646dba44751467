//! RefreshSession: exchanges a refresh token for new tokens.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::StoredMac, reason::Reason, time::timestamp,
};
use haven_proto::identity::v1::{RefreshSessionRequest, RefreshSessionResponse};
use secrecy::{ExposeSecret, SecretString};

use super::SessionRpc;
use crate::{
    domain::{provider::AuthProvider, refresh_token::RefreshToken},
    rpc::consent_grant::grant_message,
    store::session::{Refreshed, RefreshedSession},
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
        let (refreshed, next) = self.refresh(call, &token).await?;
        let (session, missing) = (refreshed.session, &refreshed.missing_consents);
        let access_token = self.signer.sign(&session, missing).map_err(Failure::internal)?;
        Ok(RefreshSessionResponse {
            access_token: access_token.expose_secret().to_owned(),
            access_token_expire_time: Some(timestamp(session.expires_at)),
            refresh_token: next.text().expose_secret().to_owned(),
            refresh_token_expire_time: Some(timestamp(session.refresh_expires_at)),
            user_id: session.user_id.to_string(),
            session_id: session.id.to_string(),
            missing_consents: missing.iter().map(grant_message).collect(),
        })
    }
}

impl SessionRpc {
    /// Uses `token`, and returns its session and its successor.
    async fn refresh(
        &self,
        call: &Call,
        token: &RefreshToken,
    ) -> Result<(RefreshedSession, RefreshToken), Failure> {
        let hashes = self
            .refresh_keys
            .iter()
            .map(|(id, key)| StoredMac::new(token.hash(key), id));
        let quotas = self
            .rate_limit_keys
            .quotas("RefreshSession", &self.refresh_limits, call, None);
        let found = self
            .sessions
            .find_refresh_token(hashes, &quotas, call.deadline)
            .await?
            .ok_or_else(|| Failure::new(Reason::TokenInvalid))?;
        let first = self.refresh_keys.first_id();
        let successor = token.next(self.refresh_keys.get(first));
        let next = self.new_refresh_token(&successor, first);
        let quotas =
            self.rate_limit_keys
                .session_quota("RefreshSession", &self.refresh_limits, found.key.session_id);
        let origin = self.audit_origins.of(call);
        match self
            .sessions
            .refresh(
                found,
                next,
                (&quotas, &self.required_consents),
                &origin,
                call.deadline,
            )
            .await?
        {
            Refreshed::Session(session) => Ok((session, successor)),
            Refreshed::Again(session) => Ok((session, self.successor(call, token).await?)),
            Refreshed::Reused => {
                self.ended_sessions.add(found.key.user_id, found.key.session_id);
                Err(Failure::new(Reason::SessionRevoked))
            }
            Refreshed::Ended => Err(Failure::new(Reason::SessionRevoked)),
            Refreshed::Expired => Err(Failure::new(Reason::TokenExpired)),
            Refreshed::Unknown => Err(Failure::new(Reason::TokenInvalid)),
        }
    }
}

impl SessionRpc {
    /// Returns the successor of `token`, which is stored. Another replica may have derived it from another key of the ring.
    async fn successor(&self, call: &Call, token: &RefreshToken) -> Result<RefreshToken, Failure> {
        if self.refresh_keys.ids().len() == 1 {
            return Ok(token.next(self.refresh_keys.get(self.refresh_keys.first_id())));
        }
        let successors = self.refresh_keys.iter();
        let hashes = successors.map(|(id, key)| StoredMac::new(token.next(key).hash(key), id));
        let found = self
            .sessions
            .find_refresh_token(hashes, &[], call.deadline)
            .await?;
        // Without a row, the key of the successor is gone from the ring, or the session is gone.
        let found = found.ok_or_else(|| Failure::new(Reason::TokenInvalid))?;
        Ok(token.next(self.refresh_keys.get(found.hash_key)))
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
