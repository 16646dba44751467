//! Loads rows with COPY, and issues access tokens.

use std::fs;

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use haven_testkit::{Stack, random};
use jsonwebtoken::{EncodingKey, decode_header, encode};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

/// The validity of the tokens in seconds: longer than a benchmark.
const TOKEN_LIFETIME: i64 = 6 * 3600;

/// Returns an access token for each of `people`: a copy of a token that identity issued, with another user and session,
/// signed with the key of identity.
pub(crate) async fn tokens(stack: &Stack, people: impl Iterator<Item = Uuid>) -> Result<Vec<String>> {
    let template = stack.person().await?.token;
    let header = decode_header(&template)?;
    let claims = template.split('.').nth(1).context("the token has no claims")?;
    let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
    let key = EncodingKey::from_ec_pem(&fs::read(&stack.identity.variables["SIGNING_KEY_FILES"])?)?;
    claims["exp"] = json!(Utc::now().timestamp() + TOKEN_LIFETIME);
    people
        .map(|person| {
            claims["sub"] = json!(person);
            claims["session_id"] = json!(random::uuid());
            Ok(encode(&header, &claims, &key)?)
        })
        .collect()
}

/// Runs the COPY `statement` with the input `chunks`.
pub(crate) async fn copy(
    connection: &mut PgConnection,
    statement: &str,
    chunks: impl IntoIterator<Item = Result<String>>,
) -> Result<()> {
    let mut copy = connection.copy_in_raw(statement).await?;
    for chunk in chunks {
        copy.send(chunk?.as_bytes()).await?;
    }
    copy.finish().await?;
    Ok(())
}
