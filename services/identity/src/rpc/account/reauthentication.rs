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
    store::account::{EarlierRequest, OwnCredential, OwnPassword},
};

impl AccountRpc {
    /// Returns the credential by which `user` can confirm the request with this method and id. An earlier request of which
    /// `is_retry` is true was answered, and the call asks for its answer again: it has a limit of its own.
    ///
    /// # Errors
    ///
    /// RATE_LIMITED when the person must wait after wrong passwords, or confirms actions more often than the limit of
    /// sign-ins allows.
    pub(super) async fn own_credential(
        &self,
        call: &Call,
        user: &User,
        (method, request_id): (&'static str, Uuid),
        is_retry: impl FnOnce(&EarlierRequest) -> bool + Send,
    ) -> Result<OwnCredential, Failure> {
        let limits = |earlier: Option<&EarlierRequest>| {
            let keys = &self.rate_limit_keys;
            let (quotas, failures) = keys.reauthentication(self.reauthentication_limit, user);
            match earlier.is_some_and(is_retry) {
                true => {
                    let owner = user.id.as_uuid().as_bytes();
                    (keys.retry_quota(method, owner, request_id), failures)
                }
                false => (quotas, failures),
            }
        };
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
