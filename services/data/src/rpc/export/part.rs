//! The parts of an export: one for each table, and each a page at a time.

use chrono::{DateTime, Utc};
use haven_platform::{deadline::Deadline, failure::Failure};
use haven_proto::data::v1::{ExportDataResponse, ExportedShare};
use uuid::Uuid;

use super::Export;
use crate::{
    domain::place::Place,
    rpc::{
        analysis,
        audit::audit_event_message,
        conversation,
        crisis::event_message,
        encrypted::{
            devices::device_message,
            message::{conflict_message, content_message, record_message},
            preferences::preferences_message,
            share_message,
        },
    },
    store::export::{BEGINNING, shared::WholeShare},
};

/// A part of an export, and behind which row of it to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Behind the message of this number.
    Messages(i64),
    /// Behind the analysis that ends with the message of this number.
    Analyses(i64),
    /// Behind the job that ends with the message of this number.
    Jobs(i64),
    /// Behind the crisis event of this place.
    CrisisEvents(Place),
    /// Behind the device of this place.
    Devices(Place),
    /// Behind the record of this id.
    Records(Uuid),
    /// Behind the conflict of this id.
    Conflicts(Uuid),
    /// The preferences, of which there is one document at most.
    Preferences,
    /// Behind the share of this place.
    Shares(Place),
    /// Behind the attempt of this place at the share of this id.
    ShareAccesses(Uuid, Place),
    /// Behind the audit event of this place.
    AuditEvents(Place),
}

/// A page of a part.
pub(super) struct Read {
    /// As it is sent.
    pub(super) answer: ExportDataResponse,
    /// How many rows are on it.
    pub(super) rows: usize,
    /// Behind the last of them. None: there are none.
    pub(super) last: Option<Part>,
}

// === impl Part ===

impl Part {
    /// Before everything.
    pub(super) const FIRST: Self = Self::Messages(0);

    /// The table that this part is read from.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Messages(_) => "data.conversations",
            Self::Analyses(_) => "data.analysis_results",
            Self::Jobs(_) => "data.analysis_jobs",
            Self::CrisisEvents(_) => "data.crisis_events",
            Self::Devices(_) => "data.device_key",
            Self::Records(_) => "data.encrypted_cycle_data",
            Self::Conflicts(_) => "data.cycle_data_conflicts",
            Self::Preferences => "data.encrypted_user_prefs",
            Self::Shares(_) => "data.healthcare_share",
            Self::ShareAccesses(..) => "data.healthcare_share_audit",
            Self::AuditEvents(_) => "data.security_audit_log",
        }
    }

    /// Where the next part begins. None: this is the last one.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Messages(_) => Some(Self::Analyses(0)),
            Self::Analyses(_) => Some(Self::Jobs(0)),
            Self::Jobs(_) => Some(Self::CrisisEvents(BEGINNING)),
            Self::CrisisEvents(_) => Some(Self::Devices(BEGINNING)),
            Self::Devices(_) => Some(Self::Records(Uuid::nil())),
            Self::Records(_) => Some(Self::Conflicts(Uuid::nil())),
            Self::Conflicts(_) => Some(Self::Preferences),
            Self::Preferences => Some(Self::Shares(BEGINNING)),
            Self::Shares(_) => Some(Self::ShareAccesses(Uuid::nil(), BEGINNING)),
            Self::ShareAccesses(..) => Some(Self::AuditEvents(BEGINNING)),
            Self::AuditEvents(_) => None,
        }
    }
}

// === impl Export ===

