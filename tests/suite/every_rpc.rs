//! A valid request for every RPC of the contract. Suites that call each RPC share it, so that a new RPC is described
//! once: [`request`] returns `None` for an RPC that it does not know, and those suites fail.

use haven_platform::{access::AccessTable, scopes::Scope};
use haven_proto::{
    data::v1::{
        AcknowledgeCrisisEventRequest, AppendMessageRequest, CompleteJobRequest, CompleteJobsRequest,
        DeleteAnalysisRequest, DeleteMessageRequest, EraseUserRequest, ExtendLeaseRequest, FailJobRequest,
        GetAnalysisRequest, GetMessageRequest, GetUsageRequest, JobLease, LeaseJobsRequest,
        ListAnalysesRequest, ListCrisisEventsRequest, ListDeadJobsRequest, ListMessagesRequest,
        ListUsersRequest, LockUserRequest, ProvisionUserRequest, RequestAnalysisRequest, RequeueJobRequest,
        ResolveCrisisEventRequest, SenderType, UpdateMessageRequest, WatchCrisisEventsRequest,
    },
    identity::v1::{
        Account, ChangePasswordRequest, CheckPasswordRequest, ConfirmEmailChangeRequest, ConsentGrant,
        CreateEmailChangeRequest, CreateEmailVerificationRequest, CreatePasswordResetRequest,
        DeleteAccountRequest, ExportAccountRequest, GetAccountRequest, GetConsentRequirementsRequest,
        GetDeletionRequest, GetPasswordPolicyRequest, GetSigningKeysRequest, Goal, GrantConsentRequest,
        ImportAccountsRequest, ListAccountsRequest, ListAuditEventsRequest, ListConsentsRequest,
        ListEndedSessionsRequest, ListSessionsRequest, RefreshSessionRequest, ResetPasswordRequest,
        RevokeSessionRequest, SignInRequest, SignOutRequest, UndoEmailChangeRequest, UpdateAccountRequest,
        VerifyEmailRequest, WithdrawConsentRequest,
    },
};
use haven_testkit::{Client, Person, Stack, client::sign_up_request, random};
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic::{Response, Status, metadata::MetadataMap};
use uuid::Uuid;

use crate::{analysis_jobs, encrypted_fixture::EncryptedFixture, raw_call};

/// The rows that requests refer to, and the source of the private values in them.
pub(crate) struct Subject<'a> {
    /// The person that the data belongs to: the caller, or the person that a service calls about.
    pub(crate) person: &'a Person,
    /// `true` when a service calls for itself: some RPCs take another request from a service than from the person.
    pub(crate) as_service: bool,
    /// The person that EraseUser erases.
    pub(crate) erased_user_id: Uuid,
    /// The person that LockUser locks.
    pub(crate) locked_user_id: Uuid,
    /// A consent of the person.
    pub(crate) consent_id: String,
    /// A message that the person wrote, of version 1.
    pub(crate) message_id: String,
    /// A crisis event of the person.
    pub(crate) event_id: String,
    /// An analysis of the person. Empty where the RPC does not need one.
    pub(crate) analysis_id: String,
    /// A lease on a job; for RequeueJob, only the id of a dead job is set.
    pub(crate) lease: JobLease,
    /// The person's recovery tokens. Empty where the RPC does not need one.
    pub(crate) recovery: RecoveryTokens,
    /// The person's encrypted data. `None` where the RPC does not need it.
    pub(crate) encrypted: Option<&'a EncryptedFixture>,
    /// Makes every private value that the request carries.
    pub(crate) private: &'a dyn PrivateValues,
}

/// The recovery tokens of a person.
#[derive(Clone, Default)]
pub(crate) struct RecoveryTokens {
    pub(crate) reset: String,
    pub(crate) verification: String,
    pub(crate) change: String,
    pub(crate) undo: String,
}

impl RecoveryTokens {
    /// Creates tokens for `person`, who changes to `new_email`.
    pub(crate) async fn create(stack: &Stack, person: &Person, new_email: String) -> Self {
        let mut recovery = stack.service("backend").unwrap().recovery();
        let request_id = || random::uuid().to_string();
        let reset = CreatePasswordResetRequest {
            email: person.email.clone(),
            request_id: request_id(),
        };
        let verification = CreateEmailVerificationRequest {
            user_id: person.id.to_string(),
            request_id: request_id(),
        };
        let change = CreateEmailChangeRequest {
            user_id: person.id.to_string(),
            email: new_email,
            request_id: request_id(),
        };
        let reset = recovery.create_password_reset(reset).await.unwrap();
        let verification = recovery.create_email_verification(verification).await.unwrap();
        let change = recovery.create_email_change(change).await.unwrap().into_inner();
        Self {
            reset: reset.into_inner().token,
            verification: verification.into_inner().token,
            change: change.token,
            undo: change.undo_token,
        }
    }
}

