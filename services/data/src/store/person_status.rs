//! People who are not known here: not yet, or not any more.

use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;

/// Why nothing can be stored for a person.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unknown {
    /// They are not known here yet.
    #[error("the person is not provisioned")]
    AccountNotReady,
    /// They were erased, or are being erased, and that is for ever.
    #[error("the person was erased")]
    AccountErased,
}

/// Why `person` is not known here. Asked only of who is not, so that nobody else pays for it. `method` is what was
/// called.
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

/// The same of the caller of `tx`, in which nothing has failed.
pub(super) async fn why_caller_unknown(tx: &mut TenantTx, caller: UserId) -> Result<Unknown, DbError> {
    let erased = sqlx::query_scalar!(
        r#"/* why a person is not known */
        SELECT EXISTS (SELECT FROM data.tombstones WHERE user_id = $1)
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

/// What `error` comes to, with which something of `person` was not stored: why they are not known here, if it is that,
/// or what it is.
///
/// Whatever is theirs refers to them, so it is whichever such reference is checked first. Whoever erases somebody may
/// come between any two of our transactions: this is for the last error, and not only for that of a first attempt.
pub(super) async fn explained<E: From<Unknown> + From<DbError>>(
    error: DbError,
    database: &Database,
    method: &'static str,
    person: UserId,
    deadline: Deadline,
) -> E {
    if !is_of_nobody(error.constraint()) {
        return error.into();
    }
    match why_unknown(database, method, person, deadline).await {
        Ok(unknown) => unknown.into(),
        Err(error) => error.into(),
    }
}

/// Whether a constraint is a reference from something to the person whose it is: a test checks that they are all called
/// so.
fn is_of_nobody(constraint: Option<&str>) -> bool {
    constraint.is_some_and(|name| name.ends_with("_user_id_fkey"))
}
