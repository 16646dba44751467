//! ListRecords: orders, bounds, pages and page tokens.

use chrono::{DateTime, Utc};
use haven_proto::data::v1::{
    CreateRecordRequest, ListRecordsRequest, ListRecordsResponse, Record, RecordOrder,
};
use haven_testkit::{Client, Stack, random};
use prost::Message as _;
use prost_types::Timestamp;
use uuid::Uuid;

use super::{create, delete, delete_request, list_all, store, update};
use crate::{
    status::{reason, violations},
    test_device::{Device, at},
};

/// Every order of a list.
const ORDERS: [RecordOrder; 3] = [
    RecordOrder::NewestFirst,
    RecordOrder::OldestFirst,
    RecordOrder::ByChange,
];

/// Returns a request to list records.
fn list(order: RecordOrder, page_size: i32) -> ListRecordsRequest {
    ListRecordsRequest {
        order: order.into(),
        page_size,
        ..ListRecordsRequest::default()
    }
}

/// Returns the page that `request` asks for.
async fn page(client: &Client, request: ListRecordsRequest) -> ListRecordsResponse {
    let page = client.cycle().list_records(request).await;
    page.unwrap().into_inner()
}

/// Returns the time `number` days after 1 January 1970.
fn day(number: i64) -> Timestamp {
    Timestamp {
        seconds: number * 86_400,
        nanos: 0,
    }
}

/// Stores a record with the local time of `number` days after 1 January 1970.
async fn store_on(device: &Device, number: i64) -> Uuid {
    let id = random::uuid();
    let request = CreateRecordRequest {
        local_time: Some(day(number)),
        ..device.create(id, "hello").unwrap()
    };
    create(&device.client, request).await.unwrap();
    id
}

/// Returns the sort key of the orders by time: local time, then id.
fn key(record: &Record) -> (i64, Uuid) {
    let time = record.local_time.unwrap();
    (time.seconds, record.record_id.parse().unwrap())
}

#[tokio::test]
async fn every_page_size_lists_each_record_between_the_bounds_once() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    // Days before 1970 too, in no order, and some equal.
    for number in [3, -2, 5, 1, 3, 8, 3, 0, -1, 7] {
        store_on(&device, number).await;
    }
    let (all, _) = list_all(&device.client, list(RecordOrder::ByChange, 0)).await;
    let numbers: Vec<_> = all.iter().map(|record| record.change_number).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    for (from, until) in [
        (None, None),
        (Some(3), None),
        (None, Some(3)),
        (Some(-1), Some(7)),
        (Some(3), Some(4)),
        (Some(9), None),
    ] {
        let between = all.iter().filter(|record| {
            let time = record.local_time.unwrap().seconds;
            from.is_none_or(|from| time >= day(from).seconds)
                && until.is_none_or(|until| time < day(until).seconds)
        });
        let between: Vec<_> = between.cloned().collect();
        for (order, size) in ORDERS
            .into_iter()
            .flat_map(|order| [1, 3, 9, 10].map(|size| (order, size)))
        {
            let mut expected = between.clone();
            if order != RecordOrder::ByChange {
                expected.sort_by_key(key);
            }
            if order == RecordOrder::NewestFirst {
                expected.reverse();
            }
            let request = ListRecordsRequest {
                from_local_time: from.map(day),
                until_local_time: until.map(day),
                ..list(order, size)
            };
            let (seen, pages) = list_all(&device.client, request).await;
            let expected_pages = expected.len().div_ceil(size as usize).max(1);
            let what = format!("{order:?}, {size} from {from:?} to {until:?}");
            assert!(seen == expected, "{what}");
            assert_eq!(pages, expected_pages, "{what}");
        }
    }
    let unsaid = page(&device.client, ListRecordsRequest::default()).await;
    let newest = page(&device.client, list(RecordOrder::NewestFirst, 0)).await;
    assert!(unsaid == newest);
}

#[tokio::test]
async fn bounds_are_exact_to_the_microsecond_and_rounded_down_as_records_are() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let time = DateTime::<Utc>::from_timestamp(1_000, 5_000).unwrap();
    let request = CreateRecordRequest {
        local_time: Some(at(time)),
        ..device.create(random::uuid(), "hello").unwrap()
    };
    create(&device.client, request).await.unwrap();
    let shown = async |from: Option<i32>, until: Option<i32>| {
        let at = |nanos| Timestamp {
            seconds: 1_000,
            nanos,
        };
        let mut counts = ORDERS.map(|_| 0);
        for (order, count) in ORDERS.into_iter().zip(&mut counts) {
            let request = ListRecordsRequest {
                from_local_time: from.map(at),
                until_local_time: until.map(at),
                ..list(order, 0)
            };
            *count = page(&device.client, request).await.records.len();
        }
        assert_eq!(counts, [counts[0]; 3]);
        counts[0]
    };
    for (from, until, expected) in [
        (Some(5_000), None, 1),
        (Some(5_999), None, 1),
        (Some(6_000), None, 0),
        (Some(4_999), None, 1),
        (None, Some(5_000), 0),
        (None, Some(5_999), 0),
        (None, Some(6_000), 1),
        (None, Some(4_999), 0),
    ] {
        assert_eq!(shown(from, until).await, expected, "{from:?} {until:?}");
    }
}

