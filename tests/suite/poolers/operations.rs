//! Callers that change and read their own data, and check every answer.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use haven_proto::{
    data::v1::{
        AppendMessageRequest, GetMessageRequest, GetRecordRequest, ListMessagesRequest, Message,
        PullChangesRequest, PushChangesRequest, PushMode, SenderType, UpdateMessageRequest,
    },
    identity::v1::{GetAccountRequest, ListSessionsRequest, SignInRequest},
};
use haven_testkit::{Stack, random};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{retry::retry_call, test_device::Device};

/// The number of operations per sign-in, which costs a hash.
const OPERATIONS_PER_SIGN_IN: u64 = 97;

/// The number of calls, and of those that a retry mended.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: AtomicU64,
    pub(super) retried: AtomicU64,
}

/// A person with one device, and what the services last acknowledged.
pub(super) struct Caller<'a> {
    stack: &'a Stack,
    counts: &'a Counts,
    device: Device,
    /// The messages: text and version by id.
    messages: BTreeMap<String, (String, i64)>,
    /// The records: content and version by id.
    records: BTreeMap<Uuid, (String, i64)>,
    cursor: String,
    /// The number of operations so far.
    done: u64,
}

impl<'a> Caller<'a> {
    /// Signs a person up, and registers their device.
    pub(super) async fn new(stack: &'a Stack, counts: &'a Counts) -> Self {
        Self {
            stack,
            counts,
            device: Device::invent(stack).await.unwrap(),
            messages: BTreeMap::new(),
            records: BTreeMap::new(),
            cursor: String::new(),
            done: 0,
        }
    }

    /// Makes one operation, and asserts that the answer is the caller's own and current.
    pub(super) async fn operate(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(OPERATIONS_PER_SIGN_IN) {
            return self.sign_in().await;
        }
        match rand::random_range(0..10) {
            0 | 1 => self.append_message().await,
            2 => self.update_message().await,
            3 => self.read_message().await,
            4 => self.list_messages().await,
            5 => self.create_record().await,
            6 => self.update_record().await,
            7 => self.push_changes().await,
            8 => {
                self.pull_changes().await;
            }
            _ => self.read_account().await,
        }
    }

