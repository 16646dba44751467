//! The right person of a call, and the rows of theirs that the call is about.

use haven_proto::{
    data::v1::JobLease,
    identity::v1::{ListConsentsRequest, RefreshSessionRequest, WithdrawConsentRequest},
};
use haven_testkit::{Person, Stack, random};

use crate::{
    analysis_jobs,
    crisis_message::{ALARMING, say_until_heard},
    encrypted_fixture::EncryptedFixture,
    every_rpc::{PrivateValues, RecoveryTokens, Subject},
};

/// A person with everything that the requests of one RPC refer to.
pub(crate) struct Fixture {
    pub(crate) person: Person,
    message_id: String,
    event_id: String,
    consent_id: String,
    lease: JobLease,
    analysis_id: String,
    recovery: RecoveryTokens,
    encrypted: Option<EncryptedFixture>,
}

/// The gRPC services with RPCs on data that only the person's devices can decrypt.
const ENCRYPTED: [&str; 5] = [
    "haven.data.v1.CycleService/",
    "haven.data.v1.DeviceService/",
    "haven.data.v1.PreferencesService/",
    "haven.data.v1.ShareService/",
    "haven.data.v1.PersonService/",
];

/// Values that are not looked for afterwards.
struct ArbitraryValues;

impl Fixture {
    /// Signs a person up and creates what `rpc` needs: a job or an analysis costs time, so only where it is needed.
    pub(crate) async fn of_new_person(stack: &Stack, rpc: &str) -> Self {
        let person = stack.person().await.unwrap();
        let client = stack.user(&person).unwrap();
        let (_, message, finding) = say_until_heard(&client, ALARMING).await;
        let consents = client
            .account()
            .list_consents(ListConsentsRequest::default())
            .await
            .unwrap();
        let (mut lease, mut analysis_id) = (JobLease::default(), String::new());
        match rpc.rsplit('/').next() {
            Some("ExtendLease" | "CompleteJob" | "CompleteJobs" | "FailJob") => {
                lease = analysis_jobs::leased(stack, &client).await
            }
            Some("RequeueJob") => lease.job_id = analysis_jobs::dead(stack, &client).await,
            Some("GetAnalysis" | "DeleteAnalysis") => analysis_id = analysis_jobs::done(stack, &client).await,
            _ => {}
        }
        let mut recovery = RecoveryTokens::default();
        if rpc.starts_with("haven.identity.v1.RecoveryService/") {
            let email = ArbitraryValues.email("");
            recovery = RecoveryTokens::create(stack, &person, email).await;
        }
        let mut encrypted = None;
        if ENCRYPTED.iter().any(|service| rpc.starts_with(service)) {
            let text = |what: &str| ArbitraryValues.text(what);
            encrypted = Some(EncryptedFixture::of(stack, person.clone(), &text).await);
        }
        Self {
            person,
            message_id: message.id,
            event_id: finding.event_id,
            consent_id: consents.into_inner().consents[0].id.clone(),
            lease,
            analysis_id,
            recovery,
            encrypted,
        }
    }

    /// Withdraws a required consent, and gets the person a token that states so.
    pub(crate) async fn withdraw_consents(&mut self, stack: &Stack) {
        let client = stack.user(&self.person).unwrap();
        let withdrawal = WithdrawConsentRequest {
            consent_id: self.consent_id.clone(),
            request_id: random::uuid().to_string(),
        };
        client.account().withdraw_consent(withdrawal).await.unwrap();
        let refresh = RefreshSessionRequest {
            refresh_token: self.person.refresh_token.clone(),
        };
        let refreshed = client
            .session()
            .refresh_session(refresh)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(refreshed.missing_consents.len(), 1);
        self.person.token = refreshed.access_token;
        self.person.refresh_token = refreshed.refresh_token;
    }

    /// Returns what a request about this person refers to.
    pub(crate) fn subject(&self, as_service: bool) -> Subject<'_> {
        Subject {
            person: &self.person,
            as_service,
            erased_user_id: self.person.id,
            locked_user_id: self.person.id,
            consent_id: self.consent_id.clone(),
            message_id: self.message_id.clone(),
            event_id: self.event_id.clone(),
            analysis_id: self.analysis_id.clone(),
            lease: self.lease.clone(),
            recovery: self.recovery.clone(),
            encrypted: self.encrypted.as_ref(),
            private: &ArbitraryValues,
        }
    }
}

impl PrivateValues for ArbitraryValues {
    fn stored_email(&self, what: &str) -> String {
        self.email(what)
    }

    fn pending_email(&self, what: &str) -> String {
        self.email(what)
    }

    fn email(&self, _what: &str) -> String {
        format!("{}@example.org", random::uuid())
    }

    fn password(&self, _what: &str) -> String {
        "Another-Horse-8-Battery".to_owned()
    }

    fn text(&self, _what: &str) -> String {
        format!("something, {}", random::uuid())
    }
}