/// Makes private values for requests. `what` says which value it is: the RPC and the field.
pub(crate) trait PrivateValues {
    /// An email address that an account is created with.
    fn stored_email(&self, what: &str) -> String;
    /// An email address that an account is to get.
    fn pending_email(&self, what: &str) -> String;
    /// An email address that is not stored.
    fn email(&self, what: &str) -> String;
    /// A password that satisfies the policy.
    fn password(&self, what: &str) -> String;
    /// A text, such as that of a message.
    fn text(&self, what: &str) -> String;
}

/// Returns every RPC of Haven's contract by its full name (`haven.data.v1.PersonService/EraseUser`), sorted.
pub(crate) fn rpcs() -> Vec<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut rpcs: Vec<_> = pool
        .services()
        .flat_map(|service| {
            service
                .methods()
                .map(|rpc| (rpc, service.clone()))
                .collect::<Vec<_>>()
        })
        .map(|(rpc, service)| format!("{}/{}", service.full_name(), rpc.name()))
        .collect();
    rpcs.sort();
    assert!(!rpcs.is_empty());
    rpcs
}

/// Returns the service that serves `rpc`: `identity` or `data`.
pub(crate) fn server_of(rpc: &str) -> &'static str {
    if rpc.starts_with("haven.data.") {
        "data"
    } else {
        "identity"
    }
}

/// Returns the scope that a service needs to call `rpc`. `None` if the RPC admits no service as such.
pub(crate) fn scope_of(rpc: &str) -> Option<Scope> {
    let (service, _) = rpc.trim_start_matches('/').split_once('/')?;
    let table = AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &[service]).ok()?;
    table.find(&format!("/{}", rpc.trim_start_matches('/')))?.scope
}

/// Returns the service of the test installation that may call `rpc`; `backend` if the RPC admits no service as such.
pub(crate) fn service_of(rpc: &str) -> &'static str {
    match scope_of(rpc) {
        Some(Scope::Provisioning) => "identity",
        Some(Scope::Analysis) => "worker",
        Some(Scope::Keys) => "data",
        _ => "backend",
    }
}

/// Calls `path` of `server` with `body`. Returns the answer, or the first one of a stream.
pub(crate) async fn call(
    client: &Client,
    server: &str,
    path: &str,
    headers: MetadataMap,
    body: Vec<u8>,
) -> Result<Response<Vec<u8>>, Status> {
    let connection = client.connection(server);
    if answers_stream(path) {
        raw_call::first(connection, path, headers, body).await
    } else {
        raw_call::call(connection, path, headers, body).await
    }
}

/// Returns `true` when the RPC at `path` answers with a stream. A query after the path is ignored.
fn answers_stream(path: &str) -> bool {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let path = path.split('?').next().unwrap_or_default();
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let service = pool.get_service_by_name(service);
    let mut methods = service.iter().flat_map(|service| service.methods());
    methods.any(|rpc| rpc.name() == method && rpc.is_server_streaming())
}

/// Returns an encoded request that `rpc` accepts. `None` when `rpc` is not described here.
pub(crate) fn request(rpc: &str, subject: &Subject<'_>) -> Option<Vec<u8>> {
    if let Some(rpc) = rpc.strip_prefix("haven.identity.v1.") {
        return identity_request(rpc, subject);
    }
    data_request(rpc.strip_prefix("haven.data.v1.")?, subject).or_else(|| {
        let text = |what: &str| subject.private.text(what);
        subject.encrypted?.request(rpc, &text)
    })
}

