//! A valid call of every RPC of the descriptors, with canaries in it, and copies of its request with one text replaced.

use haven_proto::data::v1::JobLease;
use haven_testkit::random;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};

use super::{
    canary::{Allowed, Flock},
    fixture::{ACCOUNTS, Caller, Disposable, Fixture, RECOVERY},
};
use crate::every_rpc::{self, PrivateValues, Subject, rpcs, server_of};

/// A call that succeeds.
pub(crate) struct Case {
    /// The service that answers the call: `identity` or `data`.
    pub(crate) server: &'static str,
    pub(crate) path: String,
    pub(crate) caller: Caller,
    pub(crate) body: Vec<u8>,
    input: MessageDescriptor,
}

impl PrivateValues for Flock {
    fn stored_email(&self, what: &str) -> String {
        self.allowed(what, Allowed::Surely(&[ACCOUNTS])).email()
    }

    fn pending_email(&self, what: &str) -> String {
        self.allowed(what, Allowed::At(&[RECOVERY])).email()
    }

    fn email(&self, what: &str) -> String {
        self.canary(what).email()
    }

    fn password(&self, what: &str) -> String {
        self.canary(what).password()
    }

    fn text(&self, what: &str) -> String {
        self.canary(what).text()
    }
}

/// Returns a caller that `rpc` admits. RPCs that leave their caller in another state have a person of their own.
fn caller_of(rpc: &str) -> Caller {
    match rpc.rsplit('/').next().unwrap() {
        "SignUp"
        | "SignIn"
        | "GetPasswordPolicy"
        | "GetConsentRequirements"
        | "CheckPassword"
        | "RefreshSession"
        | "GetSigningKeys"
        | "OpenShare"
        | "ResetPassword"
        | "VerifyEmail"
        | "ConfirmEmailChange"
        | "UndoEmailChange" => Caller::Anonymous,
        "GetDeletion"
        | "ImportAccounts"
        | "ListAccounts"
        | "ListEndedSessions"
        | "EraseUser"
        | "ListUsers"
        | "LockUser"
        | "ProvisionUser"
        | "LeaseJobs"
        | "CompleteJob"
        | "CompleteJobs"
        | "ExtendLease"
        | "FailJob"
        | "ListDeadJobs"
        | "RequeueJob"
        | "ResolveCrisisEvent"
        | "WatchCrisisEvents"
        | "CreatePasswordReset"
        | "CreateEmailVerification"
        | "CreateEmailChange" => Caller::Service,
        "ChangePassword" => Caller::Disposable(Disposable::ChangesPassword),
        "DeleteAccount" => Caller::Disposable(Disposable::DeletesAccount),
        "RevokeSession" => Caller::Disposable(Disposable::RevokesSession),
        "SignOut" => Caller::Disposable(Disposable::SignsOut),
        _ => Caller::Person,
    }
}

/// Returns what the request of `rpc` refers to. RPCs are called in the order of their names: DeleteAccount before
/// GetDeletion; CompleteJob and CompleteJobs, then ExtendLease, then FailJob.
fn subject<'a>(rpc: &str, fixture: &'a Fixture) -> Subject<'a> {
    let method = rpc.rsplit('/').next().unwrap();
    let person = match method {
        "ChangePassword" => fixture.disposable(Disposable::ChangesPassword),
        "DeleteAccount" | "GetDeletion" => fixture.disposable(Disposable::DeletesAccount),
        "RefreshSession" => fixture.disposable(Disposable::RefreshesSession),
        "RevokeSession" => fixture.disposable(Disposable::RevokesSession),
        "SignOut" => fixture.disposable(Disposable::SignsOut),
        "ResetPassword" | "VerifyEmail" => fixture.disposable(Disposable::Recovers),
        "ConfirmEmailChange" | "UndoEmailChange" => fixture.disposable(Disposable::ChangesEmail),
        _ => &fixture.person,
    };
    let (crisis_message_id, event_id) = fixture.crisis.clone();
    let message_id = match method {
        "DeleteMessage" => crisis_message_id,
        _ => fixture.message_id.clone(),
    };
    let [read, deleted] = fixture.analyses.clone();
    let [completed, completed_with_others, failed] = fixture.leases.clone();
    let lease = match method {
        "CompleteJob" => completed,
        "CompleteJobs" => completed_with_others,
        "RequeueJob" => JobLease {
            job_id: fixture.dead_job.clone(),
            ..JobLease::default()
        },
        _ => failed,
    };
    Subject {
        person,
        as_service: false,
        erased_user_id: random::uuid(),
        // The person's further calls are to identity.
        locked_user_id: fixture.disposable(Disposable::SignsOut).id,
        consent_id: fixture.consent_id.clone(),
        message_id,
        event_id,
        analysis_id: if method == "DeleteAnalysis" { deleted } else { read },
        lease,
        recovery: match method {
            "ConfirmEmailChange" | "UndoEmailChange" => fixture.recovery[0].clone(),
            _ => fixture.recovery[1].clone(),
        },
        encrypted: Some(&fixture.encrypted),
        private: &fixture.flock,
    }
}

/// Returns a case for every RPC, in the order of their names. Panics when `every_rpc` has no request for one.
pub(crate) fn cases(fixture: &Fixture) -> Vec<Case> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let (mut cases, mut undescribed) = (Vec::new(), Vec::new());
    for rpc in rpcs() {
        let Some(body) = every_rpc::request(&rpc, &subject(&rpc, fixture)) else {
            undescribed.push(rpc);
            continue;
        };
        let (service, method) = rpc.split_once('/').unwrap();
        let descriptor = pool.get_service_by_name(service).unwrap();
        let input = descriptor
            .methods()
            .find(|rpc| rpc.name() == method)
            .unwrap()
            .input();
        cases.push(Case {
            server: server_of(&rpc),
            path: format!("/{rpc}"),
            caller: caller_of(&rpc),
            body,
            input,
        });
    }
    assert!(
        undescribed.is_empty(),
        "add requests to `every_rpc`, with a private value in each field that can hold one, for: {undescribed:?}"
    );
    cases
}

impl Case {
    /// Returns one copy of the request for each text in it, at any depth, with that text replaced by `replace(field
    /// name)`.
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
