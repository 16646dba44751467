//! How each RPC is called, and what it is called about.

use haven_proto::{
    data::v1::{
        AcknowledgeCrisisEventRequest, AppendMessageRequest, DeleteAnalysisRequest, DeleteMessageRequest,
        EraseUserRequest, ExtendLeaseRequest, FailJobRequest, GetAnalysisRequest, GetMessageRequest,
        JobLease, LeaseJobsRequest, ListAnalysesRequest, ListCrisisEventsRequest, ListDeadJobsRequest,
        ListMessagesRequest, ProvisionUserRequest, RequestAnalysisRequest, RequeueJobRequest,
        ResolveCrisisEventRequest, SenderType, UpdateMessageRequest, WatchCrisisEventsRequest,
    },
    identity::v1::{
        Account, ChangePasswordRequest, CheckPasswordRequest, ConsentGrant, DeleteAccountRequest,
        GetAccountRequest, GetDeletionRequest, GetPasswordPolicyRequest, GetSigningKeysRequest, Goal,
        GrantConsentRequest, ListAccountsRequest, ListAuditEventsRequest, ListConsentsRequest,
        ListEndedSessionsRequest, ListSessionsRequest, RefreshSessionRequest, RevokeSessionRequest,
        SignInRequest, SignOutRequest, UpdateAccountRequest, WithdrawConsentRequest,
    },
};
use haven_testkit::{Client, Person, Stack, client::sign_up_request, random};
use tonic::Status;

use crate::{
    analysis_jobs,
    crisis_message::{ALARMING, say_until_heard},
    encrypted_fixture::EncryptedFixture,
    permissions::streams,
    raw_call,
};

/// Whose things are asked for: the right person's, who is another one for each call, because some calls leave nothing
/// of them.
pub(super) struct Belongings {
    pub(super) person: Person,
    message_id: String,
    event_id: String,
    consent_id: String,
    /// Where the RPC is about one.
    lease: JobLease,
    /// Where the RPC is about one.
    analysis_id: String,
    /// Where the RPC is about what is in there.
    fixture: Option<EncryptedFixture>,
}

/// The services whose RPCs are about what only people's devices can decrypt.
const ENCRYPTED: [&str; 5] = [
    "haven.data.v1.CycleService/",
    "haven.data.v1.DeviceService/",
    "haven.data.v1.PreferencesService/",
    "haven.data.v1.ShareService/",
    "haven.data.v1.PersonService/",
];

impl Belongings {
    pub(super) async fn of_somebody(stack: &Stack, rpc: &str) -> Self {
        let person = stack.person().await.unwrap();
        let client = stack.user(&person).unwrap();
        let (_, message, found) = say_until_heard(&client, ALARMING).await;
        let consents = client
            .account()
            .list_consents(ListConsentsRequest::default())
            .await
            .unwrap();
        let (mut lease, mut analysis_id) = (JobLease::default(), String::new());
        match rpc.rsplit('/').next() {
            Some("ExtendLease" | "CompleteJob" | "FailJob") => {
                lease = analysis_jobs::leased(stack, &client).await
            }
            Some("RequeueJob") => lease.job_id = analysis_jobs::dead(stack, &client).await,
            Some("GetAnalysis" | "DeleteAnalysis") => analysis_id = analysis_jobs::done(stack, &client).await,
            _ => {}
        }
        let mut fixture = None;
        if ENCRYPTED.iter().any(|service| rpc.starts_with(service)) {
            fixture = Some(EncryptedFixture::of(stack, person.clone(), &say).await);
        }
        Self {
            fixture,
            lease,
            analysis_id,
            person,
            message_id: message.id,
            event_id: found.event_id,
            consent_id: consents.into_inner().consents[0].id.clone(),
        }
    }
}

/// What somebody says, where it does not matter what.
fn say(_what: &str) -> String {
    format!("something, {}", random::uuid())
}

