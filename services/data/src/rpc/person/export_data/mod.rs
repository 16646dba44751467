//! ExportData: streams all rows of the caller.
//!
//! An export reads a page from the database only when the client has taken the page before it, so its memory is that of
//! one page, however many rows there are and however slow the client is.

mod encrypted;
mod part;
mod sealed;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use haven_platform::{
    call::{Call, UserId},
    database::DbError,
    deadline::Deadline,
    failure::Failure,
    handler::Handler,
    page::PageTokens,
    reason::Reason,
    time::{Clock, timestamp},
};
use haven_proto::data::v1::{ExportDataRequest, ExportDataResponse, ExportManifest, ExportedRows};
use tonic::Status;
use tracing::{Instrument, Span};

use self::{
    encrypted::EncryptedParts,
    part::{Part, PartPage, Resume},
    sealed::SealedParts,
};
use super::PersonRpc;
use crate::store::person::export_data::{ExportError, Exports};

/// The version of the export's format.
const FORMAT_VERSION: i32 = 1;

/// The request that resume tokens are sealed for.
const REQUEST: &[u8] = b"ExportData";

/// The time limit for reading one page. A database that takes longer counts as unavailable.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

impl Handler<ExportDataRequest> for PersonRpc {
    type Answer = BoxStream<'static, Result<ExportDataResponse, Status>>;

    async fn handle(&self, call: &Call, request: ExportDataRequest) -> Result<Self::Answer, Failure> {
        let person = call.user()?;
        let invalid = || Failure::new(Reason::PageTokenInvalid);
        let token = self.pages.cursor(person, REQUEST, &request.resume_token)?;
        let resume = token.map(|bytes| Resume::from_bytes(bytes).ok_or_else(invalid));
        let now = self.clock.now();
        let resume = resume.transpose()?;
        let continues = resume.is_some();
        let resume = resume.unwrap_or_else(|| Resume {
            part: Part::FIRST,
            start: now,
            rows: BTreeMap::new(),
        });
        let export = Export {
            exports: self.exports.clone(),
            sealed: SealedParts::new(self.exports.clone(), Arc::clone(&self.keys), person),
            encrypted: EncryptedParts::new(self.exports.clone(), self.clock.clone(), person),
            clock: self.clock.clone(),
            person,
            deadline: call.deadline,
            start: resume.start,
            part: Some(resume.part),
            rows: resume.rows,
            pages: self.pages.clone(),
            is_complete: false,
        };
        let started = self.exports.start(export.person, now, continues, call.deadline);
        started.await?;
        let span = Span::current();
        let answers = stream::try_unfold(export, move |mut export| {
            async move {
                let next = export.next().await.map_err(Status::from)?;
                Ok(next.map(|next| (next, export)))
            }
            .instrument(span.clone())
        });
        Ok(answers.boxed())
    }
}

/// The state of one export, from the call to the manifest.
struct Export {
    exports: Exports,
    sealed: SealedParts,
    encrypted: EncryptedParts,
    clock: Clock,
    person: UserId,
    deadline: Deadline,
    start: DateTime<Utc>,
    /// The next page to read. `None` when all parts were read.
    part: Option<Part>,
    /// The number of exported rows by table.
    rows: BTreeMap<&'static str, i64>,
    /// Seals resume tokens.
    pages: PageTokens,
    /// True when the manifest was sent.
    is_complete: bool,
}

impl Export {
    /// Returns the next response message: a page, or at last the manifest. `None` after the manifest.
    async fn next(&mut self) -> Result<Option<ExportDataResponse>, Failure> {
        while let Some(part) = self.part {
            let page = self.read(part, self.deadline.at_most(PAGE_TIMEOUT)).await;
            let page = page.map_err(|error| self.deadline.attribute_timeout(error.into()))?;
            *self.rows.entry(part.table()).or_default() += page.rows as i64;
            self.part = page.last.or_else(|| part.next());
            if page.rows > 0 {
                let resume_token = self.resume_token();
                return Ok(Some(ExportDataResponse {
                    resume_token,
                    ..page.answer
                }));
            }
        }
        if self.is_complete {
            return Ok(None);
        }
        let finished = self
            .exports
            .finish(self.person, self.deadline.at_most(PAGE_TIMEOUT));
        let since = finished.await;
        let since = since.map_err(|error| self.deadline.attribute_timeout(error.into()))?;
        self.is_complete = true;
        Ok(Some(ExportDataResponse {
            manifest: Some(self.manifest(since)),
            ..ExportDataResponse::default()
        }))
    }

    /// Returns the token that continues the export after what was read.
    fn resume_token(&self) -> String {
        let Some(part) = self.part else {
            return String::new();
        };
        let resume = Resume {
            part,
            start: self.start,
            rows: self.rows.clone(),
        };
        self.pages.seal(self.person, REQUEST, &resume.to_bytes())
    }

    /// Reads a page of `part`.
    async fn read(&self, part: Part, deadline: Deadline) -> Result<PartPage, DbError> {
        let (sealed, encrypted) = (&self.sealed, &self.encrypted);
        match part {
            Part::Messages(after) => sealed.messages(after, deadline).await,
            Part::Analyses(after) => sealed.analyses(after, deadline).await,
            Part::Jobs(after) => sealed.jobs(after, deadline).await,
            Part::CrisisEvents(after) => sealed.crisis_events(after, deadline).await,
            Part::Devices(after) => encrypted.devices(after, deadline).await,
            Part::Records(after) => encrypted.records(after, deadline).await,
            Part::Conflicts(after) => encrypted.conflicts(after, deadline).await,
            Part::Preferences => encrypted.preferences(deadline).await,
            Part::Shares(after) => encrypted.shares(after, deadline).await,
            Part::ShareAccesses(share, after) => encrypted.share_accesses(share, after, deadline).await,
            Part::AuditEvents(after) => encrypted.audit_events(after, deadline).await,
        }
    }

    /// Returns the manifest. `since` is the time at which the person was provisioned.
    fn manifest(&self, since: DateTime<Utc>) -> ExportManifest {
        let exported = self.rows.iter().map(|(table, rows)| ExportedRows {
            table: (*table).to_owned(),
            rows: *rows,
        });
        ExportManifest {
            format_version: FORMAT_VERSION,
            user_id: self.person.to_string(),
            start_time: Some(timestamp(self.start)),
            end_time: Some(timestamp(self.clock.now())),
            exported: exported.collect(),
            create_time: Some(timestamp(since)),
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Unknown(unknown) => unknown.into(),
            ExportError::Database(error) => error.into(),
        }
    }
}
