//! ExportAccount: streams all rows of the caller.
//!
//! An export reads a page from the database only when the client has taken the page before it, so its memory is that of
//! one page, however many rows there are and however slow the client is.

mod message;
mod part;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    failure::Failure,
    handler::Handler,
    page::PageTokens,
    reason::Reason,
    time::{Clock, timestamp},
};
use haven_proto::identity::v1::{
    AccountExportManifest, ExportAccountRequest, ExportAccountResponse, ExportedRows,
};
use tonic::Status;
use tracing::{Instrument, Span};

use self::{
    message::{
        account_message, device_token_message, recovery_token_message, refresh_token_message, session_message,
    },
    part::{Part, PartPage, Resume},
};
use super::{AccountRpc, consent::consent_message, list_audit_events::event_message};
use crate::{
    domain::audit::{AuditEventType, NewAuditEvent},
    store::account::{AccountError, ExportError, Exports},
};

/// The version of the export's format.
const FORMAT_VERSION: i32 = 1;

/// The request that resume tokens are sealed for.
const REQUEST: &[u8] = b"ExportAccount";

/// The time limit for reading one page. A database that takes longer counts as unavailable.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

impl Handler<ExportAccountRequest> for AccountRpc {
    type Answer = BoxStream<'static, Result<ExportAccountResponse, Status>>;

    async fn handle(&self, call: &Call, request: ExportAccountRequest) -> Result<Self::Answer, Failure> {
        let person = call.user()?;
        let invalid = || Failure::new(Reason::PageTokenInvalid);
        let token = self.page_tokens.cursor(person, REQUEST, &request.resume_token)?;
        let resume = token.map(|bytes| Resume::from_bytes(bytes).ok_or_else(invalid));
        let now = self.clock.now();
        let resume = resume.transpose()?.unwrap_or_else(|| Resume {
            part: Part::FIRST,
            start: now,
            rows: BTreeMap::new(),
        });
        let quotas = self
            .rate_limit_keys
            .person_quota("Mutation", &self.mutation_limits, person);
        let event = NewAuditEvent {
            event: AuditEventType::AccountExport,
            refused: false,
            origin: &self.audit_origins.of(call),
            session_id: call.caller.user.and_then(|user| user.own_session()),
            at: now,
        };
        self.exports.start(person, &quotas, &event, call.deadline).await?;
        let export = Export {
            exports: self.exports.clone(),
            clock: self.clock.clone(),
            person,
            deadline: call.deadline,
            start: resume.start,
            part: Some(resume.part),
            rows: resume.rows,
            page_tokens: self.page_tokens.clone(),
            is_complete: false,
        };
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
    clock: Clock,
    person: UserId,
    deadline: Deadline,
    start: DateTime<Utc>,
    /// The next page to read. `None` when all parts were read.
    part: Option<Part>,
    /// The number of exported rows by table.
    rows: BTreeMap<&'static str, i64>,
    /// Seals resume tokens.
    page_tokens: PageTokens,
    /// True when the manifest was sent.
    is_complete: bool,
}

impl Export {
    /// Returns the next response message: a page, or at last the manifest. `None` after the manifest.
    async fn next(&mut self) -> Result<Option<ExportAccountResponse>, Failure> {
        while let Some(part) = self.part {
            let page = self.read(part, self.deadline.at_most(PAGE_TIMEOUT)).await;
            let page = page.map_err(|error| self.deadline.attribute_timeout(error.into()))?;
            *self.rows.entry(part.table()).or_default() += page.rows as i64;
            self.part = page.last.or_else(|| part.next());
            if page.rows > 0 {
                let resume_token = self.resume_token();
                return Ok(Some(ExportAccountResponse {
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
        let finished = finished.await;
        finished.map_err(|error| self.deadline.attribute_timeout(error.into()))?;
        self.is_complete = true;
        Ok(Some(ExportAccountResponse {
            manifest: Some(self.manifest()),
            ..ExportAccountResponse::default()
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
        self.page_tokens.seal(self.person, REQUEST, &resume.to_bytes())
    }

    /// Reads a page of `part`.
    async fn read(&self, part: Part, deadline: Deadline) -> Result<PartPage, AccountError> {
        let (exports, person) = (&self.exports, self.person);
        let mut answer = ExportAccountResponse::default();
        let (rows, last) = match part {
            Part::Account => {
                let account = exports.account(person, deadline).await?;
                answer.account = Some(account_message(&account));
                (1, None)
            }
            Part::Consents(after) => {
                let page = exports.consents(person, after, deadline).await?;
                answer.consents = page.iter().map(consent_message).collect();
                (page.len(), page.last().map(|last| Part::Consents(last.id)))
            }
            Part::Sessions(after) => {
                let page = exports.sessions(person, after, deadline).await?;
                answer.sessions = page.iter().map(session_message).collect();
                (page.len(), page.last().map(|last| Part::Sessions(last.id)))
            }
            Part::RefreshTokens(after) => {
                let page = exports.refresh_tokens(person, after, deadline).await?;
                answer.refresh_tokens = page.iter().map(refresh_token_message).collect();
                (page.len(), page.last().map(|last| Part::RefreshTokens(last.id)))
            }
            Part::DeviceTokens(after) => {
                let page = exports.device_tokens(person, after, deadline).await?;
                answer.device_tokens = page.iter().map(device_token_message).collect();
                (page.len(), page.last().map(|last| Part::DeviceTokens(last.id)))
            }
            Part::RecoveryTokens(after) => {
                let page = exports.recovery_tokens(person, after, deadline).await?;
                answer.recovery_tokens = page.iter().map(recovery_token_message).collect();
                (page.len(), page.last().map(|last| Part::RecoveryTokens(last.id)))
            }
            Part::AuditEvents(after) => {
                let page = exports.audit_events(person, after, deadline).await?;
                let last = page.last().map(|last| Part::AuditEvents(last.number));
                let rows = page.len();
                answer.audit_events = page.into_iter().map(event_message).collect();
                (rows, last)
            }
        };
        Ok(PartPage { answer, rows, last })
    }

    /// Returns the manifest.
    fn manifest(&self) -> AccountExportManifest {
        let exported = self.rows.iter().map(|(table, rows)| ExportedRows {
            table: (*table).to_owned(),
            rows: *rows,
        });
        AccountExportManifest {
            format_version: FORMAT_VERSION,
            user_id: self.person.to_string(),
            start_time: Some(timestamp(self.start)),
            end_time: Some(timestamp(self.clock.now())),
            exported: exported.collect(),
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Account(error) => error.into(),
            ExportError::Limited(error) => error.into(),
        }
    }
}