/// Calls `rpc` about the right person's belongings. None: nobody has said yet how.
pub(super) async fn call(
    rpc: &str,
    client: &Client,
    service: bool,
    belongings: &Belongings,
) -> Option<Result<(), Status>> {
    let request_id = random::uuid().to_string();
    let user_id = belongings.person.id.to_string();
    let outcome = match rpc {
        "haven.identity.v1.AccountService/SignUp" => {
            let email = format!("{}@example.org", random::uuid());
            let request = sign_up_request(&email, "Correct-Horse-7-Battery");
            client.account().sign_up(request).await.map(drop)
        }
        "haven.identity.v1.AccountService/GetPasswordPolicy" => client
            .account()
            .get_password_policy(GetPasswordPolicyRequest {})
            .await
            .map(drop),
        "haven.identity.v1.AccountService/CheckPassword" => client
            .account()
            .check_password(CheckPasswordRequest::default())
            .await
            .map(drop),
        "haven.identity.v1.AccountService/GetAccount" => client
            .account()
            .get_account(GetAccountRequest { user_id })
            .await
            .map(drop),
        "haven.identity.v1.AccountService/UpdateAccount" => {
            // What a service may change, and what a person may, are two things.
            let (stage, goals, path) = match service {
                true => (2, Vec::new(), "stage"),
                false => (0, vec![Goal::MakeFriends.into()], "goals"),
            };
            let account = Account {
                id: user_id,
                stage,
                goals,
                ..Account::default()
            };
            let request = UpdateAccountRequest {
                account: Some(account),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec![path.to_owned()],
                }),
                expected_version: 1,
                request_id,
            };
            client.account().update_account(request).await.map(drop)
        }
        "haven.identity.v1.AccountService/ChangePassword" => {
            let request = ChangePasswordRequest {
                current_password: belongings.person.password.clone(),
                new_password: "Another-Horse-8-Battery".into(),
                request_id,
            };
            client.account().change_password(request).await.map(drop)
        }
        "haven.identity.v1.AccountService/DeleteAccount" => {
            let password = match service {
                true => String::new(),
                false => belongings.person.password.clone(),
            };
            let request = DeleteAccountRequest {
                user_id,
                password,
                request_id,
            };
            client.account().delete_account(request).await.map(drop)
        }
        "haven.identity.v1.AccountService/GetDeletion" => {
            // There is a deletion where the caller may ask for one.
            let request = DeleteAccountRequest {
                user_id: user_id.clone(),
                password: String::new(),
                request_id,
            };
            let _ = client.account().delete_account(request).await;
            let request = GetDeletionRequest { user_id };
            client.account().get_deletion(request).await.map(drop)
        }
        "haven.identity.v1.AccountService/ListAccounts" => client
            .account()
            .list_accounts(ListAccountsRequest::default())
            .await
            .map(drop),
        "haven.identity.v1.AccountService/ListConsents" => client
            .account()
            .list_consents(ListConsentsRequest::default())
            .await
            .map(drop),
        "haven.identity.v1.AccountService/GrantConsent" => {
            let request = GrantConsentRequest {
                consent: Some(ConsentGrant {
                    document: "news".into(),
                    document_version: "1".into(),
                }),
                request_id,
            };
            client.account().grant_consent(request).await.map(drop)
        }
        "haven.identity.v1.AccountService/WithdrawConsent" => {
            let request = WithdrawConsentRequest {
                consent_id: belongings.consent_id.clone(),
                request_id,
            };
            client.account().withdraw_consent(request).await.map(drop)
        }
        "haven.identity.v1.AccountService/ListAuditEvents" => client
            .account()
            .list_audit_events(ListAuditEventsRequest::default())
            .await
            .map(drop),
        "haven.identity.v1.SessionService/RefreshSession" => {
            let refresh_token = belongings.person.refresh_token.clone();
            client
                .session()
                .refresh_session(RefreshSessionRequest { refresh_token })
                .await
                .map(drop)
        }
        "haven.identity.v1.SessionService/SignOut" => {
            client.session().sign_out(SignOutRequest {}).await.map(drop)
        }
        "haven.identity.v1.SessionService/ListSessions" => client
            .session()
            .list_sessions(ListSessionsRequest::default())
            .await
            .map(drop),
        "haven.identity.v1.SessionService/RevokeSession" => {
            let session_id = belongings.person.session_id.to_string();
            client
                .session()
                .revoke_session(RevokeSessionRequest { session_id })
                .await
                .map(drop)
        }
        "haven.identity.v1.SessionService/ListEndedSessions" => client
            .session()
            .list_ended_sessions(ListEndedSessionsRequest::default())
            .await
            .map(drop),
        "haven.data.v1.PersonService/EraseUser" => {
            let request = EraseUserRequest { user_id, request_id };
            client.person().erase_user(request).await.map(drop)
        }
        "haven.identity.v1.SessionService/SignIn" => {
            let Person { email, password, .. } = belongings.person.clone();
            client
                .session()
                .sign_in(SignInRequest {
                    email,
                    password,
                    request_id,
                })
                .await
                .map(drop)
        }
        "haven.identity.v1.SessionService/GetSigningKeys" => client
            .session()
            .get_signing_keys(GetSigningKeysRequest {})
            .await
            .map(drop),
        "haven.data.v1.ConversationService/AppendMessage" => {
            let request = AppendMessageRequest {
                sender_type: SenderType::User.into(),
                text: "hello".into(),
                message_id: String::new(),
                request_id,
            };
            client.conversation().append_message(request).await.map(drop)
        }
        "haven.data.v1.ConversationService/GetMessage" => {
            let request = GetMessageRequest {
                message_id: belongings.message_id.clone(),
            };
            client.conversation().get_message(request).await.map(drop)
        }
        "haven.data.v1.ConversationService/ListMessages" => client
            .conversation()
            .list_messages(ListMessagesRequest::default())
            .await
            .map(drop),
        "haven.data.v1.ConversationService/UpdateMessage" => {
            let request = UpdateMessageRequest {
                message_id: belongings.message_id.clone(),
                text: "mine, still".into(),
                expected_version: 1,
                request_id,
            };
            client.conversation().update_message(request).await.map(drop)
        }
        "haven.data.v1.ConversationService/DeleteMessage" => {
            let request = DeleteMessageRequest {
                message_id: belongings.message_id.clone(),
                request_id,
            };
            client.conversation().delete_message(request).await.map(drop)
        }
        "haven.data.v1.AnalysisService/RequestAnalysis" => {
            let request = RequestAnalysisRequest { request_id };
            client.analysis().request_analysis(request).await.map(drop)
        }
        "haven.data.v1.AnalysisService/GetAnalysis" => {
            let analysis_id = belongings.analysis_id.clone();
            client
                .analysis()
                .get_analysis(GetAnalysisRequest { analysis_id })
                .await
                .map(drop)
        }
        "haven.data.v1.AnalysisService/ListAnalyses" => client
            .analysis()
            .list_analyses(ListAnalysesRequest::default())
            .await
            .map(drop),
        "haven.data.v1.AnalysisService/DeleteAnalysis" => {
            let analysis_id = belongings.analysis_id.clone();
            let request = DeleteAnalysisRequest {
                analysis_id,
                request_id,
            };
            client.analysis().delete_analysis(request).await.map(drop)
        }
        "haven.data.v1.AnalysisQueueService/LeaseJobs" => {
            let request = LeaseJobsRequest {
                request_id,
                ..LeaseJobsRequest::default()
            };
            client.queue().lease_jobs(request).await.map(drop)
        }
        "haven.data.v1.AnalysisQueueService/ExtendLease" => {
            let lease = Some(belongings.lease.clone());
            let request = ExtendLeaseRequest {
                lease,
                lease_duration: None,
            };
            client.queue().extend_lease(request).await.map(drop)
        }
        "haven.data.v1.AnalysisQueueService/CompleteJob" => {
            let request = analysis_jobs::completion(belongings.lease.clone());
            client.queue().complete_job(request).await.map(drop)
        }
        "haven.data.v1.AnalysisQueueService/FailJob" => {
            let request = FailJobRequest {
                lease: Some(belongings.lease.clone()),
                error_code: "MODEL_TIMEOUT".into(),
                request_id,
            };
            client.queue().fail_job(request).await.map(drop)
        }
        "haven.data.v1.AnalysisQueueService/ListDeadJobs" => client
            .queue()
            .list_dead_jobs(ListDeadJobsRequest::default())
            .await
            .map(drop),
        "haven.data.v1.AnalysisQueueService/RequeueJob" => {
            let request = RequeueJobRequest {
                user_id,
                job_id: belongings.lease.job_id.clone(),
                request_id,
            };
            client.queue().requeue_job(request).await.map(drop)
        }
        "haven.data.v1.CrisisService/ListCrisisEvents" => client
            .crisis()
            .list_crisis_events(ListCrisisEventsRequest::default())
            .await
            .map(drop),
        "haven.data.v1.CrisisService/AcknowledgeCrisisEvent" => {
            let event_id = belongings.event_id.clone();
            client
                .crisis()
                .acknowledge_crisis_event(AcknowledgeCrisisEventRequest { event_id })
                .await
                .map(drop)
        }
        "haven.data.v1.CrisisService/ResolveCrisisEvent" => {
            let event_id = belongings.event_id.clone();
            let request = ResolveCrisisEventRequest { user_id, event_id };
            client.crisis().resolve_crisis_event(request).await.map(drop)
        }
        "haven.data.v1.CrisisService/WatchCrisisEvents" => client
            .crisis()
            .watch_crisis_events(WatchCrisisEventsRequest::default())
            .await
            .map(drop),
        "haven.data.v1.PersonService/ProvisionUser" => {
            let request = ProvisionUserRequest {
                user_id: random::uuid().to_string(),
                request_id,
            };
            client.person().provision_user(request).await.map(drop)
        }
        _ => {
            let body = belongings.fixture.as_ref()?.request(rpc, &say)?;
            let (connection, path) = (client.connection("data"), format!("/{rpc}"));
            match streams(&path) {
                true => raw_call::first(connection, &path, raw_call::headers(&[]), body)
                    .await
                    .map(drop),
                false => raw_call::call(connection, &path, raw_call::headers(&[]), body)
                    .await
                    .map(drop),
            }
        }
    };
    Some(outcome)
}
