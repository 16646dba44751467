//! Reading an account, and making one for whom another provider signed in.

pub mod change_password;
pub mod consent;
pub mod delete_account;
pub mod list_accounts;
pub mod list_consents;
pub mod reauthentication;
pub mod sign_up;
pub mod update_account;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use self::sign_up::Accounts;
use crate::domain::{
    account::Account,
    goals::{Goal, Goals},
    outbox::{LEASE, Message},
    progress::{Progress, Stage},
};

/// Who reads or changes an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActingAs {
    /// The person whose it is.
    Person,
    /// A service.
    Service,
}

/// Why there is no account to be had.
#[derive(Debug, Error)]
pub enum AccountError {
    /// There is none, and never was.
    #[error("there is no such account")]
    NotFound,
    /// It was erased.
    #[error("the account was erased")]
    Erased,
    /// The database failed.
    #[error(transparent)]
    Database(DbError),
}

// === impl ActingAs ===

impl ActingAs {
    fn context(self, person: UserId) -> Context {
        match self {
            Self::Person => Context::User(person),
            Self::Service => Context::ServiceFor(person),
        }
    }
}

// === impl Accounts ===

impl Accounts {
    /// The account of `person`, as `party` sees it.
    ///
    /// # Errors
    ///
    /// When there is none, or when the database fails.
    pub async fn get(
        &self,
        party: ActingAs,
        person: UserId,
        deadline: Deadline,
    ) -> Result<Account, AccountError> {
        let mut tx = self
            .database
            .begin("GetAccount", party.context(person), deadline)
            .await?;
        let account = find(&mut tx, person).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Makes an account for `person`, whom another provider signed in, and writes what data has to be told. False: they have
    /// one, and nothing was written.
    ///
    /// # Errors
    ///
    /// When it was erased here, or when the database fails.
    pub async fn make_external(
        &self,
        person: UserId,
        message: &Message,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<bool, AccountError> {
        let mut tx = self
            .database
            .begin("MakeExternalAccount", Context::User(person), deadline)
            .await?;
        let made = sqlx::query_scalar!(
            r#"/* MakeExternalAccount */ SELECT identity.make_external_account($1, $2, $3) AS "made!""#,
            message.id,
            at + LEASE,
            at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(made)
    }
}

/// The account of the transaction's person.
pub(in crate::store) async fn find(tx: &mut TenantTx, person: UserId) -> Result<Account, AccountError> {
    let found = sqlx::query_as!(
        AccountRow,
        "/* Account.find */
        SELECT id, email, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
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
        r#"/* Account.erased */ SELECT EXISTS (SELECT FROM identity.erasures WHERE user_id = $1) AS "erased!""#,
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

/// An account as the table has it.
pub(in crate::store) struct AccountRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) email: Option<String>,
    pub(in crate::store) goals: Vec<String>,
    pub(in crate::store) stage: i16,
    pub(in crate::store) graduated_at: Option<DateTime<Utc>>,
    pub(in crate::store) last_active_at: Option<DateTime<Utc>>,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) updated_at: DateTime<Utc>,
    pub(in crate::store) version: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = DbError;

    fn try_from(row: AccountRow) -> Result<Self, DbError> {
        Ok(Self {
            id: UserId::new(row.id),
            email: row.email.map(Into::into),
            goals: goals(&row.goals)?,
            progress: progress(row.stage, row.graduated_at)?,
            last_active_at: row.last_active_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

/// Goals as the table has them.
pub(in crate::store) fn goals(names: &[String]) -> Result<Option<Goals>, DbError> {
    let goals: Option<Vec<_>> = names.iter().map(|name| Goal::from_name(name)).collect();
    let goals = goals.ok_or_else(|| DbError::unexpected("the goals of an account"))?;
    Ok(Goals::new(goals))
}

/// Progress as the table has it.
pub(in crate::store) fn progress(
    stage: i16,
    graduated_at: Option<DateTime<Utc>>,
) -> Result<Progress, DbError> {
    let stage = Stage::new(stage.into()).ok_or_else(|| DbError::unexpected("the stage of an account"))?;
    Ok(Progress { stage, graduated_at })
}
