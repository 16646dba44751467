//! The parts of an export: one for each table, and each a page at a time.

use haven_platform::cursor::Cursor;
use haven_proto::data::v1::ExportDataResponse;
use uuid::Uuid;

use crate::store::person::export_data::BEGINNING;

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
    CrisisEvents(Cursor),
    /// Behind the device of this place.
    Devices(Cursor),
    /// Behind the record of this id.
    Records(Uuid),
    /// Behind the conflict of this id.
    Conflicts(Uuid),
    /// The preferences, of which there is one document at most.
    Preferences,
    /// Behind the share of this place.
    Shares(Cursor),
    /// Behind the attempt of this place at the share of this id.
    ShareAccesses(Uuid, Cursor),
    /// Behind the audit event of this place.
    AuditEvents(Cursor),
}

/// A page of a part.
pub(super) struct Read {
    /// As it is sent.
    pub(super) answer: ExportDataResponse,
    /// How many rows are on it, with those that do not open.
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

// === impl Read ===

impl Read {
    /// An empty answer for a page of so many rows, of which `last` is the last.
    pub(super) fn of(rows: usize, last: Option<Part>) -> Self {
        Self {
            answer: ExportDataResponse::default(),
            rows,
            last,
        }
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