#[tokio::test]
async fn fifty_of_the_largest_records_fit_on_a_page() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let largest = "x".repeat(65_536 - 16);
    for _ in 0..51 {
        store(&device, &largest).await;
    }
    // The page size is the same in every order.
    for (order, size) in ORDERS.into_iter().zip([0, 51, i32::MAX]) {
        let first = page(&device.client, list(order, size)).await;
        assert_eq!(first.records.len(), 50, "{order:?}, {size}");
        // The default limit of a gRPC client.
        assert!(first.encoded_len() < 4 * 1024 * 1024, "{}", first.encoded_len());
    }
    let (seen, pages) = list_all(&device.client, list(RecordOrder::ByChange, 50)).await;
    assert_eq!((seen.len(), pages), (51, 2));
    assert_eq!(device.open(&seen[50]).unwrap(), largest);
}

#[tokio::test]
async fn changes_between_pages_repeat_and_hide_no_record() {
    let stack = Stack::shared().await.unwrap();
    for order in ORDERS {
        let device = Device::invent(stack).await.unwrap();
        for number in 1..=12 {
            store_on(&device, number).await;
        }
        let (there, _) = list_all(&device.client, list(order, 50)).await;
        let mut request = list(order, 3);
        let (mut seen, mut gone) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let shown = page(&device.client, request.clone()).await;
            seen.extend(shown.records.clone());
            if shown.next_page_token.is_empty() {
                break;
            }
            request.page_token = shown.next_page_token;
            // Deletes the last record that was listed, which the token names, and the next one, which was not listed
            // yet.
            let last = shown.records.last().unwrap();
            let next = there
                .iter()
                .skip_while(|one| one.record_id != last.record_id)
                .nth(1);
            for one in [Some(last), next].into_iter().flatten() {
                let id = one.record_id.parse().unwrap();
                delete(&device.client, delete_request(&device, id, one.version))
                    .await
                    .unwrap();
            }
            gone.extend(next.map(|next| next.record_id.clone()));
            // Updates the first record of all, if it still exists: with the same local time and a new change number.
            let first: Uuid = there[0].record_id.parse().unwrap();
            if gone.len() == 1 {
                update(&device.client, {
                    let mut changed = device.update(first, 1, "changed").unwrap();
                    changed.local_time = there[0].local_time;
                    changed
                })
                .await
                .unwrap();
            }
        }
        let expected = there.iter().map(|one| one.record_id.clone());
        let mut expected: Vec<_> = expected.filter(|id| !gone.contains(id)).collect();
        if order == RecordOrder::ByChange {
            // The order BY_CHANGE lists the new version as well.
            expected.push(there[0].record_id.clone());
        }
        let ids: Vec<_> = seen.iter().map(|one| one.record_id.clone()).collect();
        assert_eq!(ids, expected, "{order:?}");
    }
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_list_only() {
    let stack = Stack::shared().await.unwrap();
    let ada = Device::invent(stack).await.unwrap();
    let bob = Device::invent(stack).await.unwrap();
    for number in 1..=7 {
        store_on(&ada, number).await;
        store_on(&bob, number).await;
    }
    let request = ListRecordsRequest {
        from_local_time: Some(day(1)),
        until_local_time: Some(day(9)),
        ..list(RecordOrder::OldestFirst, 3)
    };
    let page_token = page(&ada.client, request.clone()).await.next_page_token;
    let again = ListRecordsRequest {
        page_token,
        ..request
    };
    // A token is valid with another page size, and from another device.
    let resized = ListRecordsRequest {
        page_size: 1,
        device_id: ada.id.to_string(),
        ..again.clone()
    };
    let shown = page(&ada.client, resized).await.records;
    assert_eq!(shown[0].local_time, Some(day(4)));
    let others = [
        ListRecordsRequest {
            order: RecordOrder::NewestFirst.into(),
            ..again.clone()
        },
        ListRecordsRequest {
            order: RecordOrder::ByChange.into(),
            ..again.clone()
        },
        ListRecordsRequest {
            from_local_time: None,
            ..again.clone()
        },
        ListRecordsRequest {
            from_local_time: Some(day(2)),
            ..again.clone()
        },
        ListRecordsRequest {
            until_local_time: Some(day(8)),
            ..again.clone()
        },
        ListRecordsRequest {
            reencryption_due: true,
            ..again.clone()
        },
        ListRecordsRequest {
            page_token: "x".into(),
            ..again.clone()
        },
    ];
    let refused = others
        .map(|other| (&ada, other))
        .into_iter()
        .chain([(&bob, again)]);
    for (device, request) in refused {
        let listed = device.client.cycle().list_records(request.clone()).await;
        assert_eq!(reason(&listed.unwrap_err()), "PAGE_TOKEN_INVALID", "{request:?}");
    }
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let request = ListRecordsRequest {
        page_size: -1,
        page_token: String::new(),
        order: 9,
        from_local_time: Some(day(2)),
        until_local_time: Some(day(2)),
        reencryption_due: false,
        device_id: "x".into(),
    };
    let status = device.client.cycle().list_records(request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let reported = violations(&status).into_iter();
    let reported: Vec<_> = reported.map(|(field, name)| format!("{field} {name}")).collect();
    let expected = [
        "page_size NEGATIVE",
        "order UNKNOWN_VALUE",
        "until_local_time NOT_LATER",
        "device_id NOT_A_UUID",
    ];
    assert_eq!(reported, expected);
}
