//! Reads one person's own data through the services.

use haven_proto::{
    data::v1::{DeviceStatus, ExportDataRequest, ExportDataResponse, ExportedShare, ShareState},
    identity::v1::{GetAccountRequest, ListConsentsRequest, SignInRequest},
};
use haven_testkit::{Client, endpoints::Endpoints, random};
use tonic::Response;
use uuid::Uuid;

use crate::workload::{
    caller::{Caller, Failure, Mutation},
    expectation::Expectation,
    fingerprint,
    journal::{Journal, Kind, Object, State},
    named,
    person::account::content_of,
};

/// Reads what is stored of one person.
pub(super) struct Reader<'a> {
    endpoints: &'a Endpoints,
    /// Makes the calls. They have a journal of their own.
    caller: Caller<'a>,
    pub(super) name: Uuid,
    /// `true` when no password works, and there may be none.
    pub(super) has_no_password: bool,
    /// The address of the account, which may be one that an undo has not taken back yet.
    email: String,
    pub(super) found: Vec<(Object, State)>,
    pub(super) foreign: Vec<String>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Creates a reader for the person `name`. The account has the address `email`. Its calls are written into `journal`.
    pub(super) fn new(endpoints: &'a Endpoints, journal: &'a Journal, name: Uuid, email: &str) -> Self {
        Self {
            endpoints,
            caller: Caller { journal, name },
            name,
            has_no_password: false,
            email: email.to_owned(),
            found: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// Reads everything. A person whom data does not know is reported as an orphan, and has nothing to export.
    pub(super) async fn read(
        mut self,
        journal: &Journal,
        id: Uuid,
        is_in_data: bool,
        expectation: &Expectation,
    ) -> Self {
        let Some(client) = self.sign_in(journal, expectation).await else {
            return self;
        };
        self.read_account(&client, id).await;
        self.read_consents(&client).await;
        if is_in_data {
            self.read_export(&client, id).await;
        }
        self
    }

    fn found(&mut self, kind: Kind, name: impl ToString, version: i64, content: impl Into<String>) {
        let content = content.into();
        self.found
            .push((Object::new(self.name, kind, name), State { version, content }));
    }

    fn check_owner(&mut self, is_own: bool, what: &str) {
        if !is_own {
            self.foreign.push(format!("{} was given {what}", self.name));
        }
    }

    /// Signs in with the password that may be the current one. `None` when there is no such password.
    async fn sign_in(&mut self, journal: &Journal, expectation: &Expectation) -> Option<Client> {
        let anonymous = self.endpoints.client(None).unwrap();
        let passwords = expectation.of(self.name, Kind::Password)?.all();
        for password in passwords.flatten().map(|state| state.content.clone()) {
            let request = SignInRequest {
                email: self.email.clone(),
                password: password.clone(),
                request_id: random::uuid().to_string(),
                ..SignInRequest::default()
            };
            let request_id = request.request_id.clone();
            journal.verifications().insert(request_id.parse().unwrap());
            let mut service = anonymous.session();
            let mutation = Mutation::new("SignIn", &request_id, Vec::new());
            let answer = self
                .caller
                .call(mutation, request, async |request| service.sign_in(request).await)
                .await;
            match answer {
                Ok(answer) => {
                    journal.verifications().insert(answer.session_id.parse().unwrap());
                    self.found(Kind::Password, "", 0, password);
                    return Some(anonymous.with_token(&answer.access_token).unwrap());
                }
                Err(Failure::Refused(_)) => {}
                Err(Failure::Unknown) => panic!(
                    "a sign-in of the verification failed: {:?}",
                    last_call(&self.caller)
                ),
            }
        }
        let history = expectation.of(self.name, Kind::Password)?;
        self.has_no_password = history.allowed().any(Option::is_none);
        None
    }

    async fn read_account(&mut self, client: &Client, id: Uuid) {
        let request = GetAccountRequest {
            user_id: id.to_string(),
        };
        let mut service = client.account();
        let read = self
            .caller
            .read(request, async |request| service.get_account(request).await)
            .await;
        let account = read
            .and_then(|answer| answer.account)
            .expect("GetAccount of the verification");
        self.check_owner(
            account.email == self.email,
            &format!("the account {}", account.id),
        );
        self.found(
            Kind::Account,
            "",
            account.version,
            content_of(&account.goals, account.stage),
        );
    }

    async fn read_consents(&mut self, client: &Client) {
        let mut service = client.account();
        let mut page_token = String::new();
        loop {
            let request = ListConsentsRequest {
                page_size: 0,
                page_token,
            };
            let page = self
                .caller
                .read(request, async |request| service.list_consents(request).await)
                .await
                .expect("ListConsents of the verification");
            for consent in page.consents {
                let state = if consent.withdraw_time.is_some() {
                    "withdrawn"
                } else {
                    "granted"
                };
                self.found(Kind::Consent, consent.document, 0, state);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return;
            }
        }
    }

    /// Reads everything that data stores of the person.
    async fn read_export(&mut self, client: &Client, id: Uuid) {
        let mut service = client.person();
        let pages = self
            .caller
            .read(ExportDataRequest::default(), async |request| {
                let mut stream = service.export_data(request).await?.into_inner();
                let mut pages = Vec::new();
                while let Some(page) = stream.message().await? {
                    pages.push(page);
                }
                Ok(Response::new(pages))
            })
            .await
            .expect("ExportData of the verification");
        for page in pages {
            self.read_page(page, id);
        }
    }

    fn read_page(&mut self, page: ExportDataResponse, id: Uuid) {
        if let Some(manifest) = page.manifest {
            let own = manifest.user_id == id.to_string();
            self.check_owner(own, &format!("the export of {}", manifest.user_id));
        }
        for row in page.unreadable {
            self.check_owner(false, &format!("an unreadable row: {row:?}"));
        }
        for message in page.messages {
            match named(&message.text) {
                Some((owner, name)) if owner == self.name => {
                    self.found(Kind::Message, name, message.version, &message.text);
                }
                _ => self.check_owner(false, &message.text),
            }
        }
        for analysis in page.analyses {
            let insight = analysis.insights.first().cloned().unwrap_or_default();
            let own = named(&insight) == Some((self.name, &analysis.id));
            self.check_owner(own, &insight);
            self.found(Kind::Analysis, analysis.id, analysis.version, insight);
        }
        for record in page.records.iter().filter(|record| record.delete_time.is_none()) {
            let print = fingerprint(&record.encrypted_payload);
            self.found(Kind::Record, &record.record_id, record.version, print);
        }
        for conflict in page
            .conflicts
            .iter()
            .filter(|conflict| conflict.settle_time.is_none())
        {
            let print = fingerprint(&conflict.encrypted_payload);
            self.found(Kind::Conflict, &print, 0, &print);
        }
        if let Some(preferences) = page.preferences {
            let print = fingerprint(&preferences.encrypted_payload);
            self.found(Kind::Preferences, "", preferences.version, print);
        }
        for device in page.devices {
            let print = fingerprint(&device.encrypted_master_key);
            let content = match device.status() {
                DeviceStatus::Active => format!("active {print}"),
                DeviceStatus::Suspended => format!("suspended {print}"),
                _ => "revoked".to_owned(),
            };
            self.found(Kind::Device, device.device_id, device.key_version.into(), content);
        }
        for share in page.shares {
            self.read_share(share);
        }
    }

    fn read_share(&mut self, exported: ExportedShare) {
        let share = exported.share.unwrap_or_default();
        let content = match share.state() {
            ShareState::Active => format!("active {}", fingerprint(&exported.encrypted_share_data)),
            ShareState::Revoked => "revoked".to_owned(),
            state => format!("{state:?}"),
        };
        self.found(Kind::Share, share.share_id, 0, content);
    }
}

fn last_call(caller: &Caller<'_>) -> Option<String> {
    let calls = caller.journal.calls();
    calls.last().map(|call| format!("{call:?}"))
}
