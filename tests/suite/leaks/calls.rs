//! Every RPC of the descriptors with canaries in it: as it has to be, and with each of its fields as it must not be.

use haven_proto::{
    data::v1::{
        AcknowledgeCrisisEventRequest, CompleteJobRequest, DeleteAnalysisRequest, DeleteMessageRequest,
        EraseUserRequest, ExtendLeaseRequest, FailJobRequest, GetAnalysisRequest, GetMessageRequest,
        LeaseJobsRequest, ListAnalysesRequest, ListCrisisEventsRequest, ListDeadJobsRequest,
        ListMessagesRequest, ProvisionUserRequest, RequestAnalysisRequest, RequeueJobRequest,
        ResolveCrisisEventRequest, UpdateMessageRequest, WatchCrisisEventsRequest,
    },
    identity::v1::{
        Account, ChangePasswordRequest, CheckPasswordRequest, ConsentGrant, DeleteAccountRequest,
        GetAccountRequest, GetDeletionRequest, GetPasswordPolicyRequest, GetSigningKeysRequest, Goal,
        GrantConsentRequest, ListAccountsRequest, ListAuditEventsRequest, ListConsentsRequest,
        ListEndedSessionsRequest, ListSessionsRequest, RefreshSessionRequest, RevokeSessionRequest,
        SignInRequest, SignOutRequest, UpdateAccountRequest, WithdrawConsentRequest,
    },
};
use haven_testkit::{client::sign_up_request, random};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};

use super::{
    canary::Allowed,
    fixture::{ACCOUNTS, Guest, Who, World, message},
};
use crate::analysis_jobs;

/// A call that goes well.
pub(super) struct Case {
    /// `identity` or `data`.
    pub(super) service: &'static str,
    pub(super) path: String,
    pub(super) who: Who,
    pub(super) body: Vec<u8>,
    input: MessageDescriptor,
}

