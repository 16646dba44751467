//! The account of a person whom another provider signs in: it is created on first use.

use haven_platform::{call::Call, failure::Failure};

use super::AccountRpc;
use crate::domain::{outbox::Message, provider::AuthProvider};

impl AccountRpc {
    /// Creates the caller's account if another provider signed them in and they have none yet, and tells data about the
    /// person. Takes three round trips when the account exists, and none when this service signs people in.
    ///
    /// # Errors
    ///
    /// ACCOUNT_ERASED when the person had an account that was erased.
    pub(super) async fn ensure_account(&self, call: &Call) -> Result<(), Failure> {
        if !self.gets_external_account(call) {
            return Ok(());
        }
        let person = call.user()?;
        let message = Message::provision_user(self.entropy.uuid_v7(&self.clock), person);
        let created = self
            .accounts
            .create_external(person, &message, self.clock.now(), call.deadline)
            .await?;
        if created {
            self.dispatcher.deliver_now(message, call.deadline).await;
        }
        Ok(())
    }

    /// Returns whether the caller gets an account on first use.
    pub(super) fn gets_external_account(&self, call: &Call) -> bool {
        self.provider == AuthProvider::External && call.caller.user.is_some_and(|user| user.foreign)
    }
}
