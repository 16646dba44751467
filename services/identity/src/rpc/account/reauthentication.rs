//! What somebody who is signed in proves once more, with their password: that it is they.

use haven_platform::{
    call::{Call, User},
    failure::Failure,
    reason::Reason,
};
use uuid::Uuid;

use crate::rpc::{IdentityRpc, rate_limit_keys::origin};
use crate::{
    domain::audit::AuditEventType,
    store::account::reauthentication::{OwnPassword, Proof, WrongPassword},
};

impl IdentityRpc {
    /// How `user` can prove that the account is theirs.
    ///
    /// # Errors
    ///
    /// RATE_LIMITED when they have to wait after wrong passwords, or prove it more often than one may sign in.
    pub(in crate::rpc) async fn proof_of(
        &self,
        call: &Call,
        user: &User,
        request_id: Uuid,
    ) -> Result<Proof, Failure> {
        let limits = |canonical: &str| self.limit_keys.of_account(self.sign_in_limits.email, canonical);
        let proof = self
            .own_passwords
            .proof(user.id, request_id, limits, call.deadline);
        Ok(proof.await?)
    }

    /// Counts that `own` was not proved, logs what it was to be proved for, and answers `reason`.
    pub(in crate::rpc) async fn not_proved(
        &self,
        call: &Call,
        user: &User,
        own: &OwnPassword,
        event: AuditEventType,
        reason: Reason,
    ) -> Failure {
        let wrong = WrongPassword {
            user_id: user.id,
            event,
            session_id: user.own_session(),
            failures: &own.failures,
            origin: &origin(call, &self.networks),
            at: self.clock.now(),
        };
        match self.own_passwords.note_wrong(&wrong, call.deadline).await {
            Ok(()) => Failure::new(reason),
            // Whoever is not counted is not told either.
            Err(error) => error.into(),
        }
    }
}
