//! Recovery: password resets, verifications and changes of the address.

use haven_proto::identity::v1::{
    ConfirmEmailChangeRequest, CreateEmailChangeRequest, CreateEmailVerificationRequest,
    CreatePasswordResetRequest, ResetPasswordRequest, UndoEmailChangeRequest, VerifyEmailRequest,
};

use super::{Done, Failure, Kind, Mutation, Person, request_id};
use crate::workload::{journal::Change, moved_email};

impl Person<'_> {
    /// Resets the password, verifies the address, or changes it and takes that back.
    pub(super) async fn recover(&mut self) -> Done {
        match rand::random_range(0..3) {
            0 => self.reset_password().await,
            1 => self.verify_email().await,
            _ => self.move_and_return().await,
        }
    }

    /// The next version of the account, with the same content.
    fn next_account(&self) -> Change {
        self.object(Kind::Account, "")
            .becomes(self.account_version + 1, self.account_content())
    }

    async fn reset_password(&mut self) -> Done {
        let request = CreatePasswordResetRequest {
            email: self.device.person.email.clone(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let mut service = self.scene.backend.recovery();
        let created = self
            .caller
            .call(
                Mutation::new("CreatePasswordReset", &id, Vec::new()),
                request,
                async |request| service.create_password_reset(request).await,
            )
            .await?;
        self.set_password(created.token).await
    }

    /// Sets a new password with a token, and signs in.
    async fn set_password(&mut self, token: String) -> Done {
        let new_password = format!("Aa1-{:x}", rand::random::<u128>());
        let request = ResetPasswordRequest {
            token,
            new_password: new_password.clone(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![
            self.object(Kind::Password, "").becomes(0, &new_password),
            self.next_account(),
        ];
        let mut service = self.anonymous.recovery();
        self.caller
            .call(
                Mutation::new("ResetPassword", &id, changes),
                request,
                async |request| service.reset_password(request).await,
            )
            .await?;
        self.device.person.password = new_password;
        self.account_version += 1;
        self.verified = true;
        self.sign_in_again().await
    }

    async fn verify_email(&mut self) -> Done {
        let request = CreateEmailVerificationRequest {
            user_id: self.device.person.id.to_string(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let mut service = self.scene.backend.recovery();
        let created = self
            .caller
            .call(
                Mutation::new("CreateEmailVerification", &id, Vec::new()),
                request,
                async |request| service.create_email_verification(request).await,
            )
            .await?;
        let is_own = created.email == self.device.person.email;
        self.assert_own("CreateEmailVerification", is_own, &created.email);
        let request = VerifyEmailRequest {
            token: created.token,
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        // An address that is verified already changes nothing.
        let changes = match self.verified {
            true => Vec::new(),
            false => vec![self.next_account()],
        };
        let mut service = self.anonymous.recovery();
        self.caller
            .call(
                Mutation::new("VerifyEmail", &id, changes),
                request,
                async |request| service.verify_email(request).await,
            )
            .await?;
        if !self.verified {
            self.account_version += 1;
        }
        self.verified = true;
        Ok(())
    }

    /// Changes the address, and takes the change back, which ends all sessions and the password.
    async fn move_and_return(&mut self) -> Done {
        let request = CreateEmailChangeRequest {
            user_id: self.device.person.id.to_string(),
            email: moved_email(self.name),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let mut service = self.scene.backend.recovery();
        let created = self
            .caller
            .call(
                Mutation::new("CreateEmailChange", &id, Vec::new()),
                request,
                async |request| service.create_email_change(request).await,
            )
            .await?;
        let request = ConfirmEmailChangeRequest {
            token: created.token,
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.next_account()];
        let mut service = self.anonymous.recovery();
        self.caller
            .call(
                Mutation::new("ConfirmEmailChange", &id, changes),
                request,
                async |request| service.confirm_email_change(request).await,
            )
            .await?;
        self.account_version += 1;
        self.verified = true;
        let request = UndoEmailChangeRequest {
            token: created.undo_token,
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        // An undo ends the password.
        let changes = vec![self.next_account(), self.object(Kind::Password, "").goes()];
        let undone = self
            .caller
            .call(
                Mutation::new("UndoEmailChange", &id, changes),
                request,
                async |request| service.undo_email_change(request).await,
            )
            .await?;
        self.account_version += 1;
        self.set_password(undone.reset_token).await
    }

    /// Signs in after all sessions ended.
    async fn sign_in_again(&mut self) -> Result<(), Failure> {
        self.device.person.session_id = uuid::Uuid::nil();
        self.sign_in().await
    }
}
