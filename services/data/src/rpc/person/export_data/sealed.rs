//! The parts of an export with content that this service seals (messages and analyses), and jobs and crisis events.

use std::sync::Arc;

use haven_platform::{call::UserId, cursor::Cursor, database::DbError, deadline::Deadline};
use haven_proto::data::v1::{ExportDataResponse, UnreadableRow};
use uuid::Uuid;

use super::part::{Part, PartPage};
use crate::{
    domain::{key_ring::KeyRing, sealing::OpenError},
    rpc::{
        analysis::{job::job_to_proto, result::analysis_to_proto},
        conversation::message::message_to_proto,
        crisis::event::event_to_proto,
    },
    store::person::export_data::Exports,
};

/// Reads the parts with sealed content. Only this module of the export has the keys.
pub(super) struct SealedParts {
    exports: Exports,
    keys: Arc<KeyRing>,
    person: UserId,
}

impl SealedParts {
    /// Returns the reader for `person`, with the keys to open the content.
    pub(super) fn new(exports: Exports, keys: Arc<KeyRing>, person: UserId) -> Self {
        Self {
            exports,
            keys,
            person,
        }
    }

    /// Reads the messages after the number `after`.
    pub(super) async fn messages(&self, after: i64, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.messages(self.person, after, deadline).await?;
        let mut part_page = PartPage::new(
            page.len(),
            page.last().map(|last| Part::Messages(last.number.get())),
        );
        for sealed in page {
            let id = sealed.id;
            match sealed.open(&self.keys, self.person) {
                Ok(message) => part_page.answer.messages.push(message_to_proto(&message)),
                Err(cause) => self.unreadable(&mut part_page.answer, Part::Messages(after), id, &cause),
            }
        }
        Ok(part_page)
    }

    /// Reads the analyses that end after the message number `after`.
    pub(super) async fn analyses(&self, after: i64, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.analyses(self.person, after, deadline).await?;
        let last = page.last().map(|last| Part::Analyses(last.range.last.get()));
        let mut part_page = PartPage::new(page.len(), last);
        for sealed in page {
            let id = sealed.id;
            match sealed.open(&self.keys, self.person) {
                Ok(analysis) => part_page.answer.analyses.push(analysis_to_proto(&analysis)),
                Err(cause) => self.unreadable(&mut part_page.answer, Part::Analyses(after), id, &cause),
            }
        }
        Ok(part_page)
    }

    /// Reads the jobs that end after the message number `after`.
    pub(super) async fn jobs(&self, after: i64, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.jobs(self.person, after, deadline).await?;
        let mut part_page = PartPage::new(
            page.len(),
            page.last().map(|last| Part::Jobs(last.range.last.get())),
        );
        part_page.answer.analysis_jobs = page.iter().map(job_to_proto).collect();
        Ok(part_page)
    }

    /// Reads the crisis events after `after`.
    pub(super) async fn crisis_events(&self, after: Cursor, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.crisis_events(self.person, after, deadline).await?;
        let last = page.last().map(|last| {
            Part::CrisisEvents(Cursor {
                at: last.created_at,
                id: last.id,
            })
        });
        let mut part_page = PartPage::new(page.len(), last);
        part_page.answer.crisis_events = page.iter().map(event_to_proto).collect();
        Ok(part_page)
    }

    /// Adds a row of `part` that cannot be opened to the export's list of unreadable rows, and logs it for operators. The
    /// other rows are exported all the same.
    fn unreadable(&self, answer: &mut ExportDataResponse, part: Part, row: Uuid, cause: &OpenError) {
        tracing::error!(
            user_id = %self.person, table = part.table(), %row, %cause,
            "an exported row cannot be opened"
        );
        answer.unreadable.push(UnreadableRow {
            table: part.table().to_owned(),
            id: row.to_string(),
        });
    }
}
