//! A mutation that was answered once, and its retry.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use haven_platform::access::{Access, AccessTable};
use haven_proto::{
    data::v1::{LeaseJobsRequest, ProvisionUserRequest},
    identity::v1::{
        ChangePasswordRequest, ResetPasswordRequest, SignInResponse, SignUpRequest, SignUpResponse,
    },
};
use haven_testkit::{Client, Person, Stack, service_config::has_request_id};
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic::Status;
use uuid::Uuid;

use crate::{
    analysis_jobs,
    every_rpc::{self, call, server_of},
    permissions::fixture::Fixture,
    raw_call::headers,
    status::reason,
};

/// A mutation with its first answer.
pub(super) struct Mutation {
    /// The RPC, such as `haven.data.v1.ConversationService/AppendMessage`.
    pub(super) rpc: String,
    as_service: bool,
    access: Access,
    fixture: Fixture,
    /// The access token of the person, the newest one.
    pub(super) token: String,
    /// The request. Its password may be replaced.
    body: Vec<u8>,
    first: Vec<u8>,
}

/// The outcome of a retry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    First,
    Another,
    Refused(String),
}

/// Returns all RPCs whose request has a `request_id`, or consists of requests that have one. One that admits people and services is listed twice, with the kind of
/// its caller.
pub(super) fn mutations() -> Vec<(String, bool)> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut found = Vec::new();
    for rpc in every_rpc::rpcs() {
        let (service, name) = rpc.split_once('/').unwrap();
        let service = pool.get_service_by_name(service).unwrap();
        let method = service.methods().find(|method| method.name() == name).unwrap();
        if !has_request_id(&method) {
            continue;
        }
        let kinds: &[bool] = match access_of(&rpc) {
            Access::Service => &[true],
            Access::UserOrService => &[false, true],
            _ => &[false],
        };
        found.extend(kinds.iter().map(|as_service| (rpc.clone(), *as_service)));
    }
    assert!(found.len() > 30, "{found:?}");
    found
}

fn access_of(rpc: &str) -> Access {
    let (service, _) = rpc.split_once('/').unwrap();
    let table = AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &[service]).unwrap();
    table.find(&format!("/{rpc}")).unwrap().access
}

impl Mutation {
    /// Makes the mutation `rpc` about a new person.
    pub(super) async fn make(stack: &Stack, rpc: String, as_service: bool) -> Self {
        let fixture = Fixture::of_new_person(stack, &rpc).await;
        let mut body = every_rpc::request(&rpc, &fixture.subject(as_service))
            .unwrap_or_else(|| panic!("add a request to `every_rpc` for {rpc}"));
        if rpc.ends_with("/LeaseJobs") {
            // A lease that does not end during the test, on the one job that is due.
            analysis_jobs::requested(&stack.user(&fixture.person).unwrap()).await;
            let mut request = LeaseJobsRequest::decode(body.as_slice()).unwrap();
            request.lease_duration = Some(prost_types::Duration {
                seconds: 600,
                nanos: 0,
            });
            body = request.encode_to_vec();
        }
        let mut mutation = Self {
            access: access_of(&rpc),
            token: fixture.person.token.clone(),
            rpc,
            as_service,
            fixture,
            body,
            first: Vec::new(),
        };
        mutation.first = mutation
            .call(stack, &mutation.body)
            .await
            .unwrap_or_else(|status| panic!("{}: {status:?}", mutation.name()));
        assert_eq!(mutation.retry(stack).await, Outcome::First, "{}", mutation.name());
        mutation
    }

    /// Returns the name of the RPC, with the kind of its caller where there are two.
    pub(super) fn name(&self) -> &str {
        let (_, name) = self.rpc.rsplit_once('.').unwrap();
        match (self.access, self.as_service) {
            (Access::UserOrService, true) if name == "AccountService/UpdateAccount" => {
                "AccountService/UpdateAccount, by a service"
            }
            (Access::UserOrService, true) if name == "AccountService/DeleteAccount" => {
                "AccountService/DeleteAccount, by a service"
            }
            _ => name,
        }
    }

