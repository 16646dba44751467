//! The reason why a person has no row in `data.users`: not provisioned yet, or erased.

use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;

/// The reason why nothing can be stored for a person.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unknown {
    /// The person is not provisioned yet.
    #[error("the person is not provisioned")]
    AccountNotReady,
    /// The person was erased or is being erased, which is final.
    #[error("the person was erased")]
    AccountErased,
}

/// Reads the reason why `person` is unknown, in a transaction of its own. Called only after a mutation failed, so that
/// other calls do not pay for it. `method` is the name of the called RPC.
pub(super) async fn why_unknown(
    database: &Database,
    method: &'static str,
    person: UserId,
    deadline: Deadline,
) -> Result<Unknown, DbError> {
    let mut tx = database.begin(method, Context::User(person), deadline).await?;
    let why = why_caller_unknown(&mut tx, person).await?;
    tx.commit().await?;
    Ok(why)
}

/// Reads the reason why the caller of `tx` is unknown. No statement of `tx` may have failed.
pub(super) async fn why_caller_unknown(tx: &mut TenantTx, caller: UserId) -> Result<Unknown, DbError> {
    let erased = sqlx::query_scalar!(
        r#"
        SELECT /* why a person is not known */ EXISTS (SELECT FROM data.tombstones WHERE user_id = $1)
            OR EXISTS (SELECT FROM data.erasures WHERE user_id = $1) AS "erased!""#,
        caller.as_uuid(),
    )
    .fetch_one(tx)
    .await?;
    Ok(if erased {
        Unknown::AccountErased
    } else {
        Unknown::AccountNotReady
    })
}

/// Converts the error of a mutation for `person`: to [`Unknown`] when the person's row is missing, and otherwise
/// unchanged.
///
/// Every table of a person has a foreign key to the person's row; the error names the one that was checked first. An
/// erasure may be committed between any two transactions, so this is called with the error of the last attempt, not
/// only of the first.
pub(super) async fn explained<E: From<Unknown> + From<DbError>>(
    error: DbError,
    database: &Database,
    method: &'static str,
    person: UserId,
    deadline: Deadline,
) -> E {
    if !is_person_reference(error.constraint()) {
        return error.into();
    }
    match why_unknown(database, method, person, deadline).await {
        Ok(unknown) => unknown.into(),
        Err(error) => error.into(),
    }
}

/// Returns whether `constraint` is a foreign key to a person's row. A test checks that all of them have this suffix.
fn is_person_reference(constraint: Option<&str>) -> bool {
    constraint.is_some_and(|name| name.ends_with("_user_id_fkey"))
}