fn identity_request(rpc: &str, subject: &Subject<'_>) -> Option<Vec<u8>> {
    let Subject { person, private, .. } = subject;
    let request_id = random::uuid().to_string();
    let user_id = person.id.to_string();
    Some(match rpc {
        "AccountService/SignUp" => {
            let email = private.stored_email("SignUp's email");
            sign_up_request(&email, &private.password("SignUp's password")).encode_to_vec()
        }
        "AccountService/GetPasswordPolicy" => GetPasswordPolicyRequest {}.encode_to_vec(),
        "AccountService/CheckPassword" => CheckPasswordRequest {
            password: private.password("CheckPassword's password"),
            email: private.email("CheckPassword's email"),
        }
        .encode_to_vec(),
        "AccountService/GetAccount" => GetAccountRequest { user_id }.encode_to_vec(),
        "AccountService/UpdateAccount" => {
            // A service changes the stage, a person the goals.
            let (stage, goals, path) = if subject.as_service {
                (2, Vec::new(), "stage")
            } else {
                (0, vec![Goal::DatingSkills.into()], "goals")
            };
            let account = Account {
                id: user_id,
                // The email is not in the mask, so it is ignored.
                email: private.email("UpdateAccount's email"),
                stage,
                goals,
                ..Account::default()
            };
            UpdateAccountRequest {
                account: Some(account),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec![path.to_owned()],
                }),
                expected_version: 1,
                request_id,
            }
            .encode_to_vec()
        }
        "AccountService/ChangePassword" => ChangePasswordRequest {
            current_password: person.password.clone(),
            new_password: private.password("ChangePassword's new password"),
            request_id,
        }
        .encode_to_vec(),
        "AccountService/DeleteAccount" => DeleteAccountRequest {
            user_id,
            password: if subject.as_service {
                String::new()
            } else {
                person.password.clone()
            },
            request_id,
        }
        .encode_to_vec(),
        "AccountService/GetUsage" => haven_proto::identity::v1::GetUsageRequest { user_id }.encode_to_vec(),
        "AccountService/GetDeletion" => GetDeletionRequest { user_id }.encode_to_vec(),
        "AccountService/ListAccounts" => ListAccountsRequest {
            include_email: true,
            ..ListAccountsRequest::default()
        }
        .encode_to_vec(),
        "AccountService/ImportAccounts" => ImportAccountsRequest {
            user_id: random::uuid().to_string(),
            email: private.stored_email("ImportAccounts's email"),
            password_hash: "$2b$10$/qgKxRp50mrJDUd6iJjCG.FcGBCpH0rGNUxDKaAdbusxYTg/kCUA.".into(),
            goals: vec![Goal::MakeFriends.into()],
            ..ImportAccountsRequest::default()
        }
        .encode_to_vec(),
        "AccountService/GetConsentRequirements" => GetConsentRequirementsRequest {}.encode_to_vec(),
        "AccountService/ListConsents" => ListConsentsRequest::default().encode_to_vec(),
        "AccountService/GrantConsent" => GrantConsentRequest {
            consent: Some(ConsentGrant {
                document: "news".into(),
                document_version: "1".into(),
            }),
            request_id,
        }
        .encode_to_vec(),
        "AccountService/WithdrawConsent" => WithdrawConsentRequest {
            consent_id: subject.consent_id.clone(),
            request_id,
        }
        .encode_to_vec(),
        "AccountService/ExportAccount" => ExportAccountRequest::default().encode_to_vec(),
        "AccountService/ListAuditEvents" => ListAuditEventsRequest::default().encode_to_vec(),
        "RecoveryService/CreatePasswordReset" => CreatePasswordResetRequest {
            email: person.email.clone(),
            request_id,
        }
        .encode_to_vec(),
        "RecoveryService/ResetPassword" => ResetPasswordRequest {
            token: subject.recovery.reset.clone(),
            new_password: private.password("ResetPassword's new password"),
            request_id,
        }
        .encode_to_vec(),
        "RecoveryService/CreateEmailVerification" => {
            CreateEmailVerificationRequest { user_id, request_id }.encode_to_vec()
        }
        "RecoveryService/VerifyEmail" => VerifyEmailRequest {
            token: subject.recovery.verification.clone(),
            request_id,
        }
        .encode_to_vec(),
        "RecoveryService/CreateEmailChange" => CreateEmailChangeRequest {
            user_id,
            email: private.pending_email("CreateEmailChange's email"),
            request_id,
        }
        .encode_to_vec(),
        "RecoveryService/ConfirmEmailChange" => ConfirmEmailChangeRequest {
            token: subject.recovery.change.clone(),
            request_id,
        }
        .encode_to_vec(),
        "RecoveryService/UndoEmailChange" => UndoEmailChangeRequest {
            token: subject.recovery.undo.clone(),
            request_id,
        }
        .encode_to_vec(),
        "SessionService/SignIn" => SignInRequest {
            email: person.email.clone(),
            password: person.password.clone(),
            request_id,
            ..SignInRequest::default()
        }
        .encode_to_vec(),
        "SessionService/RefreshSession" => RefreshSessionRequest {
            refresh_token: person.refresh_token.clone(),
        }
        .encode_to_vec(),
        "SessionService/SignOut" => SignOutRequest {}.encode_to_vec(),
        "SessionService/ListSessions" => ListSessionsRequest::default().encode_to_vec(),
        "SessionService/RevokeSession" => RevokeSessionRequest {
            session_id: person.session_id.to_string(),
        }
        .encode_to_vec(),
        "SessionService/ListEndedSessions" => ListEndedSessionsRequest::default().encode_to_vec(),
        "SessionService/GetSigningKeys" => GetSigningKeysRequest {}.encode_to_vec(),
        _ => return None,
    })
}