impl Export {
    /// Reads a page of `part`.
    pub(super) async fn read(&self, part: Part, deadline: Deadline) -> Result<Read, Failure> {
        let (exports, person) = (&self.exports, self.person);
        let mut answer = ExportDataResponse::default();
        let (rows, last) = match part {
            Part::Messages(after) => {
                let page = exports.messages(person, deadline, after).await?;
                let last = page.last().map(|last| Part::Messages(last.number.get()));
                for sealed in page {
                    let message = sealed.open(&self.keys, person).map_err(Failure::internal)?;
                    answer.messages.push(conversation::answer(&message));
                }
                (answer.messages.len(), last)
            }
            Part::Analyses(after) => {
                let page = exports.analyses(person, deadline, after).await?;
                let last = page.last().map(|last| Part::Analyses(last.range.last.get()));
                for sealed in page {
                    let analysis = sealed.open(&self.keys, person).map_err(Failure::internal)?;
                    answer.analyses.push(analysis::answer(&analysis));
                }
                (answer.analyses.len(), last)
            }
            Part::Jobs(after) => {
                let page = exports.jobs(person, deadline, after).await?;
                let last = page.last().map(|last| Part::Jobs(last.range.last.get()));
                answer.analysis_jobs = page.iter().map(analysis::job).collect();
                (page.len(), last)
            }
            Part::CrisisEvents(after) => {
                let page = exports.crisis_events(person, deadline, after).await?;
                let last = page.last().map(|last| {
                    Part::CrisisEvents(Place {
                        at: last.created_at,
                        id: last.id,
                    })
                });
                answer.crisis_events = page.iter().map(event_message).collect();
                (page.len(), last)
            }
            Part::Devices(after) => {
                let page = exports.devices(person, deadline, after).await?;
                let last = page.last().map(|last| {
                    Part::Devices(Place {
                        at: last.created_at,
                        id: last.id,
                    })
                });
                let now = self.clock.now();
                answer.devices = page
                    .into_iter()
                    .map(|device| device_message(device, now))
                    .collect();
                (answer.devices.len(), last)
            }
            Part::Records(after) => {
                let page = exports.records(person, deadline, after).await?;
                let last = page.last().map(|last| Part::Records(last.id));
                answer.records = page.into_iter().map(record_message).collect();
                (answer.records.len(), last)
            }
            Part::Conflicts(after) => {
                let page = exports.conflicts(person, deadline, after).await?;
                let last = page.last().map(|last| Part::Conflicts(last.id));
                answer.conflicts = page.into_iter().map(conflict_message).collect();
                (answer.conflicts.len(), last)
            }
            Part::Preferences => {
                let preferences = exports.preferences(person, deadline).await?;
                answer.preferences = preferences.map(preferences_message);
                (answer.preferences.iter().len(), None)
            }
            Part::Shares(after) => {
                let page = exports.shares(person, deadline, after).await?;
                let last = page.last().map(|last| {
                    Part::Shares(Place {
                        at: last.share.created_at,
                        id: last.share.id,
                    })
                });
                let now = self.clock.now();
                answer.shares = page.into_iter().map(|whole| exported_share(whole, now)).collect();
                (answer.shares.len(), last)
            }
            Part::ShareAccesses(share, after) => {
                let page = exports.share_accesses(person, deadline, share, after).await?;
                let last = page.last().map(|last| {
                    let place = Place {
                        at: last.accessed_at,
                        id: last.id,
                    };
                    Part::ShareAccesses(last.share_id, place)
                });
                answer.share_accesses = page.iter().map(share_message::access).collect();
                (page.len(), last)
            }
            Part::AuditEvents(after) => {
                let page = exports.audit_events(person, deadline, after).await?;
                let last = page.last().map(|last| {
                    Part::AuditEvents(Place {
                        at: last.occurred_at,
                        id: last.id,
                    })
                });
                answer.audit_events = page.into_iter().map(audit_event_message).collect();
                (answer.audit_events.len(), last)
            }
        };
        Ok(Read { answer, rows, last })
    }
}

/// A share, as it is sent at `now`, and what is shared.
fn exported_share(whole: WholeShare, now: DateTime<Utc>) -> ExportedShare {
    let (encrypted_share_data, crypto_envelope) = content_message(whole.content);
    ExportedShare {
        share: Some(share_message::share(&whole.share, now)),
        encrypted_share_data,
        crypto_envelope,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_part_comes_once() {
        let mut tables = BTreeSet::new();
        let mut next = Some(Part::FIRST);
        while let Some(part) = next {
            assert!(tables.insert(part.table()), "{part:?}");
            next = part.next();
        }
    }
}