/// How `rpc` is called well, with a canary in every field that can hold one. None: nobody has said yet.
fn good(rpc: &str, world: &World) -> Option<(Who, Vec<u8>)> {
    let request_id = random::uuid().to_string();
    Some(match rpc {
        "haven.identity.v1.AccountService/SignUp" => {
            let email = world
                .flock
                .allowed("SignUp's email", Allowed::Surely(&[ACCOUNTS]));
            let password = world.flock.canary("SignUp's password");
            let request = sign_up_request(&email.email(), &password.password());
            (Who::Nobody, request.encode_to_vec())
        }
        "haven.identity.v1.SessionService/SignIn" => {
            let request = SignInRequest {
                email: world.person.email.clone(),
                password: world.person.password.clone(),
                request_id,
            };
            (Who::Nobody, request.encode_to_vec())
        }
        "haven.identity.v1.AccountService/GetPasswordPolicy" => {
            (Who::Nobody, GetPasswordPolicyRequest {}.encode_to_vec())
        }
        "haven.identity.v1.AccountService/CheckPassword" => {
            let request = CheckPasswordRequest {
                password: world.flock.canary("CheckPassword's password").password(),
                email: world.flock.canary("CheckPassword's email").email(),
            };
            (Who::Nobody, request.encode_to_vec())
        }
        "haven.identity.v1.AccountService/GetAccount" => {
            let user_id = world.person.id.to_string();
            (Who::Person, GetAccountRequest { user_id }.encode_to_vec())
        }
        "haven.identity.v1.AccountService/UpdateAccount" => {
            let account = Account {
                id: world.person.id.to_string(),
                // Not in the mask, so nothing is done with it.
                email: world.flock.canary("UpdateAccount's email").email(),
                goals: vec![Goal::DatingSkills.into()],
                ..Account::default()
            };
            let request = UpdateAccountRequest {
                account: Some(account),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec!["goals".to_owned()],
                }),
                expected_version: 1,
                request_id,
            };
            (Who::Person, request.encode_to_vec())
        }
        "haven.identity.v1.AccountService/ChangePassword" => {
            let request = ChangePasswordRequest {
                current_password: world.guest(Guest::ChangesPassword).password.clone(),
                new_password: world.flock.canary("ChangePassword's new password").password(),
                request_id,
            };
            (Who::Guest(Guest::ChangesPassword), request.encode_to_vec())
        }
        "haven.identity.v1.AccountService/DeleteAccount" => {
            let leaves = world.guest(Guest::Leaves);
            let request = DeleteAccountRequest {
                user_id: leaves.id.to_string(),
                password: leaves.password.clone(),
                request_id,
            };
            (Who::Guest(Guest::Leaves), request.encode_to_vec())
        }
        // After DeleteAccount, in the order of names.
        "haven.identity.v1.AccountService/GetDeletion" => {
            let user_id = world.guest(Guest::Leaves).id.to_string();
            (Who::Service, GetDeletionRequest { user_id }.encode_to_vec())
        }
        "haven.identity.v1.AccountService/ListAccounts" => {
            let request = ListAccountsRequest {
                include_email: true,
                ..ListAccountsRequest::default()
            };
            (Who::Service, request.encode_to_vec())
        }
        "haven.identity.v1.AccountService/ListConsents" => {
            (Who::Person, ListConsentsRequest::default().encode_to_vec())
        }
        "haven.identity.v1.AccountService/GrantConsent" => {
            let request = GrantConsentRequest {
                consent: Some(ConsentGrant {
                    document: "news".into(),
                    document_version: "1".into(),
                }),
                request_id,
            };
            (Who::Person, request.encode_to_vec())
        }
        "haven.identity.v1.AccountService/WithdrawConsent" => {
            let consent_id = world.consent_id.clone();
            let request = WithdrawConsentRequest {
                consent_id,
                request_id,
            };
            (Who::Person, request.encode_to_vec())
        }
        "haven.identity.v1.AccountService/ListAuditEvents" => {
            (Who::Person, ListAuditEventsRequest::default().encode_to_vec())
        }
        "haven.identity.v1.SessionService/RefreshSession" => {
            let refresh_token = world.guest(Guest::Refreshes).refresh_token.clone();
            (
                Who::Nobody,
                RefreshSessionRequest { refresh_token }.encode_to_vec(),
            )
        }
        "haven.identity.v1.SessionService/SignOut" => {
            (Who::Guest(Guest::SignsOut), SignOutRequest {}.encode_to_vec())
        }
        "haven.identity.v1.SessionService/ListSessions" => {
            (Who::Person, ListSessionsRequest::default().encode_to_vec())
        }
        "haven.identity.v1.SessionService/RevokeSession" => {
            let session_id = world.guest(Guest::Revokes).session_id.to_string();
            (
                Who::Guest(Guest::Revokes),
                RevokeSessionRequest { session_id }.encode_to_vec(),
            )
        }
        "haven.identity.v1.SessionService/ListEndedSessions" => {
            (Who::Service, ListEndedSessionsRequest::default().encode_to_vec())
        }
        "haven.data.v1.PersonService/EraseUser" => {
            let request = EraseUserRequest {
                user_id: random::uuid().to_string(),
                request_id,
            };
            (Who::Service, request.encode_to_vec())
        }
        "haven.identity.v1.SessionService/GetSigningKeys" => {
            (Who::Nobody, GetSigningKeysRequest {}.encode_to_vec())
        }
        "haven.data.v1.ConversationService/AppendMessage" => {
            let text = world.flock.canary("AppendMessage's text");
            (Who::Person, message(&text).encode_to_vec())
        }
        "haven.data.v1.ConversationService/GetMessage" => {
            let message_id = world.message_id.clone();
            (Who::Person, GetMessageRequest { message_id }.encode_to_vec())
        }
        "haven.data.v1.ConversationService/ListMessages" => {
            (Who::Person, ListMessagesRequest::default().encode_to_vec())
        }
        "haven.data.v1.ConversationService/UpdateMessage" => {
            let request = UpdateMessageRequest {
                message_id: world.message_id.clone(),
                text: world.flock.canary("UpdateMessage's text").text(),
                expected_version: 1,
                request_id,
            };
            (Who::Person, request.encode_to_vec())
        }
        "haven.data.v1.ConversationService/DeleteMessage" => {
            let request = DeleteMessageRequest {
                message_id: world.crisis.0.clone(),
                request_id,
            };
            (Who::Person, request.encode_to_vec())
        }
        "haven.data.v1.AnalysisService/RequestAnalysis" => {
            (Who::Person, RequestAnalysisRequest { request_id }.encode_to_vec())
        }
        "haven.data.v1.AnalysisService/GetAnalysis" => {
            let analysis_id = world.analyses[0].clone();
            (Who::Person, GetAnalysisRequest { analysis_id }.encode_to_vec())
        }
        "haven.data.v1.AnalysisService/ListAnalyses" => {
            (Who::Person, ListAnalysesRequest::default().encode_to_vec())
        }
        "haven.data.v1.AnalysisService/DeleteAnalysis" => {
            let request = DeleteAnalysisRequest {
                analysis_id: world.analyses[1].clone(),
                request_id,
            };
            (Who::Person, request.encode_to_vec())
        }
        "haven.data.v1.AnalysisQueueService/LeaseJobs" => {
            let request = LeaseJobsRequest {
                request_id,
                ..LeaseJobsRequest::default()
            };
            (Who::Service, request.encode_to_vec())
        }
        // In the order of names: CompleteJob, ExtendLease, FailJob.
        "haven.data.v1.AnalysisQueueService/CompleteJob" => {
            let said = |what: &str| vec![world.flock.canary(what).text()];
            let request = CompleteJobRequest {
                insights: said("CompleteJob's insight"),
                strengths: said("CompleteJob's strength"),
                improvement_areas: said("CompleteJob's improvement area"),
                ..analysis_jobs::completion(world.leases[0].clone())
            };
            (Who::Service, request.encode_to_vec())
        }
        "haven.data.v1.AnalysisQueueService/ExtendLease" => {
            let request = ExtendLeaseRequest {
                lease: Some(world.leases[1].clone()),
                lease_duration: None,
            };
            (Who::Service, request.encode_to_vec())
        }
        "haven.data.v1.AnalysisQueueService/FailJob" => {
            let request = FailJobRequest {
                lease: Some(world.leases[1].clone()),
                error_code: "MODEL_TIMEOUT".into(),
                request_id,
            };
            (Who::Service, request.encode_to_vec())
        }
        "haven.data.v1.AnalysisQueueService/ListDeadJobs" => {
            (Who::Service, ListDeadJobsRequest::default().encode_to_vec())
        }
        "haven.data.v1.AnalysisQueueService/RequeueJob" => {
            let request = RequeueJobRequest {
                user_id: world.person.id.to_string(),
                job_id: world.dead_job.clone(),
                request_id,
            };
            (Who::Service, request.encode_to_vec())
        }
        "haven.data.v1.CrisisService/ListCrisisEvents" => {
            (Who::Person, ListCrisisEventsRequest::default().encode_to_vec())
        }
        "haven.data.v1.CrisisService/AcknowledgeCrisisEvent" => {
            let event_id = world.crisis.1.clone();
            (
                Who::Person,
                AcknowledgeCrisisEventRequest { event_id }.encode_to_vec(),
            )
        }
        "haven.data.v1.CrisisService/ResolveCrisisEvent" => {
            let request = ResolveCrisisEventRequest {
                user_id: world.person.id.to_string(),
                event_id: world.crisis.1.clone(),
            };
            (Who::Service, request.encode_to_vec())
        }
        "haven.data.v1.CrisisService/WatchCrisisEvents" => {
            (Who::Service, WatchCrisisEventsRequest::default().encode_to_vec())
        }
        "haven.data.v1.PersonService/ProvisionUser" => {
            let request = ProvisionUserRequest {
                user_id: random::uuid().to_string(),
                request_id,
            };
            (Who::Service, request.encode_to_vec())
        }
        _ => {
            let say = |what: &str| world.flock.canary(what).text();
            let who = match rpc {
                "haven.data.v1.ShareService/OpenShare" => Who::Nobody,
                _ => Who::Person,
            };
            (who, world.fixture.request(rpc, &say)?)
        }
    })
}

