//! A key rotation while people write and read: no call fails, and no message is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use haven_data::domain::{analysis, sealing::Sealed};
use haven_platform::call::UserId;
use haven_proto::data::v1::{
    AppendMessageRequest, GetMessageRequest, ListMessagesRequest, ListMessagesResponse, Message, SenderType,
    UpdateMessageRequest,
};
use haven_testkit::{Client, Person, Stack, random};
use secrecy::ExposeSecret;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use super::{
    OLD, keys, new_key, own_keys, restart, ring, rows_under, seed, seed_analysis, seeded_text, superuser,
};

/// The number of messages that each person starts with.
const SEEDED: i64 = 800;

const DETAILS: &str = r#"{"insights":["goes on"],"strengths":[],"improvement_areas":[]}"#;

/// A person who writes.
struct Writer {
    client: Client,
    /// The text and the version of each of their messages, as the service last acknowledged them.
    texts: BTreeMap<Uuid, (String, i64)>,
    /// The ids of the seeded messages, in the order of their numbers: every third one is the person's.
    seeded: Vec<Uuid>,
    /// The seeded messages that the person changed.
    changed: BTreeSet<Uuid>,
}

impl Writer {
    async fn new(stack: &Stack, person: &Person, message_keys: &str) -> Self {
        let seeded = seed(stack, person, message_keys, SEEDED).await;
        let texts = seeded
            .iter()
            .zip(1..)
            .map(|(id, number)| (*id, (seeded_text(number), 1)));
        Self {
            client: stack.user(person).unwrap(),
            texts: texts.collect(),
            seeded,
            changed: BTreeSet::new(),
        }
    }

    /// Changes the person's seeded messages, and appends new ones, until `stop`.
    async fn write(&mut self, stop: &AtomicBool, written: &AtomicUsize) {
        for round in 0.. {
            if stop.load(Relaxed) {
                break;
            }
            let text = format!("written in round {round}");
            if round % 4 == 0 {
                let request = AppendMessageRequest {
                    sender_type: SenderType::User.into(),
                    text: text.clone(),
                    message_id: String::new(),
                    request_id: random::uuid().to_string(),
                };
                let mut conversation = self.client.conversation();
                let appended = answered(async || conversation.append_message(request.clone()).await).await;
                let id = appended.message.unwrap().id;
                self.texts.insert(id.parse().unwrap(), (text, 1));
            } else {
                let id = self.seeded[3 * rand::random_range(0..self.seeded.len() / 3)];
                let entry = self.texts.get_mut(&id).unwrap();
                let request = UpdateMessageRequest {
                    message_id: id.to_string(),
                    text: text.clone(),
                    expected_version: entry.1,
                    request_id: random::uuid().to_string(),
                };
                let mut conversation = self.client.conversation();
                let updated = answered(async || conversation.update_message(request.clone()).await).await;
                let updated = updated.message.unwrap();
                assert_eq!(updated.version, entry.1 + 1);
                *entry = (text, updated.version);
                self.changed.insert(id);
                let read = get(&self.client, id).await;
                assert_eq!((read.text, read.version), *entry);
            }
            written.fetch_add(1, Relaxed);
        }
    }

