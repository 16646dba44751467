//! The account and its consents.

use haven_proto::identity::v1::{
    Account, ConsentGrant, GetAccountRequest, GrantConsentRequest, ListSessionsRequest, UpdateAccountRequest,
    WithdrawConsentRequest,
};
use haven_testkit::random;
use prost_types::FieldMask;

use super::{Done, Kind, Mutation, Person, request_id};

/// The number of goals.
const GOALS: i32 = 7;

/// The last stage.
const LAST_STAGE: i32 = 3;

impl Person<'_> {
    /// Returns the content of the account's state.
    pub(super) fn account_content(&self) -> String {
        content_of(&[self.goal], self.stage)
    }

    /// Changes the goals, or as a service the stage.
    pub(super) async fn update_account(&mut self) -> Done {
        let as_service = self.stage < LAST_STAGE && rand::random();
        let (goal, stage) = if as_service {
            (self.goal, self.stage + 1)
        } else {
            (self.goal % GOALS + 1, self.stage)
        };
        let request = UpdateAccountRequest {
            account: Some(Account {
                id: self.device.person.id.to_string(),
                stage: if as_service { stage } else { 0 },
                goals: if as_service { Vec::new() } else { vec![goal] },
                ..Account::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec![if as_service { "stage" } else { "goals" }.to_owned()],
            }),
            expected_version: self.account_version,
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let after = self
            .object(Kind::Account, "")
            .becomes(self.account_version + 1, content_of(&[goal], stage));
        let client = if as_service {
            &self.scene.backend
        } else {
            &self.device.client
        };
        let mut service = client.account();
        self.caller
            .call(
                Mutation::new("UpdateAccount", &id, vec![after]),
                request,
                async |request| service.update_account(request).await,
            )
            .await?;
        (self.goal, self.stage) = (goal, stage);
        self.account_version += 1;
        Ok(())
    }

    pub(super) async fn read_account(&mut self) -> Done {
        let user_id = self.device.person.id.to_string();
        let request = GetAccountRequest {
            user_id: user_id.clone(),
        };
        let mut service = self.device.client.account();
        let read = self
            .caller
            .read(request, async |request| service.get_account(request).await)
            .await;
        if let Some(account) = read.and_then(|answer| answer.account) {
            let own = account.id == user_id && account.email == self.device.person.email;
            self.assert_own("GetAccount", own, &account.id);
            let current = (account.version, content_of(&account.goals, account.stage))
                == (self.account_version, self.account_content());
            self.assert_current("GetAccount", current, &account.version.to_string());
        }
        let mut service = self.device.client.session();
        let read = self
            .caller
            .read(ListSessionsRequest::default(), async |request| {
                service.list_sessions(request).await
            })
            .await;
        if let Some(answer) = read {
            let session = self.device.person.session_id.to_string();
            let own = answer.sessions.iter().any(|found| found.id == session);
            self.assert_current("ListSessions", own, "not the caller's session");
        }
        Ok(())
    }

    pub(super) async fn grant_consent(&mut self) -> Done {
        let document = format!("news-{}", random::uuid());
        let request = GrantConsentRequest {
            consent: Some(ConsentGrant {
                document: document.clone(),
                document_version: "1".to_owned(),
            }),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Consent, &document).becomes(0, "granted")];
        let mut service = self.device.client.account();
        let answer = self
            .caller
            .call(
                Mutation::new("GrantConsent", &id, changes),
                request,
                async |request| service.grant_consent(request).await,
            )
            .await?;
        let consent = answer.consent.unwrap_or_default();
        self.assert_own("GrantConsent", consent.document == document, &consent.document);
        self.consents.push((consent.id, document));
        Ok(())
    }

    pub(super) async fn withdraw_consent(&mut self) -> Done {
        let Some((consent_id, document)) = self.consents.pop() else {
            return self.grant_consent().await;
        };
        let request = WithdrawConsentRequest {
            consent_id,
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Consent, &document).becomes(0, "withdrawn")];
        let mut service = self.device.client.account();
        self.caller
            .call(
                Mutation::new("WithdrawConsent", &id, changes),
                request,
                async |request| service.withdraw_consent(request).await,
            )
            .await?;
        Ok(())
    }
}

/// Returns the content of an account's state.
pub(in crate::workload) fn content_of(goals: &[i32], stage: i32) -> String {
    format!("goals {goals:?}, stage {stage}")
}
