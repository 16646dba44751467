//! What a person's devices encrypted, whom they share it with, and what they did to it. Nothing here opens it.

use chrono::{DateTime, Utc};
use haven_platform::cursor::Cursor;
use haven_platform::{call::UserId, database::DbError, deadline::Deadline, time::Clock};
use haven_proto::data::v1::ExportedShare;
use uuid::Uuid;

use super::part::{Part, Read};
use crate::{
    rpc::{
        audit::audit_event_message,
        encrypted::{
            content_message,
            cycle::{conflict_message, record_message},
            device::device_message,
            preferences::preferences_message,
            share::{access_message, share_message},
        },
    },
    store::export::{Exports, shared::WholeShare},
};

/// What a person's devices encrypted, as it is stored.
pub(super) struct EncryptedParts {
    exports: Exports,
    clock: Clock,
    person: UserId,
}

impl EncryptedParts {
    /// What the devices of `person` encrypted.
    pub(super) fn new(exports: Exports, clock: Clock, person: UserId) -> Self {
        Self {
            exports,
            clock,
            person,
        }
    }

    /// The devices behind the one of `after`.
    pub(super) async fn devices(&self, after: Cursor, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.devices(self.person, deadline, after).await?;
        let last = page.last().map(|last| {
            Part::Devices(Cursor {
                at: last.created_at,
                id: last.id,
            })
        });
        let mut read = Read::of(page.len(), last);
        let now = self.clock.now();
        let devices = page.into_iter().map(|device| device_message(device, now));
        read.answer.devices = devices.collect();
        Ok(read)
    }

    /// The records behind the one of id `after`.
    pub(super) async fn records(&self, after: Uuid, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.records(self.person, deadline, after).await?;
        let mut read = Read::of(page.len(), page.last().map(|last| Part::Records(last.id)));
        read.answer.records = page.into_iter().map(record_message).collect();
        Ok(read)
    }

    /// The conflicts behind the one of id `after`.
    pub(super) async fn conflicts(&self, after: Uuid, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.conflicts(self.person, deadline, after).await?;
        let mut read = Read::of(page.len(), page.last().map(|last| Part::Conflicts(last.id)));
        read.answer.conflicts = page.into_iter().map(conflict_message).collect();
        Ok(read)
    }

    /// The preferences.
    pub(super) async fn preferences(&self, deadline: Deadline) -> Result<Read, DbError> {
        let preferences = self.exports.preferences(self.person, deadline).await?;
        let mut read = Read::of(preferences.iter().len(), None);
        read.answer.preferences = preferences.map(preferences_message);
        Ok(read)
    }

    /// The shares behind the one of `after`.
    pub(super) async fn shares(&self, after: Cursor, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.shares(self.person, deadline, after).await?;
        let last = page.last().map(|last| {
            Part::Shares(Cursor {
                at: last.share.created_at,
                id: last.share.id,
            })
        });
        let mut read = Read::of(page.len(), last);
        let now = self.clock.now();
        read.answer.shares = page.into_iter().map(|whole| exported_share(whole, now)).collect();
        Ok(read)
    }

    /// The attempts behind the one of `after` at the share of id `share`.
    pub(super) async fn share_accesses(
        &self,
        share: Uuid,
        after: Cursor,
        deadline: Deadline,
    ) -> Result<Read, DbError> {
        let accesses = self.exports.share_accesses(self.person, deadline, share, after);
        let page = accesses.await?;
        let last = page.last().map(|last| {
            let place = Cursor {
                at: last.accessed_at,
                id: last.id,
            };
            Part::ShareAccesses(last.share_id, place)
        });
        let mut read = Read::of(page.len(), last);
        read.answer.share_accesses = page.iter().map(access_message).collect();
        Ok(read)
    }

    /// The audit events behind the one of `after`.
    pub(super) async fn audit_events(&self, after: Cursor, deadline: Deadline) -> Result<Read, DbError> {
        let page = self.exports.audit_events(self.person, deadline, after).await?;
        let last = page.last().map(|last| {
            Part::AuditEvents(Cursor {
                at: last.occurred_at,
                id: last.id,
            })
        });
        let mut read = Read::of(page.len(), last);
        read.answer.audit_events = page.into_iter().map(audit_event_message).collect();
        Ok(read)
    }
}

/// A share, as it is sent at `now`, and what is shared.
fn exported_share(whole: WholeShare, now: DateTime<Utc>) -> ExportedShare {
    let (encrypted_share_data, crypto_envelope) = content_message(whole.content);
    ExportedShare {
        share: Some(share_message(&whole.share, now)),
        encrypted_share_data,
        crypto_envelope,
    }
}
