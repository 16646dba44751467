//! Reauthentication: a signed-in person confirms an action with their password.

use haven_platform::{
    call::{Call, User},
    failure::Failure,
    reason::Reason,
};
use uuid::Uuid;

use super::AccountRpc;
use crate::{
    domain::{audit::AuditEventType, password::WrongPassword},
    store::account::{OwnCredential, OwnPassword},
};

impl AccountRpc {
    /// Returns the credential by which `user` can confirm the request `request_id`.
    ///
    /// # Errors
    ///
    /// RATE_LIMITED when the person must wait after wrong passwords, or confirms actions more often than the limit of
    /// sign-ins allows.
    pub(super) async fn own_credential(
        &self,
        call: &Call,
        user: &User,
        request_id: Uuid,
    ) -> Result<OwnCredential, Failure> {
        let limits = self
            .rate_limit_keys
            .reauthentication(self.reauthentication_limit, user);
        let credential = self
            .own_passwords
            .credential(user.id, request_id, limits, call.deadline);
        Ok(credential.await?)
    }

    /// Counts a wrong password for `own`, appends the refused `event` to the audit log, and returns the failure `reason`.
    pub(super) async fn wrong_password(
        &self,
        call: &Call,
        user: &User,
        own: &OwnPassword,
        event: AuditEventType,
        reason: Reason,
    ) -> Failure {
        let wrong = WrongPassword {
            event,
            session_id: user.own_session(),
            failures: &own.failures,
            origin: &self.audit_origins.of(call),
            at: self.clock.now(),
        };
        match self
            .own_passwords
            .count_wrong(user.id, &wrong, call.deadline)
            .await
        {
            Ok(()) => Failure::new(reason),
            // An attempt that could not be counted must not learn whether the password was right.
            Err(error) => error.into(),
        }
    }
}
