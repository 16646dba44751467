//! Seals: counts sealed rows by key, and replaces one person's sealed texts (key rotation).

use std::{sync::Arc, time::Duration};

use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use uuid::Uuid;

use crate::domain::sealing::{Field, Sealed};

/// The number of rows, or of people, that are read together.
pub const BATCH_SIZE: i64 = 100;

/// The time limit of one transaction. Counting reads every row, perhaps from a slow disk.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The time limit for reading the ids of the keys in use. Its duration depends on the number of keys, not of rows.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

/// The sealed texts of all people. Their owners are listed with the service's context; the texts are read and written
/// with the context of their person.
#[derive(Clone, Debug)]
pub struct Seals {
    database: Arc<Database>,
}

/// The number of rows with a field that is sealed under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealCount {
    /// The field of the rows that is sealed.
    pub field: Field,
    /// The id of the key in MESSAGE_KEYS.
    pub key_id: String,
    /// The number of rows, at least one.
    pub rows: u64,
}

/// A sealed field of a row.
#[derive(Debug)]
pub struct SealedRow {
    /// The id of the row, unique among its person's rows.
    pub id: Uuid,
    /// The sealed text of the field.
    pub sealed: Sealed,
}

/// New tokens for one field of several rows, as lists of the same length, which is the form of the statement's
/// parameters.
#[derive(Debug, Default)]
pub struct Replacements {
    ids: Vec<Uuid>,
    before: Vec<String>,
    after: Vec<String>,
    key_ids: Vec<String>,
}

impl Replacements {
    /// Returns whether there are no replacements.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the number of replacements.
    pub fn len(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Adds the replacement of `row`'s token by `sealed`.
    pub fn add(&mut self, row: SealedRow, sealed: Sealed) {
        self.ids.push(row.id);
        self.before.push(row.sealed.token);
        self.after.push(sealed.token);
        self.key_ids.push(sealed.key_id);
    }
}

impl Seals {
    /// The seals in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Returns the ids of the keys that stored texts are sealed under.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn keys(&self) -> Result<Vec<String>, DbError> {
        let mut tx = self
            .database
            .begin("Seals.keys", Context::Service, Deadline::after(KEYS_TIMEOUT))
            .await?;
        let keys = sqlx::query_scalar!(
            r#"SELECT /* Seals.keys */ key_id AS "key_id!" FROM data.sealing_keys() AS key_id"#
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(keys)
    }