    /// Returns the person whom the request is about, or for SignUp and ProvisionUser the one who made it necessary.
    pub(super) fn person(&self) -> &Person {
        &self.fixture.person
    }

    /// Returns whether a person makes the call, with a token.
    pub(super) fn is_by_person(&self) -> bool {
        match self.access {
            Access::User => true,
            Access::UserOrService => !self.as_service,
            _ => false,
        }
    }

    /// Returns the id of the person whose rows the mutation wrote.
    pub(super) fn written_for(&self) -> Uuid {
        let id = match self.name() {
            "AccountService/SignUp" => {
                let answer = SignUpResponse::decode(self.first.as_slice()).unwrap();
                answer.account.unwrap().id
            }
            "PersonService/ProvisionUser" => {
                ProvisionUserRequest::decode(self.body.as_slice())
                    .unwrap()
                    .user_id
            }
            _ => return self.fixture.person.id,
        };
        id.parse().unwrap()
    }

    /// Replaces the password that the request sets, if it sets one, as if that one had been accepted when the request was
    /// made. Returns whether it does.
    pub(super) fn set_password(&mut self, password: &str) -> bool {
        match self.name() {
            "AccountService/SignUp" => {
                let mut request = SignUpRequest::decode(self.body.as_slice()).unwrap();
                password.clone_into(&mut request.password);
                self.body = request.encode_to_vec();
                true
            }
            "AccountService/ChangePassword" => {
                let mut request = ChangePasswordRequest::decode(self.body.as_slice()).unwrap();
                password.clone_into(&mut request.new_password);
                self.body = request.encode_to_vec();
                password.clone_into(&mut self.fixture.person.password);
                true
            }
            "RecoveryService/ResetPassword" => {
                let mut request = ResetPasswordRequest::decode(self.body.as_slice()).unwrap();
                password.clone_into(&mut request.new_password);
                self.body = request.encode_to_vec();
                password.clone_into(&mut self.fixture.person.password);
                true
            }
            _ => false,
        }
    }

    /// Returns whether the mutation ended the sessions of its person.
    pub(super) fn ends_sessions(&self) -> bool {
        matches!(
            self.name(),
            "RecoveryService/ResetPassword" | "RecoveryService/UndoEmailChange"
        )
    }

    /// Makes the call again.
    pub(super) async fn retry(&self, stack: &Stack) -> Outcome {
        match self.call(stack, &self.body).await {
            Ok(answer) if self.comparable(&answer) == self.comparable(&self.first) => Outcome::First,
            Ok(_) => Outcome::Another,
            Err(status) => Outcome::Refused(reason(&status)),
        }
    }

    /// Makes another request of this kind, and returns its failure.
    pub(super) async fn another(&self, stack: &Stack) -> Option<String> {
        let body = every_rpc::request(&self.rpc, &self.fixture.subject(self.as_service)).unwrap();
        let outcome = self.call(stack, &body).await;
        outcome.err().map(|status| reason(&status))
    }

    async fn call(&self, stack: &Stack, body: &[u8]) -> Result<Vec<u8>, Status> {
        let client = self.client(stack);
        let path = format!("/{}", self.rpc);
        let answer = call(&client, server_of(&self.rpc), &path, headers(&[]), body.to_vec()).await?;
        Ok(answer.into_inner())
    }

    fn client(&self, stack: &Stack) -> Client {
        match self.access {
            Access::Anyone => stack.anonymous().unwrap(),
            _ if self.is_by_person() => stack.anonymous().unwrap().with_token(&self.token).unwrap(),
            _ => stack.service(every_rpc::service_of(&self.rpc)).unwrap(),
        }
    }

    /// Returns what two equal answers have in common: tokens with the same content have different signatures.
    fn comparable(&self, answer: &[u8]) -> Vec<u8> {
        if self.name() != "SessionService/SignIn" {
            return answer.to_vec();
        }
        let mut answer = SignInResponse::decode(answer).unwrap();
        let claims = answer.access_token.split('.').nth(1).unwrap().to_owned();
        answer.access_token = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        answer.encode_to_vec()
    }
}
