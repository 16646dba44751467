//! GetSigningKeys: returns the public keys that verify access tokens.

use haven_platform::{call::Call, failure::Failure, handler::Handler};
use haven_proto::identity::v1::{GetSigningKeysRequest, GetSigningKeysResponse, SigningKey};

use super::SessionRpc;
use crate::signing_keys::KEYS_MAX_AGE;

impl Handler<GetSigningKeysRequest> for SessionRpc {
    type Answer = GetSigningKeysResponse;

    async fn handle(
        &self,
        _call: &Call,
        _request: GetSigningKeysRequest,
    ) -> Result<GetSigningKeysResponse, Failure> {
        let keys = self.signer.public_keys().map(|key| SigningKey {
            key_id: key.id.clone(),
            algorithm: "ES256".to_owned(),
            x: key.x.clone(),
            y: key.y.clone(),
        });
        Ok(GetSigningKeysResponse {
            keys: keys.collect(),
            issuer: self.signer.issuer().to_owned(),
            max_age: prost_types::Duration::try_from(KEYS_MAX_AGE).ok(),
        })
    }
}
