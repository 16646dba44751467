//! ExportData: everything that there is of a person.
//!
//! An export is pulled: nothing is read before the client has taken what was read before, so it costs the memory of one
//! page, however much there is, and however slowly somebody reads.

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
    time::{Clock, timestamp},
};
use haven_proto::data::v1::{ExportDataResponse, ExportManifest, ExportedRows};
use tonic::Status;
use tracing::{Instrument, Span};

use self::{
    encrypted::EncryptedParts,
    part::{Part, Read},
    sealed::SealedParts,
};
use super::PersonRpc;
use crate::store::person::export_data::{ExportError, Exports};

/// The version of the format.
const FORMAT_VERSION: i32 = 1;

/// How long reading one page may take. A database that is slower than this is not there.
const PAGE: Duration = Duration::from_secs(10);

impl PersonRpc {
    pub(in crate::rpc) async fn export_data_of(
        &self,
        call: &Call,
    ) -> Result<BoxStream<'static, Result<ExportDataResponse, Status>>, Failure> {
        let person = call.user()?;
        let export = Export {
            exports: self.exports.clone(),
            sealed: SealedParts::new(self.exports.clone(), Arc::clone(&self.keys), person),
            encrypted: EncryptedParts::new(self.exports.clone(), self.clock.clone(), person),
            clock: self.clock.clone(),
            person,
            deadline: call.deadline,
            start: self.clock.now(),
            part: Some(Part::FIRST),
            rows: BTreeMap::new(),
            is_whole: false,
        };
        let started = self.exports.start(export.person, call.deadline, export.start);
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

/// One export, from the call to the manifest.
struct Export {
    exports: Exports,
    sealed: SealedParts,
    encrypted: EncryptedParts,
    clock: Clock,
    person: UserId,
    deadline: Deadline,
    start: DateTime<Utc>,
    /// What to read next. None: everything was read.
    part: Option<Part>,
    /// How many rows came out of each table.
    rows: BTreeMap<&'static str, i64>,
    /// Whether the manifest was sent.
    is_whole: bool,
}

impl Export {
    /// What comes next; after the manifest, nothing.
    async fn next(&mut self) -> Result<Option<ExportDataResponse>, Failure> {
        while let Some(part) = self.part {
            let read = self.read(part, self.deadline.at_most(PAGE)).await;
            let read = read.map_err(|error| self.deadline.of_part(error.into()))?;
            *self.rows.entry(part.table()).or_default() += read.rows as i64;
            self.part = read.last.or_else(|| part.next());
            if read.rows > 0 {
                return Ok(Some(read.answer));
            }
        }
        if self.is_whole {
            return Ok(None);
        }
        let finished = self.exports.finish(self.person, self.deadline.at_most(PAGE));
        let since = finished.await;
        let since = since.map_err(|error| self.deadline.of_part(error.into()))?;
        self.is_whole = true;
        Ok(Some(ExportDataResponse {
            manifest: Some(self.manifest(since)),
            ..ExportDataResponse::default()
        }))
    }

    /// Reads a page of `part`.
    async fn read(&self, part: Part, deadline: Deadline) -> Result<Read, DbError> {
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
