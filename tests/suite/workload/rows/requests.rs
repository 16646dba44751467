//! The rows of request ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use uuid::Uuid;

use super::{Person, Rows};
use crate::workload::{
    email,
    expectation::is_before,
    findings::Findings,
    journal::{Call, Outcome},
};

/// The mutations of which the request id is a row of `identity.requests` or `data.requests`. The others have rows of their
/// own: leases, erasures, and what a second call does not change.
const WITH_REQUEST: [&str; 31] = [
    "SignUp",
    "SignIn",
    "UpdateAccount",
    "ChangePassword",
    "GrantConsent",
    "WithdrawConsent",
    "CreatePasswordReset",
    "ResetPassword",
    "CreateEmailVerification",
    "VerifyEmail",
    "CreateEmailChange",
    "ConfirmEmailChange",
    "UndoEmailChange",
    "AppendMessage",
    "UpdateMessage",
    "DeleteMessage",
    "RequestAnalysis",
    "DeleteAnalysis",
    "CompleteJob",
    "FailJob",
    "RequeueJob",
    "CreateRecord",
    "UpdateRecord",
    "DeleteRecord",
    "PushChanges",
    "ResolveConflict",
    "PutPreferences",
    "RegisterDevice",
    "RotateDeviceKey",
    "SuspendDevice",
    "RevokeDevice",
];

impl Rows {
    /// Each row belongs to a call for its person, and each acknowledged call of a person who is there has its row.
    pub(super) fn compare_requests(
        &self,
        people: &BTreeMap<Uuid, Person<'_>>,
        by_id: &BTreeMap<Uuid, Uuid>,
        calls: &[Call],
        verifications: &BTreeSet<Uuid>,
        as_of: Option<SystemTime>,
        findings: &mut Findings,
    ) {
        let by_request: BTreeMap<Uuid, &Call> = calls
            .iter()
            .filter(|call| !matches!(call.outcome, Outcome::Refused(_)))
            .filter_map(|call| Some((call.request_id?, call)))
            .collect();
        let mut found = BTreeSet::new();
        for (user, request, method) in &self.requests {
            let Some(name) = by_id.get(user) else { continue };
            if verifications.contains(request) {
                continue;
            }
            let what = format!("request {request} of {method} for {name}");
            match by_request.get(request) {
                None => findings
                    .doubled
                    .push(format!("{what}: no call has this request id")),
                Some(call) if call.rpc != method => {
                    findings
                        .doubled
                        .push(format!("{what}: the call was {}", call.rpc));
                }
                // A worker's call is for a job, of which it may not know the person.
                Some(call) if call.person != *name && !call.person.is_nil() => {
                    findings
                        .foreign
                        .push(format!("{what}: the call was for {}", call.person));
                }
                Some(call) if !is_before(Some(call.asked), as_of) => {
                    findings.later.push(format!("{what}: asked afterwards"));
                }
                Some(_) if !found.insert(*request) => findings.doubled.push(format!("{what}: two rows")),
                Some(_) => {}
            }
        }
        for (name, person) in people {
            if !self.accounts.contains_key(&email(*name)) {
                continue;
            }
            for call in &person.calls {
                let Some(request) = call.request_id else { continue };
                let acknowledged = is_before(call.acknowledged(), as_of);
                if acknowledged && WITH_REQUEST.contains(&call.rpc) && !found.contains(&request) {
                    let what = format!("request {request} of {} for {name} has no row", call.rpc);
                    findings.lost.push(what);
                }
            }
        }
    }
}
