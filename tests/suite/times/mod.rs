//! Times that clients send, in both services: what they are for, how they are rounded, and which bounds they have.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use haven_proto::{
    data::v1::{CreateRecordRequest, GetRecordRequest, ListRecordsRequest, RecordOrder},
    identity::v1::ListAccountsRequest,
};
use haven_testkit::{Stack, random};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use prost_types::Timestamp;

use crate::{superuser_sql::execute, test_device::Device};

/// What a time of a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Stored, rounded down to the microsecond, without a bound but those of the type.
    Stored,
    /// Stored, and compared with the clock of the server: a client whose clock is wrong by five minutes is not refused.
    Bounded,
    /// Compared with stored times, rounded down as they are.
    Filter,
}

/// Every time in a request, with its use. A filter has a test below that finds a row by the time that was stored.
const TIMES: [(&str, Use); 11] = [
    ("haven.data.v1.CreateRecordRequest.local_time", Use::Stored),
    ("haven.data.v1.UpdateRecordRequest.local_time", Use::Stored),
    ("haven.data.v1.Change.local_time", Use::Stored),
    ("haven.data.v1.ResolveConflictRequest.local_time", Use::Stored),
    ("haven.data.v1.CreateShareRequest.expire_time", Use::Bounded),
    ("haven.data.v1.ListRecordsRequest.from_local_time", Use::Filter),
    ("haven.data.v1.ListRecordsRequest.until_local_time", Use::Filter),
    (
        "haven.identity.v1.ImportAccountsRequest.email_verified_time",
        Use::Stored,
    ),
    ("haven.identity.v1.ImportedConsent.grant_time", Use::Stored),
    ("haven.identity.v1.ListAccountsRequest.created_from", Use::Filter),
    (
        "haven.identity.v1.ListAccountsRequest.created_before",
        Use::Filter,
    ),
];

/// Fractions of a second, in nanoseconds.
const NANOS: [i32; 8] = [0, 1, 499, 999, 1_000, 123_456_500, 123_456_789, 999_999_999];

/// Adds the times in `message`, and in the messages that it has, to `found`.
fn add_times(message: &MessageDescriptor, found: &mut BTreeSet<String>) {
    for field in message.fields() {
        let Kind::Message(inner) = field.kind() else {
            continue;
        };
        if inner.full_name() == "google.protobuf.Timestamp" {
            found.insert(field.full_name().to_owned());
        } else if !inner.full_name().starts_with("google.") {
            add_times(&inner, found);
        }
    }
}

/// Returns the times in the requests of both services.
fn times_of_requests() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut found = BTreeSet::new();
    for service in pool.services() {
        for rpc in service.methods() {
            add_times(&rpc.input(), &mut found);
        }
    }
    // The account that UpdateAccount takes has times that only the server sets.
    found.retain(|field| !field.starts_with("haven.identity.v1.Account."));
    found
}

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

#[test]
fn every_time_in_a_request_has_a_known_use() {
    let known: BTreeMap<_, _> = TIMES.into_iter().collect();
    let known: BTreeSet<_> = known.keys().map(|field| (*field).to_owned()).collect();
    assert_eq!(times_of_requests(), known);
}

#[tokio::test]
async fn a_record_is_found_by_the_local_time_that_it_was_stored_with() {
    let stack = Stack::shared().await.unwrap();
    for (second, nanos) in (1_000..).zip(NANOS) {
        let device = Device::invent(stack).await.unwrap();
        let record = random::uuid();
        let request = CreateRecordRequest {
            local_time: at(second, nanos),
            ..device.create(record, "hello").unwrap()
        };
        device.client.cycle().create_record(request).await.unwrap();
        let request = GetRecordRequest {
            record_id: record.to_string(),
            device_id: String::new(),
        };
        let stored = device.client.cycle().get_record(request).await.unwrap();
        let stored = stored.into_inner().record.unwrap().local_time;
        assert_eq!(stored, at(second, nanos / 1_000 * 1_000));
        for order in [
            RecordOrder::NewestFirst,
            RecordOrder::OldestFirst,
            RecordOrder::ByChange,
        ] {
            let found = async |from: Option<Timestamp>, until: Option<Timestamp>| {
                let request = ListRecordsRequest {
                    from_local_time: from,
                    until_local_time: until,
                    order: order.into(),
                    ..ListRecordsRequest::default()
                };
                let page = device.client.cycle().list_records(request).await.unwrap();
                page.into_inner().records.len()
            };
            // By the time that was sent, and by the time that the answer has.
            for time in [at(second, nanos), stored] {
                assert_eq!(found(time, None).await, 1, "from {time:?}, {order:?}");
                assert_eq!(found(None, time).await, 0, "until {time:?}, {order:?}");
                assert_eq!(found(time, at(second + 1, nanos)).await, 1, "{time:?}, {order:?}");
            }
            assert_eq!(
                found(at(second, nanos / 1_000 * 1_000), at(second + 1, 0)).await,
                1
            );
        }
    }
}

#[tokio::test]
async fn an_account_is_found_by_any_time_in_the_microsecond_of_its_creation() {
    let stack = Stack::start().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let first = 1_767_225_600;
    for (second, nanos) in (first..).step_by(10).zip(NANOS) {
        let created = DateTime::<Utc>::from_timestamp(second, nanos as u32 / 1_000 * 1_000).unwrap();
        let insert = format!(
            "INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, stage, created_at, updated_at)
             VALUES (gen_random_uuid(), 'p{second}@example.org', 'p{second}@example.org', '$argon2id$', '{{make_friends}}', 1,
                '{0}', '{0}')",
            created.to_rfc3339()
        );
        execute(&stack.database, &insert).await;
        let found = async |from: Option<Timestamp>, before: Option<Timestamp>| {
            let request = ListAccountsRequest {
                created_from: from,
                created_before: before,
                ..ListAccountsRequest::default()
            };
            let page = backend.account().list_accounts(request).await.unwrap();
            let accounts = page.into_inner().accounts.into_iter();
            accounts
                .filter(|account| account.create_time.unwrap().seconds == second)
                .count()
        };
        for time in [at(second, nanos), at(second, nanos / 1_000 * 1_000)] {
            assert_eq!(found(time, None).await, 1, "from {time:?}");
            assert_eq!(found(None, time).await, 0, "before {time:?}");
            assert_eq!(found(time, at(second + 1, nanos)).await, 1, "{time:?}");
        }
    }
}
