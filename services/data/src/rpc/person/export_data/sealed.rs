//! What a person wrote, and what came of it: sealed in the database, and opened for them.

use haven_platform::cursor::Cursor;
use std::sync::Arc;

use haven_platform::{call::UserId, database::DbError, deadline::Deadline};
use haven_proto::data::v1::{ExportDataResponse, UnreadableRow};
use uuid::Uuid;

use super::part::{Part, Read};
use crate::{
    domain::{key_ring::KeyRing, sealing::OpenError},
    rpc::{analysis, conversation, crisis::event_message},
    store::person::export_data::Exports,
};

/// What a person wrote, and the keys to it, which nothing beside this module has.
pub(super) struct SealedParts {
    exports: Exports,
    keys: Arc<KeyRing>,
    person: UserId,
}

impl SealedParts {
    /// What `person` wrote, sealed under `keys`.
    pub(super) fn new(exports: Exports, keys: Arc<KeyRing>, person: UserId) -> Self {
        Self {
            exports,
            keys,
            person,
        }
    }

    /// The messages behind the one of number `after`.
    pub(super) async fn messages(&self, after: i64, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.messages(self.person, deadline, after).await?;
        let mut read = Read::of(
            page.len(),
            page.last().map(|last| Part::Messages(last.number.get())),
        );
        for sealed in page {
            let id = sealed.id;
            match sealed.open(&self.keys, self.person) {
                Ok(message) => read.answer.messages.push(conversation::answer(&message)),
                Err(cause) => self.unreadable(&mut read.answer, Part::Messages(after), id, &cause),
            }
        }
        Ok(read)
    }

    /// The analyses that end behind the message of number `after`.
    pub(super) async fn analyses(&self, after: i64, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.analyses(self.person, deadline, after).await?;
        let last = page.last().map(|last| Part::Analyses(last.range.last.get()));
        let mut read = Read::of(page.len(), last);
        for sealed in page {
            let id = sealed.id;
            match sealed.open(&self.keys, self.person) {
                Ok(analysis) => read.answer.analyses.push(analysis::answer(&analysis)),
                Err(cause) => self.unreadable(&mut read.answer, Part::Analyses(after), id, &cause),
            }
        }
        Ok(read)
    }

    /// The jobs that end behind the message of number `after`.
    pub(super) async fn jobs(&self, after: i64, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.jobs(self.person, deadline, after).await?;
        let mut read = Read::of(
            page.len(),
            page.last().map(|last| Part::Jobs(last.range.last.get())),
        );
        read.answer.analysis_jobs = page.iter().map(analysis::job).collect();
        Ok(read)
    }

    /// The crisis events behind the one of `after`.
    pub(super) async fn crisis_events(&self, after: Cursor, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.crisis_events(self.person, deadline, after).await?;
        let last = page.last().map(|last| {
            Part::CrisisEvents(Cursor {
                at: last.created_at,
                id: last.id,
            })
        });
        let mut read = Read::of(page.len(), last);
        read.answer.crisis_events = page.iter().map(event_message).collect();
        Ok(read)
    }

    /// Names a row of `part` that does not open. Without it the rest is still the person's; and operators are to know.
    fn unreadable(&self, answer: &mut ExportDataResponse, part: Part, row: Uuid, cause: &OpenError) {
        tracing::error!(
            user_id = %self.person, table = part.table(), %row, %cause,
            "a row that is to be exported does not open"
        );
        answer.unreadable.push(UnreadableRow {
            table: part.table().to_owned(),
            id: row.to_string(),
        });
    }
}
