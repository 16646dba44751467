//! Changing what of an account is no credential: each change once, and based on a version that was seen.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;

use crate::domain::{
    account::Account,
    audit::{AuditEventType, NewAuditEvent, Origin},
    goals::{Goal, Goals},
    progress::{Progress, Step, StepError},
};
use crate::store::account::sign_up::Accounts;
use crate::store::account::{AccountError, AccountRow, find, goals, progress};
use crate::store::audit_log as audit;
use crate::store::request::RequestKey;

/// What every change of an account comes with.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// The version that the change is based on.
    pub expected_version: i64,
    /// When it is made.
    pub at: DateTime<Utc>,
    /// The request that asks for it.
    pub request: RequestKey,
}

/// Why an account was not changed.
#[derive(Debug, Error)]
pub enum UpdateError {
    /// There is no account to change.
    #[error(transparent)]
    Account(AccountError),
    /// It has another version than the change is based on.
    #[error("the account has version {current}")]
    VersionConflict {
        /// The version that it has.
        current: i64,
    },
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The person cannot come that far, now.
    #[error(transparent)]
    Step(#[from] StepError),
}

// === impl Accounts ===

impl Accounts {
    /// Sets what `person` wants to work on; or, when the same request did so before, changes nothing and answers as it was
    /// answered then.
    ///
    /// One statement where nothing stands in its way, which takes the row's lock: of several that are based on one version,
    /// one is made.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`]. Nothing was changed then, unless it was the database that failed: a retry finds out.
    pub async fn set_goals(
        &self,
        person: UserId,
        goals: &Goals,
        edit: &Edit,
        deadline: Deadline,
    ) -> Result<Account, UpdateError> {
        let goals: Vec<&str> = goals.iter().map(Goal::name).collect();
        let mut tx = self
            .database
            .begin("UpdateAccount", Context::User(person), deadline)
            .await?;
        let changed = sqlx::query_as!(
            AccountRow,
            r#"/* UpdateAccount, goals */
            WITH changed AS (
                UPDATE identity.users SET goals = $3, updated_at = $4, version = version + 1
                WHERE id = $1 AND version = $2
                    AND NOT EXISTS (SELECT FROM identity.requests WHERE user_id = $1 AND id = $5)
                RETURNING id, email, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT id, $5, 'UpdateAccount', $6,
                    jsonb_build_object('goals', goals, 'stage', stage, 'graduated_at', graduated_at,
                        'updated_at', updated_at, 'version', version),
                    updated_at
                FROM changed
            )
            SELECT id, email, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
            FROM changed"#,
            person.as_uuid(),
            edit.expected_version,
            &goals as _,
            edit.at,
            edit.request.id,
            &edit.request.payload_mac,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let account = match changed {
            Some(row) => row.try_into()?,
            None => unchanged(&mut tx, person, edit).await?,
        };
        tx.commit().await?;
        Ok(account)
    }

    /// Lets `person` take a step, and appends that to their log; or, when the same request did so before, changes nothing and
    /// answers as it was answered then.
    ///
    /// # Errors
    ///
    /// As [`Accounts::set_goals`]; [`UpdateError::Step`] when it is not the next step.
    pub async fn take_step(
        &self,
        person: UserId,
        step: Step,
        edit: &Edit,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Account, UpdateError> {
        let mut tx = self
            .database
            .begin("UpdateAccount", Context::ServiceFor(person), deadline)
            .await?;
        let current = find(&mut tx, person).await?;
        let changed = if current.version == edit.expected_version {
            let progress = current.progress.after(step, edit.at)?;
            set_progress(&mut tx, person, progress, edit).await?
        } else {
            None
        };
        let account = match changed {
            Some(account) => {
                let event = NewAuditEvent {
                    event: AuditEventType::Stage,
                    refused: false,
                    origin,
                    session_id: None,
                    at: edit.at,
                };
                audit::append(&mut tx, &event).await?;
                account
            }
            None => unchanged(&mut tx, person, edit).await?,
        };
        tx.commit().await?;
        Ok(account)
    }
}

/// As in [`Accounts::set_goals`]: what was decided about one version is written to that version, or not at all.
async fn set_progress(
    tx: &mut TenantTx,
    person: UserId,
    progress: Progress,
    edit: &Edit,
) -> Result<Option<Account>, UpdateError> {
    let changed = sqlx::query_as!(
        AccountRow,
        r#"/* UpdateAccount, progress */
        WITH changed AS (
            UPDATE identity.users SET stage = $3, graduated_at = $4, updated_at = $5, version = version + 1
            WHERE id = $1 AND version = $2
                AND NOT EXISTS (SELECT FROM identity.requests WHERE user_id = $1 AND id = $6)
            RETURNING id, email, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
        ), request AS (
            INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT id, $6, 'UpdateAccount', $7,
                jsonb_build_object('goals', goals, 'stage', stage, 'graduated_at', graduated_at,
                    'updated_at', updated_at, 'version', version),
                updated_at
            FROM changed
        )
        SELECT id, email, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
        FROM changed"#,
        person.as_uuid(),
        edit.expected_version,
        i16::from(progress.stage.get()),
        progress.graduated_at,
        edit.at,
        edit.request.id,
        &edit.request.payload_mac,
    )
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?;
    Ok(changed.map(Account::try_from).transpose()?)
}

/// Where nothing was changed: what the same request was answered, or else why.
///
/// Several of the same request at once wait for the row's lock, find its version changed, and come here after the one
/// that changed it.
async fn unchanged(tx: &mut TenantTx, person: UserId, edit: &Edit) -> Result<Account, UpdateError> {
    let earlier = sqlx::query!(
        r#"/* UpdateAccount, earlier */
        SELECT method = 'UpdateAccount' AND payload_mac = $3 AS "same!",
            ARRAY(SELECT jsonb_array_elements_text(answer -> 'goals')) AS "goals!",
            (answer ->> 'stage')::smallint AS stage,
            (answer ->> 'graduated_at')::timestamptz AS graduated_at,
            (answer ->> 'updated_at')::timestamptz AS updated_at,
            (answer ->> 'version')::bigint AS version
        FROM identity.requests WHERE user_id = $1 AND id = $2"#,
        person.as_uuid(),
        edit.request.id,
        &edit.request.payload_mac,
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(DbError::from)?;
    let current = find(tx, person).await?;
    let Some(earlier) = earlier else {
        return Err(UpdateError::VersionConflict {
            current: current.version,
        });
    };
    if !earlier.same {
        return Err(UpdateError::RequestIdReused);
    }
    match (earlier.stage, earlier.updated_at, earlier.version) {
        (Some(stage), Some(updated_at), Some(version)) => Ok(Account {
            goals: goals(&earlier.goals)?,
            progress: progress(stage, earlier.graduated_at)?,
            updated_at,
            version,
            ..current
        }),
        _ => Err(DbError::unexpected("an answer is no account").into()),
    }
}

// === impl UpdateError ===

impl From<AccountError> for UpdateError {
    fn from(error: AccountError) -> Self {
        Self::Account(error)
    }
}

impl From<DbError> for UpdateError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            // Never the same request, which would have found another version: see `unchanged`.
            Some("requests_pkey") => Self::RequestIdReused,
            _ => Self::Account(error.into()),
        }
    }
}
