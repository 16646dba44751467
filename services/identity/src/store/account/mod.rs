//! Accounts, credentials, consents and erasures: the SQL of `AccountService`.

mod change_password;
mod consent;
mod delete_account;
mod erasure;
mod export_account;
mod external_account;
mod get_account;
mod get_deletion;
mod get_usage;
mod grant_consent;
mod import_accounts;
mod list_accounts;
mod list_consents;
mod reauthentication;
mod sign_up;
mod update_account;
mod withdraw_consent;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Database, DbError, TenantTx},
};
use thiserror::Error;
use uuid::Uuid;

pub use self::{
    change_password::{ChangeError, PasswordChanged},
    consent::{ConsentError, Consents},
    delete_account::{EraseError, Erased},
    erasure::Erasures,
    export_account::{ExportError, Exports},
    grant_consent::GrantRules,
    reauthentication::{EarlierRequest, OwnCredential, OwnPassword, OwnPasswords},
    sign_up::{EarlierSignUp, EarlierSignUpError, SignUpError},
    update_account::UpdateError,
};
use crate::domain::{
    account::Account,
    goals::{Goal, Goals},
    progress::{Progress, Stage},
};

/// The accounts of all people.
#[derive(Clone, Debug)]
pub struct Accounts {
    database: Arc<Database>,
}

/// The error when an account cannot be accessed.
#[derive(Debug, Error)]
pub enum AccountError {
    /// The account never existed.
    #[error("there is no such account")]
    NotFound,
    /// The account was erased.
    #[error("the account was erased")]
    Erased,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(DbError),
}

// === impl Accounts ===

impl Accounts {
    /// The accounts in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// Reads the account of the transaction's person, who is `person`.
async fn find(tx: &mut TenantTx, person: UserId) -> Result<Account, AccountError> {
    let found = sqlx::query_as!(
        AccountRow,
        "
        SELECT /* Account.find */ id, email, email_verified_at, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
        FROM identity.users WHERE id = $1",
        person.as_uuid(),
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(DbError::from)?;
    if let Some(row) = found {
        return Ok(row.try_into()?);
    }
    let erased = sqlx::query_scalar!(
        r#"SELECT /* Account.erased */ EXISTS (SELECT FROM identity.erasures WHERE user_id = $1) AS "erased!""#,
        person.as_uuid(),
    )
    .fetch_one(tx)
    .await
    .map_err(DbError::from)?;
    Err(match erased {
        true => AccountError::Erased,
        false => AccountError::NotFound,
    })
}

// === impl AccountError ===

impl From<DbError> for AccountError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("erasures_pkey") => Self::Erased,
            _ => Self::Database(error),
        }
    }
}

/// A row of `identity.users`, without the credentials.
struct AccountRow {
    id: Uuid,
    email: Option<String>,
    email_verified_at: Option<DateTime<Utc>>,
    goals: Vec<String>,
    stage: i16,
    graduated_at: Option<DateTime<Utc>>,
    last_active_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = DbError;

    fn try_from(row: AccountRow) -> Result<Self, DbError> {
        Ok(Self {
            id: UserId::new(row.id),
            email: row.email.map(Into::into),
            email_verified_at: row.email_verified_at,
            goals: goals(&row.goals)?,
            progress: progress(row.stage, row.graduated_at)?,
            last_active_at: row.last_active_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

/// Converts the stored names of goals. `None` when there are none.
fn goals(names: &[String]) -> Result<Option<Goals>, DbError> {
    let goals: Option<Vec<_>> = names.iter().map(|name| Goal::from_name(name)).collect();
    let goals = goals.ok_or_else(|| DbError::unexpected("the stored goals of an account"))?;
    Ok(Goals::new(goals))
}

/// Converts a stored stage and graduation.
fn progress(stage: i16, graduated_at: Option<DateTime<Utc>>) -> Result<Progress, DbError> {
    let stage =
        Stage::new(stage.into()).ok_or_else(|| DbError::unexpected("the stored stage of an account"))?;
    Ok(Progress { stage, graduated_at })
}
