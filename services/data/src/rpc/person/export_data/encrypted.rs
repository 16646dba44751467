//! The parts of an export with encrypted content, shares and audit events. Nothing here decrypts the content.

use chrono::{DateTime, Utc};
use haven_platform::{call::UserId, cursor::Cursor, database::DbError, deadline::Deadline, time::Clock};
use haven_proto::data::v1::ExportedShare;
use uuid::Uuid;

use super::part::{Part, PartPage};
use crate::{
    rpc::{
        encrypted::{
            content_message,
            cycle::{conflict_message, record_message},
            device::device_message,
            preferences::preferences_message,
            share::{access_message, share_message},
        },
        person::list_audit_events::audit_event_to_proto,
    },
    store::person::export_data::{Exports, shared::WholeShare},
};

/// Reads the parts with encrypted content.
pub(super) struct EncryptedParts {
    exports: Exports,
    clock: Clock,
    person: UserId,
}

impl EncryptedParts {
    /// Returns the reader for `person`.
    pub(super) fn new(exports: Exports, clock: Clock, person: UserId) -> Self {
        Self {
            exports,
            clock,
            person,
        }
    }

    /// Reads the devices after `after`.
    pub(super) async fn devices(&self, after: Cursor, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.devices(self.person, after, deadline).await?;
        let last = page.last().map(|last| {
            Part::Devices(Cursor {
                at: last.created_at,
                id: last.id,
            })
        });
        let mut part_page = PartPage::new(page.len(), last);
        let now = self.clock.now();
        let devices = page.into_iter().map(|device| device_message(device, now));
        part_page.answer.devices = devices.collect();
        Ok(part_page)
    }

    /// Reads the records after the id `after`.
    pub(super) async fn records(&self, after: Uuid, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.records(self.person, after, deadline).await?;
        let mut part_page = PartPage::new(page.len(), page.last().map(|last| Part::Records(last.id)));
        part_page.answer.records = page.into_iter().map(record_message).collect();
        Ok(part_page)
    }

    /// Reads the conflicts after the id `after`.
    pub(super) async fn conflicts(&self, after: Uuid, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.conflicts(self.person, after, deadline).await?;
        let mut part_page = PartPage::new(page.len(), page.last().map(|last| Part::Conflicts(last.id)));
        part_page.answer.conflicts = page.into_iter().map(conflict_message).collect();
        Ok(part_page)
    }

    /// Reads the person's preferences, if there are any.
    pub(super) async fn preferences(&self, deadline: Deadline) -> Result<PartPage, DbError> {
        let preferences = self.exports.preferences(self.person, deadline).await?;
        let mut part_page = PartPage::new(preferences.iter().len(), None);
        part_page.answer.preferences = preferences.map(preferences_message);
        Ok(part_page)
    }

    /// Reads the shares after `after`.
    pub(super) async fn shares(&self, after: Cursor, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.shares(self.person, after, deadline).await?;
        let last = page.last().map(|last| {
            Part::Shares(Cursor {
                at: last.share.created_at,
                id: last.share.id,
            })
        });
        let mut part_page = PartPage::new(page.len(), last);
        let now = self.clock.now();
        part_page.answer.shares = page.into_iter().map(|whole| exported_share(whole, now)).collect();
        Ok(part_page)
    }

    /// Reads the attempts to open shares after the one of `after` at the share `share`.
    pub(super) async fn share_accesses(
        &self,
        share: Uuid,
        after: Cursor,
        deadline: Deadline,
    ) -> Result<PartPage, DbError> {
        let accesses = self.exports.share_accesses(self.person, share, after, deadline);
        let page = accesses.await?;
        let last = page.last().map(|last| {
            let cursor = Cursor {
                at: last.accessed_at,
                id: last.id,
            };
            Part::ShareAccesses(last.share_id, cursor)
        });
        let mut part_page = PartPage::new(page.len(), last);
        part_page.answer.share_accesses = page.iter().map(access_message).collect();
        Ok(part_page)
    }

    /// Reads the audit events after `after`.
    pub(super) async fn audit_events(&self, after: Cursor, deadline: Deadline) -> Result<PartPage, DbError> {
        let page = self.exports.audit_events(self.person, after, deadline).await?;
        let last = page.last().map(|last| {
            Part::AuditEvents(Cursor {
                at: last.occurred_at,
                id: last.id,
            })
        });
        let mut part_page = PartPage::new(page.len(), last);
        part_page.answer.audit_events = page.into_iter().map(audit_event_to_proto).collect();
        Ok(part_page)
    }
}

/// Converts a share with its content to the response message, with its state at `now`.
fn exported_share(whole: WholeShare, now: DateTime<Utc>) -> ExportedShare {
    let (encrypted_share_data, crypto_envelope) = content_message(whole.content);
    ExportedShare {
        share: Some(share_message(&whole.share, now)),
        encrypted_share_data,
        crypto_envelope,
    }
}
