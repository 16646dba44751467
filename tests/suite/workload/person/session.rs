//! Sign-up, sessions, the password, and the deletion of the account.

use std::time::Duration;

use haven_proto::{
    data::v1::{EraseUserRequest, ProvisionUserRequest},
    identity::v1::{
        ChangePasswordRequest, DeleteAccountRequest, GetDeletionRequest, RefreshSessionRequest,
        RevokeSessionRequest, SignInRequest, SignOutRequest,
    },
};
use haven_testkit::client::sign_up_request;

use super::{Done, Failure, Kind, Mutation, Person, request_id};
use crate::workload::journal::Fact;

/// The time for which RefreshSession is retried. Ten seconds after its first use the service takes a refresh token for
/// copied, and ends the session.
const REFRESH_PATIENCE: Duration = Duration::from_secs(8);

impl Person<'_> {
    pub(super) async fn sign_up(&mut self) -> Done {
        let account = &self.device.person;
        let request = sign_up_request(&account.email, &account.password);
        let mut changes = vec![
            self.object(Kind::Person, "").becomes(0, ""),
            self.object(Kind::Password, "").becomes(0, &account.password),
            self.object(Kind::Account, "").becomes(1, self.account_content()),
        ];
        for consent in &request.consents {
            changes.push(
                self.object(Kind::Consent, &consent.document)
                    .becomes(0, "granted"),
            );
        }
        let id = request.request_id.clone();
        let mutation = Mutation::new("SignUp", &id, changes);
        let mut service = self.anonymous.account();
        let answer = self
            .caller
            .call_with_facts(
                mutation,
                request,
                |answer: &haven_proto::identity::v1::SignUpResponse| {
                    let id = answer
                        .account
                        .as_ref()
                        .and_then(|account| account.id.parse().ok());
                    id.map(Fact::UserId).into_iter().collect()
                },
                async |request| service.sign_up(request).await,
            )
            .await?;
        self.device.person.id = answer.account.unwrap_or_default().id.parse().unwrap();
        Ok(())
    }

    pub(super) async fn sign_in(&mut self) -> Done {
        let account = &self.device.person;
        let request = SignInRequest {
            email: account.email.clone(),
            password: account.password.clone(),
            request_id: request_id(),
            ..SignInRequest::default()
        };
        let id = request.request_id.clone();
        let mutation = Mutation::new("SignIn", &id, Vec::new());
        let mut service = self.anonymous.session();
        let before = account.session_id;
        let answer = self
            .caller
            .call_with_facts(
                mutation,
                request,
                |answer: &haven_proto::identity::v1::SignInResponse| {
                    answer.session_id.parse().map(Fact::Session).into_iter().collect()
                },
                async |request| service.sign_in(request).await,
            )
            .await?;
        let own = answer.user_id == account.id.to_string();
        self.assert_own("SignIn", own, &answer.user_id);
        self.use_token(&answer.access_token, answer.refresh_token);
        self.device.person.session_id = answer.session_id.parse().unwrap();
        if !before.is_nil() {
            self.revoke_session(before.to_string()).await?;
        }
        Ok(())
    }

    fn use_token(&mut self, access: &str, refresh: String) {
        self.device.client = self.anonymous.with_token(access).unwrap();
        self.device.person.token = access.to_owned();
        self.refresh_token = refresh;
    }

    async fn revoke_session(&self, session_id: String) -> Done {
        let mutation = Mutation::new("RevokeSession", "", Vec::new());
        let mut service = self.device.client.session();
        let request = RevokeSessionRequest { session_id };
        self.caller
            .call(mutation, request, async |request| {
                service.revoke_session(request).await
            })
            .await?;
        Ok(())
    }

    /// Refreshes the session, or signs in again where that did not work in time.
    pub(super) async fn refresh_session(&mut self) -> Done {
        let mutation = Mutation {
            patience: REFRESH_PATIENCE,
            ..Mutation::new("RefreshSession", "", Vec::new())
        };
        let request = RefreshSessionRequest {
            refresh_token: self.refresh_token.clone(),
        };
        let mut service = self.anonymous.session();
        let answer = self
            .caller
            .call(mutation, request, async |request| {
                service.refresh_session(request).await
            })
            .await;
        match answer {
            Ok(answer) => {
                let own = answer.user_id == self.device.person.id.to_string();
                self.assert_own("RefreshSession", own, &answer.user_id);
                self.use_token(&answer.access_token, answer.refresh_token);
                Ok(())
            }
            Err(Failure::Unknown) => self.sign_in().await,
            Err(refused) => Err(refused),
        }
    }

    pub(super) async fn change_password(&mut self) -> Done {
        let account = &self.device.person;
        let new_password = format!("Aa1-{:x}", rand::random::<u128>());
        let request = ChangePasswordRequest {
            current_password: account.password.clone(),
            new_password: new_password.clone(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let version = self.account_version + 1;
        let changes = vec![
            self.object(Kind::Password, "").becomes(0, &new_password),
            self.object(Kind::Account, "")
                .becomes(version, self.account_content()),
        ];
        let mut service = self.device.client.account();
        self.caller
            .call(
                Mutation::new("ChangePassword", &id, changes),
                request,
                async |request| service.change_password(request).await,
            )
            .await?;
        self.device.person.password = new_password;
        self.account_version = version;
        Ok(())
    }

    /// Registers the person with data again, which changes nothing.
    pub(super) async fn provision(&mut self) -> Done {
        let request = ProvisionUserRequest {
            user_id: self.device.person.id.to_string(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let mutation = Mutation::new("ProvisionUser", &id, Vec::new());
        let mut service = self.scene.identity.person();
        self.caller
            .call(mutation, request, async |request| {
                service.provision_user(request).await
            })
            .await?;
        Ok(())
    }

    /// Deletes the account by the person or by a service, and then erases the person again, which changes nothing.
    pub(super) async fn delete_account(&mut self) -> Done {
        let by_service = rand::random();
        let account = &self.device.person;
        let user_id = account.id.to_string();
        let request = DeleteAccountRequest {
            user_id: user_id.clone(),
            password: if by_service {
                String::new()
            } else {
                account.password.clone()
            },
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Person, "").goes()];
        let client = if by_service {
            &self.scene.backend
        } else {
            &self.device.client
        };
        let mut service = client.account();
        self.caller
            .call(
                Mutation::new("DeleteAccount", &id, changes),
                request,
                async |request| service.delete_account(request).await,
            )
            .await?;
        let request = EraseUserRequest {
            user_id: user_id.clone(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let mut service = self.scene.identity.person();
        let mutation = Mutation::new("EraseUser", &id, Vec::new());
        self.caller
            .call(mutation, request, async |request| {
                service.erase_user(request).await
            })
            .await?;
        let mut service = self.scene.backend.account();
        let read = self
            .caller
            .read(
                GetDeletionRequest {
                    user_id: user_id.clone(),
                },
                async |request| service.get_deletion(request).await,
            )
            .await;
        if let Some(deletion) = read.and_then(|answer| answer.deletion) {
            self.assert_own("GetDeletion", deletion.user_id == user_id, &deletion.user_id);
        }
        Ok(())
    }

    /// Signs out, and in again.
    pub(super) async fn sign_out(&mut self) -> Done {
        let mutation = Mutation::new("SignOut", "", Vec::new());
        let mut service = self.device.client.session();
        self.caller
            .call(mutation, SignOutRequest {}, async |request| {
                service.sign_out(request).await
            })
            .await?;
        self.device.person.session_id = uuid::Uuid::nil();
        self.sign_in().await
    }
}
