//! Shares for the page that opens them, sealed by the reference client.

use anyhow::{Result, anyhow, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use haven_proto::data::v1::{CreateShareRequest, EncryptionAlgorithm, RevokeShareRequest};
use haven_testkit::{
    Stack,
    encryption::{ContentBinding, Kind, Secret},
    random,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    retry::{LONG_TIMEOUT, retry_for},
    superuser_sql::scalar_with,
    test_device::at,
};

/// What a spec wishes to share.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ShareWish {
    /// The bytes to seal, in Base64.
    content: String,
    #[serde(default)]
    passcode: String,
    /// `XCHACHA20_POLY1305` or `AES_256_GCM`.
    algorithm: Option<String>,
    expire_seconds: Option<i64>,
    max_access_count: Option<i32>,
}

/// Creates a share of a new person.
pub(super) async fn create(stack: &Stack, wish: ShareWish) -> Result<Value> {
    let person = stack.person().await?;
    let client = stack.user(&person)?;
    let id = random::uuid();
    let algorithm = wish.algorithm.as_deref().unwrap_or("XCHACHA20_POLY1305");
    let algorithm = EncryptionAlgorithm::from_str_name(&format!("ENCRYPTION_ALGORITHM_{algorithm}"))
        .ok_or_else(|| anyhow!("no algorithm {algorithm}"))?;
    let binding = ContentBinding {
        kind: Kind::Share,
        user_id: person.id,
        record_id: id,
        version: 1,
    };
    let bytes: [u8; 32] = rand::random();
    let content = base64::engine::general_purpose::STANDARD.decode(wish.content)?;
    let (encrypted_share_data, envelope) =
        Secret::new(bytes).seal(&content, binding, algorithm, random::uuid(), 1)?;
    let expire_time = Utc::now() + TimeDelta::seconds(wish.expire_seconds.unwrap_or(3600));
    let request = CreateShareRequest {
        share_id: String::new(),
        encrypted_share_data,
        crypto_envelope: Some(envelope),
        expire_time: Some(at(expire_time)),
        max_access_count: wish.max_access_count.unwrap_or(10),
        passcode: wish.passcode,
        request_id: id.to_string(),
    };
    // The service may not know yet of a person who has just signed up.
    let created = retry_for(LONG_TIMEOUT, Some("ACCOUNT_NOT_READY"), async || {
        client.share().create_share(request.clone()).await
    })
    .await?
    .into_inner();
    Ok(json!({
        "token": created.token,
        "secret": URL_SAFE_NO_PAD.encode(bytes),
        "shareId": id.to_string(),
        "person": { "email": person.email, "password": person.password, "userId": person.id.to_string() },
    }))
}

/// Revokes a share, as its person.
pub(super) async fn revoke(stack: &Stack, share_id: String, email: &str, password: &str) -> Result<Value> {
    let person = stack.anonymous()?.sign_in(email, password).await?;
    let mut shares = stack.user(&person)?.share();
    shares.revoke_share(RevokeShareRequest { share_id }).await?;
    Ok(Value::Null)
}

/// Changes a byte of the stored ciphertext, as an intruder in the database could.
pub(super) async fn tamper(stack: &Stack, share_id: &str) -> Result<Value> {
    changed(
        stack,
        share_id,
        "UPDATE data.healthcare_share SET encrypted_payload = set_byte(encrypted_payload, 0, get_byte(encrypted_payload, 0) # 1)
         WHERE id = $1::uuid RETURNING true",
    )
    .await
}

/// Moves the times of a share into the past.
pub(super) async fn expire(stack: &Stack, share_id: &str) -> Result<Value> {
    changed(
        stack,
        share_id,
        "UPDATE data.healthcare_share SET created_at = now() - interval '1 day', expires_at = now() - interval '1 second'
         WHERE id = $1::uuid RETURNING true",
    )
    .await
}

async fn changed(stack: &Stack, share_id: &str, sql: &'static str) -> Result<Value> {
    let changed: bool = scalar_with(&stack.database, sql, share_id.to_owned()).await;
    ensure!(changed, "no share {share_id}");
    Ok(Value::Null)
}
