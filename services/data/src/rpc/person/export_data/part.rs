//! The parts of an export: one for each table, in the order of the export.

use haven_platform::cursor::Cursor;
use haven_proto::data::v1::ExportDataResponse;
use uuid::Uuid;

use crate::store::person::export_data::BEGINNING;

/// A part of an export, with the position after which its next page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Messages after this number.
    Messages(i64),
    /// Analyses that end after this message number.
    Analyses(i64),
    /// Jobs that end after this message number.
    Jobs(i64),
    /// Crisis events after this cursor.
    CrisisEvents(Cursor),
    /// Devices after this cursor.
    Devices(Cursor),
    /// Records after this id.
    Records(Uuid),
    /// Conflicts after this id.
    Conflicts(Uuid),
    /// The preferences, at most one document.
    Preferences,
    /// Shares after this cursor.
    Shares(Cursor),
    /// Attempts to open shares, after this cursor at the share with this id.
    ShareAccesses(Uuid, Cursor),
    /// Audit events after this cursor.
    AuditEvents(Cursor),
}

/// A page of a part.
pub(super) struct PartPage {
    /// The page as a response message.
    pub(super) answer: ExportDataResponse,
    /// The number of rows on the page, including those that cannot be opened.
    pub(super) rows: usize,
    /// The position after the last row. `None` when the page is empty or the part has only one page.
    pub(super) last: Option<Part>,
}

// === impl Part ===

impl Part {
    /// The position before the first row of the export.
    pub(super) const FIRST: Self = Self::Messages(0);

    /// Returns the table that this part is read from.
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

    /// Returns the beginning of the next part; `None` when this is the last one.
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

// === impl PartPage ===

impl PartPage {
    /// Creates a page of `rows` rows with an empty response message, which the caller fills. `last` is the position
    /// after the last row.
    pub(super) fn new(rows: usize, last: Option<Part>) -> Self {
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
    fn each_table_is_exported_once() {
        let mut tables = BTreeSet::new();
        let mut next = Some(Part::FIRST);
        while let Some(part) = next {
            assert!(tables.insert(part.table()), "{part:?}");
            next = part.next();
        }
    }
}