    /// Counts the rows by field and key, in this order. Reads every row.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count(&self) -> Result<Vec<SealCount>, DbError> {
        let mut tx = self
            .database
            .begin("Seals.count", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let rows = sqlx::query!(
            r#"
            SELECT /* Seals.count */ field AS "field!", key_id AS "key_id!", count AS "count!" FROM data.count_seals()"#
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let mut counts = rows
            .into_iter()
            .map(|row| {
                Ok(SealCount {
                    field: Field::from_name(&row.field)
                        .ok_or_else(|| DbError::unexpected("the name of a sealed field"))?,
                    key_id: row.key_id,
                    rows: row.count.unsigned_abs(),
                })
            })
            .collect::<Result<Vec<_>, DbError>>()?;
        counts.sort_by(|one, other| (one.field, &one.key_id).cmp(&(other.field, &other.key_id)));
        Ok(counts)
    }

    /// Returns the ids of up to [`BATCH_SIZE`] people with a text that is sealed under the key, by id, after the id
    /// `after`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn people_under(&self, key_id: &str, after: Option<UserId>) -> Result<Vec<UserId>, DbError> {
        // No person has the nil id.
        let after = after.map_or(Uuid::nil(), |after| *after.as_uuid());
        let mut tx = self
            .database
            .begin("Seals.people_under", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let people = sqlx::query_scalar!(
            r#"
            SELECT /* Seals.people_under */ user_id AS "user_id!" FROM data.people_under($1, $2, $3) AS user_id"#,
            key_id,
            after,
            BATCH_SIZE as i32,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(people.into_iter().map(UserId::new).collect())
    }

    /// Returns up to [`BATCH_SIZE`] rows of `owner` with `field` sealed under the key, by id, after the id `after`. No
    /// row is locked.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn rows_under(
        &self,
        owner: UserId,
        field: Field,
        key_id: &str,
        after: Option<Uuid>,
    ) -> Result<Vec<SealedRow>, DbError> {
        // No row has the nil id.
        let after = after.unwrap_or_default();
        let mut tx = self
            .database
            .begin("Seals.rows_under", Context::User(owner), Deadline::after(TIMEOUT))
            .await?;
        declare_change(&mut tx).await?;
        let rows = match field {
            Field::MessageText => {
                sqlx::query_as!(
                    TokenRow,
                    "
                    SELECT /* Seals.rows_under, messages */ id, message_text AS token, key_id FROM data.conversations
                    WHERE user_id = $1 AND key_id = $2 AND id > $3 ORDER BY id LIMIT $4",
                    owner.as_uuid(),
                    key_id,
                    after,
                    BATCH_SIZE,
                )
                .fetch_all(&mut tx)
                .await?
            }
            Field::AnalysisDetails => {
                sqlx::query_as!(
                    TokenRow,
                    "
                    SELECT /* Seals.rows_under, analyses */ id, details AS token, key_id FROM data.analysis_results
                    WHERE user_id = $1 AND key_id = $2 AND id > $3 ORDER BY id LIMIT $4",
                    owner.as_uuid(),
                    key_id,
                    after,
                    BATCH_SIZE,
                )
                .fetch_all(&mut tx)
                .await?
            }
        };
        tx.commit().await?;
        Ok(rows.into_iter().map(SealedRow::from).collect())
    }

    /// Replaces tokens of `owner`'s rows, and returns the number of replaced tokens. A row with another token than the
    /// one that was read is skipped. So is a row that another transaction has locked: waiting for it could deadlock.
    /// The version and the time of the last change stay, because the text stays the same.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn replace(&self, owner: UserId, field: Field, rows: &Replacements) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("Seals.replace", Context::User(owner), Deadline::after(TIMEOUT))
            .await?;
        declare_change(&mut tx).await?;
        let replaced = match field {
            Field::MessageText => {
                sqlx::query!(
                    "
                    WITH /* Seals.replace, messages */ unchanged AS (
                        SELECT c.id, r.after, r.key_id FROM data.conversations AS c
                            JOIN unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) AS r (id, before, after, key_id)
                            ON r.id = c.id AND r.before = c.message_text
                        WHERE c.user_id = $1
                        FOR NO KEY UPDATE OF c SKIP LOCKED
                    )
                    UPDATE data.conversations AS c SET message_text = u.after, key_id = u.key_id
                    FROM unchanged AS u WHERE c.user_id = $1 AND c.id = u.id",
                    owner.as_uuid(),
                    &rows.ids,
                    &rows.before,
                    &rows.after,
                    &rows.key_ids,
                )
                .execute(&mut tx)
                .await?
            }
            Field::AnalysisDetails => {
                sqlx::query!(
                    "
                    WITH /* Seals.replace, analyses */ unchanged AS (
                        SELECT a.id, r.after, r.key_id FROM data.analysis_results AS a
                            JOIN unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) AS r (id, before, after, key_id)
                            ON r.id = a.id AND r.before = a.details
                        WHERE a.user_id = $1
                        FOR NO KEY UPDATE OF a SKIP LOCKED
                    )
                    UPDATE data.analysis_results AS a SET details = u.after, key_id = u.key_id
                    FROM unchanged AS u WHERE a.user_id = $1 AND a.id = u.id",
                    owner.as_uuid(),
                    &rows.ids,
                    &rows.before,
                    &rows.after,
                    &rows.key_ids,
                )
                .execute(&mut tx)
                .await?
            }
        };
        tx.commit().await?;
        Ok(replaced.rows_affected())
    }
}

/// Declares that `tx` changes only seals. Policies exclude messages of other senders, and the rows of locked people, unless
/// this setting says so.
async fn declare_change(tx: &mut TenantTx) -> Result<(), DbError> {
    sqlx::query!("SELECT /* Seals, change */ set_config('data.changes_seals', 'yes', true)")
        .fetch_one(tx)
        .await?;
    Ok(())
}

/// A sealed field of a row.
struct TokenRow {
    id: Uuid,
    token: String,
    key_id: String,
}

impl From<TokenRow> for SealedRow {
    fn from(TokenRow { id, token, key_id }: TokenRow) -> Self {
        Self {
            id,
            sealed: Sealed { token, key_id },
        }
    }
}
