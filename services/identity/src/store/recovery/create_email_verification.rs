//! The SQL of CreateEmailVerification, and the reading of the account that CreateEmailChange shares.

use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    mac::KeyId,
    request_key::RequestKey,
};
use sqlx::types::Json;

use super::{CreateError, Created, Earlier, Recovery, issue::issue};
use crate::{
    domain::{
        audit::AuditEventType,
        email::EmailAddress,
        rate_limit::Quota,
        recovery::{NewRecoveryToken, RecoveryKind, TokenRequest},
    },
    store::rate_limit,
};

/// The name of the method in `identity.requests`.
const METHOD: &str = "CreateEmailVerification";

/// What the account of a request is, before a token is stored.
pub(super) struct Account {
    /// The address as the person typed it.
    pub(super) email: String,
    /// The address in canonical form.
    pub(super) email_canonical: String,
    /// The answer to the same request, when it was made before, and the id of its key.
    pub(super) earlier: Option<(Created, KeyId)>,
}

/// Reads the account of the transaction's person, and the earlier request with the same id.
pub(super) async fn read_account(
    tx: &mut TenantTx,
    method: &'static str,
    person: UserId,
    request: &RequestKey,
) -> Result<Account, CreateError> {
    let row = sqlx::query!(
        r#"
        SELECT /* Recovery.account */ account.id AS "id?", account.email AS "email?",
            account.email_canonical AS "email_canonical?", request.method AS "method?",
            request.payload_mac AS "payload_mac?", request.answer AS "answer?: Json<serde_json::Value>",
            EXISTS (SELECT FROM identity.erasures WHERE user_id = $1) AS "erased!"
        FROM (SELECT $1::uuid AS id) AS asked
            LEFT JOIN identity.users AS account ON account.id = asked.id
            LEFT JOIN identity.requests AS request ON request.user_id = asked.id AND request.id = $2"#,
        person.as_uuid(),
        request.id,
    )
    .fetch_one(tx)
    .await
    .map_err(DbError::from)?;
    let (Some(email), Some(email_canonical)) = (row.email, row.email_canonical) else {
        return Err(match (row.erased, row.id) {
            (true, _) => CreateError::Erased,
            (false, None) => CreateError::NotFound,
            (false, Some(_)) => CreateError::External,
        });
    };
    let earlier = Earlier::of(row.method, row.payload_mac, row.answer.map(|answer| answer.0));
    let earlier = match earlier {
        Some(earlier) => Some(
            earlier
                .answer_to(method, request)
                .ok_or(CreateError::RequestIdReused)?,
        ),
        None => None,
    };
    Ok(Account {
        email,
        email_canonical,
        earlier,
    })
}

/// The outcome of a request for a token about the account's own address.
#[derive(Debug)]
pub struct Verification {
    /// The answer.
    pub created: Created,
    /// The id of the key that the token is derived from, when an earlier call with the same request id created the token.
    pub earlier_key: Option<KeyId>,
    /// The account's address now, as entered.
    pub email: String,
}

// === impl Recovery ===

impl Recovery {
    /// Stores a token for the verification of a person's address. `quotas` has the limits of that address, and `address` its
    /// keyed hash. When the same request did so before, changes nothing and returns the first answer.
    ///
    /// # Errors
    ///
    /// See [`CreateError`]. Nothing was stored, except that after a database error the token may have been: a retry returns the
    /// outcome.
    pub async fn create_email_verification(
        &self,
        new: &TokenRequest<'_>,
        token: NewRecoveryToken,
        quotas: impl FnOnce(Option<&EmailAddress>) -> Vec<Quota> + Send,
        address: impl FnOnce(&str) -> [u8; 32] + Send,
        deadline: Deadline,
    ) -> Result<Verification, CreateError> {
        let mut tx = self
            .database
            .begin(METHOD, Context::ServiceFor(new.user_id), deadline)
            .await?;
        let account = read_account(&mut tx, METHOD, new.user_id, new.request).await?;
        if let Some((created, key)) = account.earlier {
            return Ok(Verification {
                created,
                earlier_key: Some(key),
                email: account.email,
            });
        }
        let quotas = quotas(EmailAddress::parse(&account.email).ok().as_ref());
        rate_limit::admit(&mut tx, &quotas, None).await?;
        let address = Some(address(&account.email_canonical));
        let what = (
            METHOD,
            RecoveryKind::EmailVerification,
            AuditEventType::EmailVerificationRequest,
        );
        // The account was erased, or changed its address, in the meantime: reading again tells which.
        let created = issue(&mut tx, what, new, token, &account.email_canonical, address)
            .await?
            .ok_or(CreateError::Outdated)?;
        tx.commit().await?;
        Ok(Verification {
            created,
            earlier_key: None,
            email: account.email,
        })
    }
}