    /// Asserts that the conversation has every message as it was last acknowledged.
    async fn assert_complete(&self) {
        let mut found = BTreeMap::new();
        let mut page_token = String::new();
        loop {
            let page = page(&self.client, page_token).await;
            let read = page.messages.into_iter();
            found.extend(read.map(|message| (message.id.parse().unwrap(), (message.text, message.version))));
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        assert_eq!(found, self.texts);
    }
}

async fn get(client: &Client, id: Uuid) -> Message {
    let request = GetMessageRequest {
        message_id: id.to_string(),
    };
    let mut conversation = client.conversation();
    let answer = answered(async || conversation.get_message(request.clone()).await).await;
    answer.message.unwrap()
}

async fn page(client: &Client, page_token: String) -> ListMessagesResponse {
    let request = ListMessagesRequest {
        page_size: 200,
        page_token,
        ..ListMessagesRequest::default()
    };
    let mut conversation = client.conversation();
    answered(async || conversation.list_messages(request.clone()).await).await
}

/// Repeats a call, with the same request id, while it is answered with UNAVAILABLE: the machine may be busy.
async fn answered<T>(mut call: impl AsyncFnMut() -> Result<Response<T>, Status>) -> T {
    for _ in 0..30 {
        match call().await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("the service stays unavailable")
}

/// Reads page after page until `stop`. Every page has to open.
async fn read(client: &Client, stop: &AtomicBool) {
    let mut page_token = String::new();
    while !stop.load(Relaxed) {
        page_token = page(client, page_token).await.next_page_token;
    }
}

/// Returns the update time and the version of each message.
async fn versions(stack: &Stack) -> BTreeMap<Uuid, (String, i64)> {
    let ages = sqlx::query_as("SELECT id, updated_at::text, version FROM data.conversations");
    let ages: Vec<(Uuid, String, i64)> = ages.fetch_all(&mut superuser(stack).await).await.unwrap();
    ages.into_iter()
        .map(|(id, at, version)| (id, (at, version)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_in_a_rotation_while_people_write() {
    let mut stack = Stack::start().await.unwrap();
    let (old, new) = (own_keys(&stack), new_key());
    let mut people = Vec::new();
    let mut writers = Vec::new();
    for _ in 0..4 {
        let person = stack.person().await.unwrap();
        writers.push(Writer::new(&stack, &person, &old).await);
        people.push(person);
    }
    let analysis = seed_analysis(&stack, &people[0], &old, DETAILS).await;
    let before = versions(&stack).await;

    // The new key is added at the end, and then moved to the front, as documented.
    restart(&mut stack, &format!("{old},{new}")).await.unwrap();
    let both = format!("{new},{old}");
    restart(&mut stack, &both).await.unwrap();
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let readers = [stack.user(&people[0]).unwrap(), stack.user(&people[3]).unwrap()];
    let [one, two, three, four] = &mut writers[..] else {
        unreachable!()
    };
    let (rotation, ..) = tokio::join!(
        async {
            let rotation = keys(&stack, &both, "rotate").await;
            stop.store(true, Relaxed);
            (rotation, written.load(Relaxed))
        },
        one.write(&stop, &written),
        two.write(&stop, &written),
        three.write(&stop, &written),
        four.write(&stop, &written),
        read(&readers[0], &stop),
        read(&readers[1], &stop),
    );
    let (rotation, written) = rotation;
    assert_eq!(rotation.code, Some(0), "{rotation:?}");
    assert!(written > 20, "only {written} writes during the rotation");
    let done = format!("every row is sealed under `new`: `{OLD}` can be removed");
    assert!(rotation.stdout.contains(&done), "{rotation:?}");
    assert_eq!(rows_under(&stack, OLD).await, 0);

    for writer in &writers {
        writer.assert_complete().await;
    }
    // Sealing a message again changes neither its version nor its update time.
    let after = versions(&stack).await;
    for writer in &writers {
        let untouched = writer.seeded.iter().filter(|id| !writer.changed.contains(*id));
        for id in untouched {
            assert_eq!(after[id], before[id]);
        }
    }

    // The old key is removed, and every message still opens.
    restart(&mut stack, &new).await.unwrap();
    for (writer, person) in writers.iter_mut().zip(&people) {
        writer.client = stack.user(person).unwrap();
        writer.assert_complete().await;
    }
    let row = "SELECT details, key_id FROM data.analysis_results WHERE id = $1";
    let row = sqlx::query_as(row).bind(analysis);
    let (token, key_id): (String, String) = row.fetch_one(&mut superuser(&stack).await).await.unwrap();
    let cell = analysis::cell(UserId::new(people[0].id), analysis);
    let details = ring(&new).open(cell, &Sealed { token, key_id }).unwrap();
    assert_eq!(details.expose_secret(), DETAILS);
}