/// Every RPC, by its name. Panics when nobody has said how one is called.
pub(super) fn cases(world: &World) -> Vec<Case> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let (mut cases, mut unknown) = (Vec::new(), Vec::new());
    for rpc in crate::permissions::rpcs() {
        let Some((who, body)) = good(&rpc, world) else {
            unknown.push(rpc);
            continue;
        };
        let (service, method) = rpc.split_once('/').unwrap();
        let descriptor = pool.get_service_by_name(service).unwrap();
        let input = descriptor
            .methods()
            .find(|found| found.name() == method)
            .unwrap()
            .input();
        cases.push(Case {
            service: if service.starts_with("haven.data.") {
                "data"
            } else {
                "identity"
            },
            path: format!("/{rpc}"),
            who,
            body,
            input,
        });
    }
    assert!(
        unknown.is_empty(),
        "say in `good` how these are called, with a canary in each field: {unknown:?}"
    );
    cases
}

impl Case {
    /// The good request once for each text in it, however deep, with what `replace` makes of the field's name instead.
    pub(super) fn with_each_text(&self, replace: impl Fn(&str) -> String) -> Vec<Vec<u8>> {
        let message = DynamicMessage::decode(self.input.clone(), self.body.as_slice()).unwrap();
        let changed = each_text(&message, &replace);
        changed.iter().map(Message::encode_to_vec).collect()
    }
}

fn each_text(message: &DynamicMessage, replace: &dyn Fn(&str) -> String) -> Vec<DynamicMessage> {
    let mut changed = Vec::new();
    for field in message.descriptor().fields() {
        let mut with = |value| {
            let mut copy = message.clone();
            copy.set_field(&field, value);
            changed.push(copy);
        };
        match (field.kind(), message.get_field(&field).as_ref()) {
            (Kind::String, Value::String(_)) => with(Value::String(replace(field.name()))),
            (Kind::Bytes, Value::Bytes(_)) => with(Value::Bytes(replace(field.name()).into())),
            (Kind::Message(_), Value::Message(inner)) if message.has_field(&field) => {
                for inner in each_text(inner, replace) {
                    with(Value::Message(inner));
                }
            }
            (kind, Value::List(items)) => {
                for position in 0..items.len() {
                    let replaced: Vec<Value> = match (&kind, &items[position]) {
                        (Kind::String, _) => vec![Value::String(replace(field.name()))],
                        (Kind::Bytes, _) => vec![Value::Bytes(replace(field.name()).into())],
                        (_, Value::Message(inner)) => each_text(inner, replace)
                            .into_iter()
                            .map(Value::Message)
                            .collect(),
                        _ => Vec::new(),
                    };
                    for value in replaced {
                        let mut copy = items.clone();
                        copy[position] = value;
                        with(Value::List(copy));
                    }
                }
            }
            _ => {}
        }
    }
    changed
}
