//! People who are not known here: not yet, or not any more.

use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
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

/// Why `person` is not known here. Asked only of who is not, so that nobody else pays for it. `method` is what was called.
pub(super) async fn why_unknown(
    database: &Database,
    method: &'static str,
    person: UserId,
    deadline: Deadline,
) -> Result<Unknown, DbError> {
    let mut tx = database.begin(method, Context::User(person), deadline).await?;
    let erased = sqlx::query_scalar!(
        r#"/* why a person is not known */
        SELECT EXISTS (SELECT FROM data.tombstones WHERE user_id = $1)
            OR EXISTS (SELECT FROM data.erasures WHERE user_id = $1) AS "erased!""#,
        person.as_uuid(),
    )
    .fetch_one(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(if erased {
        Unknown::AccountErased
    } else {
        Unknown::AccountNotReady
    })
}
