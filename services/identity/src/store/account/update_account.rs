//! UpdateAccount: each change is made once, and only to the version that it is based on.

use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;

use super::{AccountError, AccountRow, Accounts, find, goals, progress};
use crate::{
    domain::{
        account::{Account, AccountEdit},
        audit::{AuditEventType, NewAuditEvent, Origin},
        goals::{Goal, Goals},
        progress::{Progress, Step, StepError},
        rate_limit::Quota,
    },
    store::{
        audit_log,
        rate_limit::{self, LimitError},
    },
};

/// The error when an account was not changed.
#[derive(Debug, Error)]
pub enum UpdateError {
    /// The account does not exist.
    #[error(transparent)]
    Account(AccountError),
    /// The account's version is not the one that the change is based on.
    #[error("the account has version {current}")]
    VersionConflict {
        /// The account's current version.
        current: i64,
    },
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The person is over a rate limit.
    #[error(transparent)]
    Limited(LimitError),
    /// The step is not the next one.
    #[error(transparent)]
    Step(#[from] StepError),
}

// === impl Accounts ===

impl Accounts {
    /// Sets the goals of `person`. When the same request did so before, changes nothing and returns the first answer. A change
    /// counts towards `quotas`; a retry and a change that is not made do not.
    ///
    /// The change is one statement, which locks the row: of several changes that are based on one version, one is made.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`]. Nothing was changed, except that after a database error the change may have been committed:
    /// a retry returns the outcome.
    pub async fn set_goals(
        &self,
        person: UserId,
        goals: &Goals,
        quotas: &[Quota],
        edit: &AccountEdit,
        deadline: Deadline,
    ) -> Result<Account, UpdateError> {
        let goals: Vec<&str> = goals.iter().map(Goal::name).collect();
        let mut tx = self
            .database
            .begin("UpdateAccount", Context::User(person), deadline)
            .await?;
        let changed = sqlx::query_as!(
            AccountRow,
            r#"
            WITH /* UpdateAccount, goals */ changed AS (
                UPDATE identity.users SET goals = $3, updated_at = $4, version = version + 1
                WHERE id = $1 AND version = $2
                    AND NOT EXISTS (SELECT FROM identity.requests WHERE user_id = $1 AND id = $5)
                RETURNING id, email, email_verified_at, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT id, $5, 'UpdateAccount', $6,
                    jsonb_build_object('goals', goals, 'stage', stage, 'graduated_at', graduated_at,
                        'last_active_at', last_active_at, 'email_verified_at', email_verified_at, 'updated_at', updated_at,
                    'version', version),
                    updated_at
                FROM changed
            )
            SELECT id, email, email_verified_at, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
            FROM changed"#,
            person.as_uuid(),
            edit.expected_version,
            &goals as _,
            edit.at,
            edit.request.id,
            edit.request.payload_macs.first().as_bytes(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let account = match changed {
            Some(row) => {
                // After the change, which found that this is no retry. A refusal rolls it back.
                rate_limit::admit(&mut tx, quotas, None)
                    .await
                    .map_err(UpdateError::Limited)?;
                row.try_into()?
            }
            None => answer_unchanged(&mut tx, person, edit).await?,
        };
        tx.commit().await?;
        Ok(account)
    }

    /// Takes a step for `person`, and appends it to their audit log. When the same request did so before, changes
    /// nothing and returns the first answer.
    ///
    /// # Errors
    ///
    /// The errors of [`Accounts::set_goals`], and [`UpdateError::Step`] when it is not the next step.
    pub async fn take_step(
        &self,
        person: UserId,
        step: Step,
        edit: &AccountEdit,
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
                audit_log::append(&mut tx, &event).await?;
                account
            }
            None => answer_unchanged(&mut tx, person, edit).await?,
        };
        tx.commit().await?;
        Ok(account)
    }
}

/// Writes `progress` if the account still has the version on which it was decided. `None` when it has another one.
async fn set_progress(
    tx: &mut TenantTx,
    person: UserId,
    progress: Progress,
    edit: &AccountEdit,
) -> Result<Option<Account>, UpdateError> {
    let changed = sqlx::query_as!(
        AccountRow,
        r#"
        WITH /* UpdateAccount, progress */ changed AS (
            UPDATE identity.users SET stage = $3, graduated_at = $4, updated_at = $5, version = version + 1
            WHERE id = $1 AND version = $2
                AND NOT EXISTS (SELECT FROM identity.requests WHERE user_id = $1 AND id = $6)
            RETURNING id, email, email_verified_at, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
        ), request AS (
            INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT id, $6, 'UpdateAccount', $7,
                jsonb_build_object('goals', goals, 'stage', stage, 'graduated_at', graduated_at,
                    'last_active_at', last_active_at, 'email_verified_at', email_verified_at, 'updated_at', updated_at,
                    'version', version),
                updated_at
            FROM changed
        )
        SELECT id, email, email_verified_at, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
        FROM changed"#,
        person.as_uuid(),
        edit.expected_version,
        i16::from(progress.stage.get()),
        progress.graduated_at,
        edit.at,
        edit.request.id,
        edit.request.payload_macs.first().as_bytes(),
    )
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?;
    Ok(changed.map(Account::try_from).transpose()?)
}

/// Returns the first answer when the same request changed the account before; otherwise the reason why nothing was
/// changed.
///
/// Simultaneous retries of one request wait for the row's lock, find its version changed, and come here after the first
/// one has committed.
async fn answer_unchanged(
    tx: &mut TenantTx,
    person: UserId,
    edit: &AccountEdit,
) -> Result<Account, UpdateError> {
    let earlier = sqlx::query!(
        r#"
        SELECT /* UpdateAccount, earlier */ method = 'UpdateAccount' AND payload_mac = ANY ($3) AS "same!",
            ARRAY(SELECT jsonb_array_elements_text(answer -> 'goals')) AS "goals!",
            (answer ->> 'stage')::smallint AS stage,
            (answer ->> 'graduated_at')::timestamptz AS graduated_at,
            answer ? 'last_active_at' AS "has_activity!",
            (answer ->> 'last_active_at')::timestamptz AS last_active_at,
            answer ? 'email_verified_at' AS "has_verification!",
            (answer ->> 'email_verified_at')::timestamptz AS email_verified_at,
            (answer ->> 'updated_at')::timestamptz AS updated_at,
            (answer ->> 'version')::bigint AS version
        FROM identity.requests WHERE user_id = $1 AND id = $2"#,
        person.as_uuid(),
        edit.request.id,
        &edit.request.payload_macs.to_vecs() as &[Vec<u8>],
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
            // Earlier versions of this program did not store the times.
            email_verified_at: match earlier.has_verification {
                true => earlier.email_verified_at,
                false => current.email_verified_at,
            },
            last_active_at: match earlier.has_activity {
                true => earlier.last_active_at,
                false => current.last_active_at,
            },
            updated_at,
            version,
            ..current
        }),
        _ => Err(DbError::unexpected("the stored answer of an update is incomplete").into()),
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
            // Always another request: the same one would have found another version (see `answer_unchanged`).
            Some("requests_pkey") => Self::RequestIdReused,
            _ => Self::Account(error.into()),
        }
    }
}