    /// Asserts that the services have everything as it was last acknowledged, and nothing else.
    pub(super) async fn assert_complete(&mut self) {
        let mut found = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = self.page(after).await;
            let Some(last) = page.last() else { break };
            after = last.number;
            let read = page.into_iter();
            found.extend(read.map(|message| (message.id, (message.text, message.version))));
        }
        assert_eq!(found, self.messages);
        self.cursor = String::new();
        assert_eq!(self.pull_changes().await, self.records.len());
    }

    /// Makes a call, and retries it as clients do. Panics when retries do not mend it.
    async fn call<T: Clone, A>(
        &self,
        request: T,
        mut call: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
    ) -> A {
        let mut attempts = 0;
        let counted = async |request| {
            attempts += 1;
            call(request).await
        };
        let answer = retry_call(request, counted).await;
        self.counts.calls.fetch_add(1, Relaxed);
        self.counts.retried.fetch_add(attempts - 1, Relaxed);
        answer.unwrap_or_else(|status| panic!("after {attempts} attempts: {status:?}"))
    }

    /// Returns a text that no other caller and no other operation has.
    fn text(&self) -> String {
        format!("{} wrote {}", self.device.person.id, random::uuid())
    }

    async fn append_message(&mut self) {
        let text = self.text();
        let request = AppendMessageRequest {
            sender_type: SenderType::User.into(),
            text: text.clone(),
            message_id: String::new(),
            request_id: random::uuid().to_string(),
        };
        let mut service = self.device.client.conversation();
        let appended = self
            .call(request, async |request| service.append_message(request).await)
            .await;
        let message = appended.message.unwrap();
        assert_eq!((&message.text, message.version), (&text, 1));
        assert!(self.messages.insert(message.id, (text, 1)).is_none());
    }

    async fn update_message(&mut self) {
        let Some(id) = any(&self.messages) else {
            return self.append_message().await;
        };
        let (text, version) = (self.text(), self.messages[&id].1);
        let request = UpdateMessageRequest {
            message_id: id.clone(),
            text: text.clone(),
            expected_version: version,
            request_id: random::uuid().to_string(),
        };
        let mut service = self.device.client.conversation();
        let updated = self
            .call(request, async |request| service.update_message(request).await)
            .await;
        let updated = updated.message.unwrap();
        assert_eq!(
            (&updated.id, &updated.text, updated.version),
            (&id, &text, version + 1)
        );
        self.messages.insert(id, (text, version + 1));
    }

    async fn read_message(&mut self) {
        let Some(id) = any(&self.messages) else {
            return self.append_message().await;
        };
        let request = GetMessageRequest {
            message_id: id.clone(),
        };
        let mut service = self.device.client.conversation();
        let read = self
            .call(request, async |request| service.get_message(request).await)
            .await;
        let read = read.message.unwrap();
        assert_eq!((read.text, read.version), self.messages[&id]);
    }

    async fn list_messages(&mut self) {
        for message in self.page(0).await {
            assert_eq!((message.text, message.version), self.messages[&message.id]);
        }
    }

    /// Returns the first messages after the number `after`.
    async fn page(&self, after: i64) -> Vec<Message> {
        let request = ListMessagesRequest {
            page_size: 50,
            after_number: after,
            ..ListMessagesRequest::default()
        };
        let mut service = self.device.client.conversation();
        let listed = self
            .call(request, async |request| service.list_messages(request).await)
            .await;
        assert!(listed.messages.iter().map(|message| message.number).is_sorted());
        listed.messages
    }

    async fn create_record(&mut self) {
        let (id, content) = (random::uuid(), self.text());
        let request = self.device.create(id, &content).unwrap();
        let mut service = self.device.client.cycle();
        let created = self
            .call(request, async |request| service.create_record(request).await)
            .await;
        let created = created.record.unwrap();
        assert_eq!((created.record_id, created.version), (id.to_string(), 1));
        self.records.insert(id, (content, 1));
    }

    /// Updates a record, and reads it back.
    async fn update_record(&mut self) {
        let Some(id) = any(&self.records) else {
            return self.create_record().await;
        };
        let (content, version) = (self.text(), self.records[&id].1);
        let request = self.device.update(id, version, &content).unwrap();
        let mut service = self.device.client.cycle();
        let updated = self
            .call(request, async |request| service.update_record(request).await)
            .await;
        assert_eq!(updated.record.unwrap().version, version + 1);
        let request = GetRecordRequest {
            record_id: id.to_string(),
            device_id: self.device.id.to_string(),
        };
        let read = self
            .call(request, async |request| service.get_record(request).await)
            .await;
        let read = read.record.unwrap();
        assert_eq!(read.version, version + 1);
        assert_eq!(self.device.open(&read).unwrap(), content);
        self.records.insert(id, (content, version + 1));
    }

    /// Pushes three records, which are an array of a composite type in SQL.
    async fn push_changes(&mut self) {
        let new: Vec<(Uuid, String)> = (0..3).map(|_| (random::uuid(), self.text())).collect();
        let changes = new.iter().map(|(id, content)| self.device.put(*id, 0, content));
        let request = PushChangesRequest {
            device_id: self.device.id.to_string(),
            changes: changes.collect::<Result<_, _>>().unwrap(),
            mode: PushMode::Atomic.into(),
            request_id: random::uuid().to_string(),
        };
        let mut service = self.device.client.cycle();
        let pushed = self
            .call(request, async |request| service.push_changes(request).await)
            .await;
        assert_eq!(pushed.results.len(), 3);
        assert!(
            pushed.results.iter().all(|result| result.version == 1),
            "{pushed:?}"
        );
        self.records
            .extend(new.into_iter().map(|(id, content)| (id, (content, 1))));
    }

    /// Pulls all changes after the cursor, and asserts that each is the current version. Returns their number.
    async fn pull_changes(&mut self) -> usize {
        let request = PullChangesRequest {
            device_id: self.device.id.to_string(),
            cursor: self.cursor.clone(),
        };
        let mut service = self.device.client.cycle();
        let (records, cursor) = self
            .call(request, async |request| {
                let mut pages = service.pull_changes(request).await?.into_inner();
                let (mut records, mut cursor) = (Vec::new(), String::new());
                while let Some(page) = pages.message().await? {
                    records.extend(page.entries.into_iter().filter_map(|entry| entry.record));
                    cursor = page.cursor;
                }
                Ok(Response::new((records, cursor)))
            })
            .await;
        for record in &records {
            let stored = &self.records[&record.record_id.parse().unwrap()];
            assert_eq!(&(self.device.open(record).unwrap(), record.version), stored);
        }
        self.cursor = cursor;
        records.len()
    }

    async fn read_account(&mut self) {
        let person = &self.device.person;
        let request = GetAccountRequest {
            user_id: person.id.to_string(),
        };
        let client = &self.device.client;
        let read = self
            .call(request, async |request| {
                client.account().get_account(request).await
            })
            .await;
        let account = read.account.unwrap();
        assert_eq!(
            (account.id, account.email),
            (person.id.to_string(), person.email.clone())
        );
        let sessions = self
            .call(ListSessionsRequest::default(), async |request| {
                client.session().list_sessions(request).await
            })
            .await;
        let own = person.session_id.to_string();
        assert!(sessions.sessions.iter().any(|session| session.id == own));
    }

    /// Signs in again, so that the access token does not expire in a long run.
    async fn sign_in(&mut self) {
        let person = &self.device.person;
        let request = SignInRequest {
            email: person.email.clone(),
            password: person.password.clone(),
            request_id: random::uuid().to_string(),
        };
        let anonymous = self.stack.anonymous().unwrap();
        let signed_in = self
            .call(request, async |request| {
                anonymous.session().sign_in(request).await
            })
            .await;
        assert_eq!(signed_in.user_id, person.id.to_string());
        self.device.client = self.device.client.with_token(&signed_in.access_token).unwrap();
        self.device.person.token = signed_in.access_token;
        self.device.person.session_id = signed_in.session_id.parse().unwrap();
    }
}

/// Returns a random key.
fn any<K: Clone + Ord, V>(map: &BTreeMap<K, V>) -> Option<K> {
    (!map.is_empty()).then(|| map.keys().nth(rand::random_range(0..map.len())).cloned())?
}