fn data_request(rpc: &str, subject: &Subject<'_>) -> Option<Vec<u8>> {
    let Subject { person, private, .. } = subject;
    let request_id = random::uuid().to_string();
    let user_id = person.id.to_string();
    let message_id = subject.message_id.clone();
    let event_id = subject.event_id.clone();
    let analysis_id = subject.analysis_id.clone();
    let lease = subject.lease.clone();
    Some(match rpc {
        "ConversationService/AppendMessage" => AppendMessageRequest {
            sender_type: SenderType::User.into(),
            text: private.text("AppendMessage's text"),
            message_id: String::new(),
            request_id,
        }
        .encode_to_vec(),
        "ConversationService/GetMessage" => GetMessageRequest { message_id }.encode_to_vec(),
        "ConversationService/ListMessages" => ListMessagesRequest::default().encode_to_vec(),
        "ConversationService/UpdateMessage" => UpdateMessageRequest {
            message_id,
            text: private.text("UpdateMessage's text"),
            expected_version: 1,
            request_id,
        }
        .encode_to_vec(),
        "ConversationService/DeleteMessage" => DeleteMessageRequest {
            message_id,
            request_id,
        }
        .encode_to_vec(),
        "AnalysisService/RequestAnalysis" => RequestAnalysisRequest { request_id }.encode_to_vec(),
        "AnalysisService/GetAnalysis" => GetAnalysisRequest { analysis_id }.encode_to_vec(),
        "AnalysisService/ListAnalyses" => ListAnalysesRequest::default().encode_to_vec(),
        "AnalysisService/DeleteAnalysis" => DeleteAnalysisRequest {
            analysis_id,
            request_id,
        }
        .encode_to_vec(),
        "AnalysisQueueService/LeaseJobs" => LeaseJobsRequest {
            request_id,
            ..LeaseJobsRequest::default()
        }
        .encode_to_vec(),
        "AnalysisQueueService/ExtendLease" => ExtendLeaseRequest {
            lease: Some(lease),
            lease_duration: None,
        }
        .encode_to_vec(),
        "AnalysisQueueService/CompleteJob" => CompleteJobRequest {
            insights: vec![private.text("CompleteJob's insight")],
            strengths: vec![private.text("CompleteJob's strength")],
            improvement_areas: vec![private.text("CompleteJob's improvement area")],
            ..analysis_jobs::completion(lease)
        }
        .encode_to_vec(),
        "AnalysisQueueService/CompleteJobs" => CompleteJobsRequest {
            completions: vec![CompleteJobRequest {
                insights: vec![private.text("CompleteJobs' insight")],
                strengths: vec![private.text("CompleteJobs' strength")],
                improvement_areas: vec![private.text("CompleteJobs' improvement area")],
                ..analysis_jobs::completion(lease)
            }],
        }
        .encode_to_vec(),
        "AnalysisQueueService/FailJob" => FailJobRequest {
            lease: Some(lease),
            error_code: "MODEL_TIMEOUT".into(),
            request_id,
        }
        .encode_to_vec(),
        "AnalysisQueueService/ListDeadJobs" => ListDeadJobsRequest::default().encode_to_vec(),
        "AnalysisQueueService/RequeueJob" => RequeueJobRequest {
            user_id,
            job_id: lease.job_id,
            request_id,
        }
        .encode_to_vec(),
        "CrisisService/ListCrisisEvents" => ListCrisisEventsRequest::default().encode_to_vec(),
        "CrisisService/AcknowledgeCrisisEvent" => AcknowledgeCrisisEventRequest { event_id }.encode_to_vec(),
        "CrisisService/ResolveCrisisEvent" => ResolveCrisisEventRequest { user_id, event_id }.encode_to_vec(),
        "CrisisService/WatchCrisisEvents" => WatchCrisisEventsRequest::default().encode_to_vec(),
        "PersonService/ProvisionUser" => ProvisionUserRequest {
            user_id: random::uuid().to_string(),
            request_id,
        }
        .encode_to_vec(),
        "PersonService/EraseUser" => EraseUserRequest {
            user_id: subject.erased_user_id.to_string(),
            request_id,
        }
        .encode_to_vec(),
        "PersonService/GetUsage" => GetUsageRequest { user_id }.encode_to_vec(),
        "PersonService/ListUsers" => ListUsersRequest::default().encode_to_vec(),
        "PersonService/LockUser" => LockUserRequest {
            user_id: subject.locked_user_id.to_string(),
            request_id,
        }
        .encode_to_vec(),
        _ => return None,
    })
}
